package charts_test

import (
	"slices"
	"strings"
	"testing"
)

// TestWrongValuesAreRefusedWithAReadableMessage gives many at a time: all problems are
// reported at once.
func TestWrongValuesAreRefusedWithAReadableMessage(t *testing.T) {
	t.Parallel()
	const certificate = "webhook.caBundle=-----BEGIN CERTIFICATE-----"
	for name, test := range map[string]struct{ values, want []string }{
		"each by itself": {
			slices.Concat(set("replica=3", "webhook.timeout=3", "mode=block", "webhook.failurePolicy=fail", "webhook.timeoutSeconds=31", "image.digest=latest",
				"policies.preset=default", "hss.region=CN-North-4", "webhook.url=http://gate.example.com", "config.cache.freshfor=5m",
				"config.webhook.configurationName=other", "exemptions.label=kubernetes.io/metadata.name",
				"exemptions.guard.namespaceLabels={kubernetes.io/metadata.name,env=prod}", "exemptions.guard.subjects[0].name=alice",
				"hss.projectID=cn-north-4_prod", `commonLabels.app\.kubernetes\.io/name=x`), []string{"--set-string", "config.cache.freshFor=5"}),
			[]string{
				"additional properties 'replica' not allowed", "at '/webhook': additional properties 'timeout' not allowed",
				"at '/mode': value must be one of 'audit', 'enforce'", "at '/webhook/failurePolicy': value must be one of 'auto', 'Fail', 'Ignore'",
				"at '/webhook/timeoutSeconds': maximum: got 31, want 30", "at '/image/digest': 'latest' does not match pattern",
				"at '/policies/preset': value must be one of 'none', 'audit', 'baseline', 'strict'", "at '/hss/region': 'CN-North-4' does not match pattern",
				"at '/webhook/url'", "at '/config/cache': additional properties 'freshfor' not allowed", "at '/config/cache/freshFor'",
				"at '/config/webhook': additional properties 'configurationName' not allowed", "at '/exemptions/label'",
				"at '/exemptions/guard/namespaceLabels/0'", "at '/exemptions/guard/namespaceLabels/1'", "at '/exemptions/guard/subjects/0'",
				"at '/hss/projectID': 'cn-north-4_prod' does not match pattern", "invalid propertyName 'app.kubernetes.io/name'",
			},
		},
		"together, in a deployment": {
			working("exemptions.namespaces={default}", "config.projects[0].name=a", "config.projects[0].region=cn-north-4", "credentials.source=PodIdentity",
				"credentials.existingSecret=a", "credentials.accessKey=b", "credentials.token=t", "certManager.enabled=true", "certificates.existingSecret=a",
				"clientCertificates.enabled=true", "exemptions.label=hssgate.io/exempt", "exemptions.guard.namespaceLabels={env}",
				"exemptions.guard.enabled=false", "metrics.serviceMonitor.enabled=true", "metrics.podMonitor.enabled=true", "metrics.secure=true", "mode=enforce", "replicas=1", "ports.health=8080"),
			[]string{
				"test.namespace default is exempt", "hss.region is the short form of config.projects and config.registries: give one or the other",
				"config.registries is empty", "credentials.source PodIdentity reads no Secret", "credentials.existingSecret already holds the keys",
				"credentials.accessKey and credentials.secretKey belong together", "credentials.token takes the place of credentials.accessKey",
				"certManager.enabled fills in certificate and caBundle", "certificates.existingSecret needs webhook.caBundle",
				"clientCertificates.enabled needs clientCertificates.configMap", "exemptions.label needs exemptions.guard.enabled",
				"exemptions.guard.namespaceLabels needs exemptions.guard.enabled", "enable one", "metrics.secure needs a bearer token", "mode enforce needs replicas: 2 or more",
				"- ports.webhook, ports.health and ports.metrics must differ",
			},
		},
		"together, for a gate elsewhere": {
			set("webhook.url=https://gate.example.com", "hss.projectID=0a1b2c3d4e5f60718293a4b5c6d7e8f9", "certManager.enabled=true",
				"credentials.securityToken=a", "credentials.source=Files"),
			[]string{
				"hss.projectID needs hss.region", "webhook.url asks a gate elsewhere", "credentials.securityToken belongs to temporary keys",
				"credentials.source Files needs credentials.existingSecret",
			},
		},
		"a simulated HSS beside a real one, for a gate elsewhere": {
			working("simulator.enabled=true", "webhook.url=https://gate.example.com"), []string{
				"simulator.enabled takes the place of HSS, for tests only: leave hss.region, config.projects and credentials empty, or the simulator off",
				"simulator.enabled is for a gate in the cluster",
			},
		},
		"by the names of other charts": {
			working("replicaCount=3", "region=cn-north-4", "existingSecret=a", "serviceMonitor.enabled=true"), []string{
				"replicaCount is no value of this chart: use replicas", "use hss.region", "use credentials.existingSecret", "use metrics.serviceMonitor",
			},
		},
		"without a project": {
			set("credentials.source=TokenFile", "credentials.oidc.identityProviderID=a", certificate), []string{
				"credentials.source OIDC needs credentials.oidc.identityProviderID, and no other source uses it",
				"hssgate has no HSS project to ask: set hss.region", "credentials.source TokenFile needs credentials.existingSecret",
				"webhook.caBundle belongs to certificates.existingSecret or webhook.url",
			},
		},
		"a Kubernetes that is too old": {append(working(), "--kube-version", "1.29.4"), []string{"kubeVersion: >=1.30.0-0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := template(t, test.values...)
			if err == nil {
				t.Fatalf("it was rendered:\n%s", out)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v\nwant %q in it", err, want)
				}
			}
		})
	}
}
