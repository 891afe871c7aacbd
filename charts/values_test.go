package charts_test

import (
	"strings"
	"testing"
)

func TestWrongValuesAreRefusedWithAReadableMessage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		values []string
		want   string
	}{
		"a misspelt value":                      {working("replica=3"), "additional properties 'replica' not allowed"},
		"a misspelt value further down":         {working("webhook.timeout=3"), "at '/webhook': additional properties 'timeout' not allowed"},
		"a test in an exempt namespace":         {working("exemptions.namespaces={default}"), "test.namespace default is exempt"},
		"an unknown mode":                       {working("mode=block"), "at '/mode': value must be one of 'audit', 'enforce'"},
		"a failure policy in lower case":        {working("webhook.failurePolicy=fail"), "at '/webhook/failurePolicy': value must be one of 'auto', 'Fail', 'Ignore'"},
		"a timeout that Kubernetes refuses":     {working("webhook.timeoutSeconds=31"), "at '/webhook/timeoutSeconds': maximum: got 31, want 30"},
		"a digest that is none":                 {working("image.digest=latest"), "at '/image/digest': 'latest' does not match pattern"},
		"an unknown preset":                     {working("policies.preset=default"), "at '/policies/preset': value must be one of 'none', 'audit', 'baseline', 'strict'"},
		"a region in capitals":                  {set("hss.region=CN-North-4"), "at '/hss/region': 'CN-North-4' does not match pattern"},
		"a gate without TLS":                    {set("webhook.url=http://gate.example.com"), "at '/webhook/url'"},
		"a field that hssgate doesn't know":     {working("config.cache.freshfor=5m"), "at '/config/cache': additional properties 'freshfor' not allowed"},
		"a duration without a unit":             {append(working(), "--set-string", "config.cache.freshFor=5"), "at '/config/cache/freshFor'"},
		"what the chart alone knows":            {working("config.webhook.configurationName=other"), "at '/config/webhook': additional properties 'configurationName' not allowed"},
		"an exemption by the name's own label":  {working("exemptions.label=kubernetes.io/metadata.name"), "at '/exemptions/label'"},
		"a guard of the name's own label":       {working("exemptions.guard.namespaceLabels={kubernetes.io/metadata.name}"), "at '/exemptions/guard/namespaceLabels/0'"},
		"a guarded label that is no key":        {working("exemptions.guard.namespaceLabels={env=prod}"), "at '/exemptions/guard/namespaceLabels/0'"},
		"a subject without a kind":              {working("exemptions.guard.subjects[0].name=alice"), "at '/exemptions/guard/subjects/0'"},
		"no project":                            {set("mode=audit"), "hssgate has no HSS project to ask: set hss.region"},
		"a project twice":                       {working("config.projects[0].name=a", "config.projects[0].region=cn-north-4"), "give one or the other"},
		"projects without registries":           {set("config.projects[0].name=a", "config.projects[0].region=cn-north-4"), "config.registries is empty"},
		"a project's ID without a region":       {set("webhook.url=https://gate.example.com", "hss.projectID=0a1b2c3d4e5f60718293a4b5c6d7e8f9"), "hss.projectID needs hss.region"},
		"a project by its name":                 {working("hss.projectID=cn-north-4_prod"), "at '/hss/projectID': 'cn-north-4_prod' does not match pattern"},
		"keys in a Secret and in values":        {working("credentials.existingSecret=a", "credentials.accessKey=b", "credentials.secretKey=c"), "credentials.existingSecret already holds the keys"},
		"half a pair of keys":                   {working("credentials.accessKey=b"), "credentials.accessKey and credentials.secretKey belong together"},
		"a token and keys":                      {working("credentials.token=a", "credentials.accessKey=b", "credentials.secretKey=c"), "credentials.token takes the place of credentials.accessKey"},
		"a security token alone":                {working("credentials.securityToken=a"), "credentials.securityToken belongs to temporary keys"},
		"files without a Secret":                {working("credentials.source=Files"), "credentials.source Files needs credentials.existingSecret"},
		"a token file without a Secret":         {working("credentials.source=TokenFile"), "credentials.source TokenFile needs credentials.existingSecret"},
		"pod identity and a Secret":             {working("credentials.source=PodIdentity", "credentials.existingSecret=a"), "credentials.source PodIdentity reads no Secret"},
		"cert-manager and a certificate":        {working("certManager.enabled=true", "certificates.existingSecret=a", "webhook.caBundle=-----BEGIN CERTIFICATE-----"), "certManager.enabled fills in certificate and caBundle"},
		"cert-manager for a gate elsewhere":     {working("certManager.enabled=true", "webhook.url=https://gate.example.com"), "webhook.url asks a gate elsewhere"},
		"a certificate without its CA":          {working("certificates.existingSecret=a"), "certificates.existingSecret needs webhook.caBundle"},
		"a CA without a certificate":            {working("webhook.caBundle=-----BEGIN CERTIFICATE-----"), "webhook.caBundle belongs to certificates.existingSecret or webhook.url"},
		"client certificates of nobody":         {working("clientCertificates.enabled=true"), "clientCertificates.enabled needs clientCertificates.configMap"},
		"labels to guard, and no guard":         {working("exemptions.guard.namespaceLabels={env}", "exemptions.guard.enabled=false"), "exemptions.guard.namespaceLabels needs exemptions.guard.enabled"},
		"a label that anybody may set":          {working("exemptions.label=hssgate.io/exempt", "exemptions.guard.enabled=false"), "exemptions.label needs exemptions.guard.enabled"},
		"two monitors":                          {working("metrics.serviceMonitor.enabled=true", "metrics.podMonitor.enabled=true"), "enable one"},
		"one replica that must never be away":   {working("mode=enforce", "replicas=1"), "mode enforce needs replicas: 2 or more"},
		"one port for two":                      {working("ports.health=8080"), "must differ"},
		"labels that the chart sets itself":     {append(working(), "--set", `commonLabels.app\.kubernetes\.io/name=x`), "invalid propertyName 'app.kubernetes.io/name'"},
		"a Kubernetes that is too old":          {append(working(), "--kube-version", "1.29.4"), "kubeVersion: >=1.30.0-0"},
		"several problems are told all at once": {set("credentials.accessKey=b", "ports.health=8080"), "- ports.webhook, ports.health and ports.metrics must differ"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := template(t, test.values...)
			if err == nil {
				t.Fatalf("it was rendered:\n%s", out)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v\nwant %q in it", err, test.want)
			}
		})
	}
}
