package charts_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hssgate/hssgate/config"
)

// configuration renders the chart and reads hssgate's configuration as hssgate
// does.
func configuration(t testing.TB, args ...string) *config.Configuration {
	t.Helper()
	return configurationIn(t, render(t, args...))
}

func configurationIn(t testing.TB, rendered objects) *config.Configuration {
	t.Helper()
	text := configFileIn(t, rendered)
	c, err := config.Parse("config.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

// configFileIn returns hssgate's configuration as it was rendered.
func configFileIn(t testing.TB, rendered objects) string {
	t.Helper()
	for _, object := range rendered.ofKind("ConfigMap") {
		if text, ok, _ := unstructured.NestedString(object.Object, "data", "config.yaml"); ok {
			return text
		}
	}
	t.Fatal("no ConfigMap holds config.yaml")
	return ""
}

func TestConfigurationOfEveryValuesFileIsValid(t *testing.T) {
	t.Parallel()
	for _, file := range valuesFiles(t) {
		if rendered := render(t, "--values", file); len(rendered.ofKind("Deployment")) > 0 {
			configurationIn(t, rendered)
		}
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	type c = config.Configuration
	mutating := func(c *c) any { return c.Webhook.MutatingConfigurationName }
	scans := func(c *c) any { return c.Projects[0].ScanOnDemand }
	// Each of these is rendered once.
	defaults := working()
	enforced := working("mode=enforce", "hss.projectID=0a1b2c3d4e5f60718293a4b5c6d7e8f9", "credentials.existingSecret=keys", "fullnameOverride=gate", pinned,
		"hss.scanOnDemand.maxPerHour=5", "exemptions.namespaces={calico-system}")
	managed := working("mode=enforce", "dryRun=true", "credentials.accessKey=a", "credentials.secretKey=s", "credentials.securityToken=t", "certManager.enabled=true", pinned,
		"hss.scanOnDemand.enabled=true", "hss.scanOnDemand.maxPerHour=5")
	token := working("credentials.token=t", "dryRun=false")
	ofProject := set("config.projects[0].name=a", "config.projects[0].region=cn-north-4", "config.registries[0].name=r", "config.registries[0].hosts={r.example.com}",
		"config.projects[0].requestsPerSecond=0.5", "config.projects[0].scanOnDemand.enabled=true", "config.projects[0].scanOnDemand.maxPerHour=5")
	tests := map[string]struct {
		values []string
		got    func(*c) any
		want   any
	}{
		"a region makes a project": {
			enforced, func(c *c) any { return []string{c.Projects[0].Region, c.Projects[0].ProjectID} }, []string{"cn-north-4", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"},
		},
		"a region makes a registry":           {defaults, func(c *c) any { return c.Registries[0].Hosts }, []string{"swr.cn-north-4.myhuaweicloud.com"}},
		"without keys the pod's own are used": {defaults, func(c *c) any { return c.Projects[0].Credentials }, config.Credentials{Source: "Default"}},
		"keys come from a Secret": {
			enforced, func(c *c) any { return c.Projects[0].Credentials },
			config.Credentials{Source: "Files", AccessKeyFile: "/etc/hssgate/credentials/access-key", SecretKeyFile: "/etc/hssgate/credentials/secret-key"},
		},
		"keys come from values": {
			managed, func(c *c) any { return c.Projects[0].Credentials },
			config.Credentials{
				Source: "Files", AccessKeyFile: "/etc/hssgate/credentials/access-key", SecretKeyFile: "/etc/hssgate/credentials/secret-key",
				SecurityTokenFile: "/etc/hssgate/credentials/security-token",
			},
		},
		"a token comes from values": {
			token, func(c *c) any { return c.Projects[0].Credentials }, config.Credentials{Source: "TokenFile", TokenFile: "/etc/hssgate/credentials/token"},
		},
		"a project keeps credentials of its own": {
			[]string{"--values", "hssgate/ci/everything-values.yaml"}, func(c *c) any { return c.Projects[1].Credentials }, config.Credentials{Source: "Metadata"},
		},
		"a project's part of a call comes from --set": {ofProject, func(c *c) any { return c.Projects[0].RequestsPerSecond }, 0.5},
		"mode audit is in dry-run mode":               {defaults, func(c *c) any { return c.DryRun }, true},
		"mode enforce isn't":                          {enforced, func(c *c) any { return c.DryRun }, false},
		"a dry run can be asked for":                  {managed, func(c *c) any { return c.DryRun }, true},
		"mode audit may deny":                         {token, func(c *c) any { return c.DryRun }, false},
		"its own certificates are for the Service": {
			defaults, func(c *c) any { return c.Webhook.Hosts }, []string{"hssgate.hssgate-system.svc", "hssgate.hssgate-system.svc.cluster.local"},
		},
		"its own CA is in a Secret":                              {defaults, func(c *c) any { return c.Webhook.CASecret }, "hssgate-serving-ca"},
		"it knows its webhooks by name":                          {enforced, func(c *c) any { return c.Webhook.ConfigurationName }, "gate"},
		"cert-manager's come from files":                         {managed, func(c *c) any { return c.Webhook.OwnCertificates() }, false},
		"scans are requested by no project by default":           {defaults, func(c *c) any { return c.ScansOnDemand() }, false},
		"scans are not requested by bounds alone":                {enforced, func(c *c) any { return c.ScansOnDemand() }, false},
		"scans are requested by the region's project":            {managed, scans, config.ScanOnDemand{Enabled: true, MaxPerHour: 5}},
		"scans are requested by a project that is named":         {ofProject, scans, config.ScanOnDemand{Enabled: true, MaxPerHour: 5}},
		"hssgate fills in the caBundle of the webhook that pins": {enforced, mutating, "gate"},
		"hssgate fills in nothing without that webhook":          {defaults, mutating, ""},
		"hssgate fills in nothing beside cert-manager":           {managed, mutating, ""},
		"exempt namespaces are the same as the webhooks'": {
			enforced, func(c *c) any { return c.ExemptNamespaces }, []string{"kube-system", "hssgate-system", "calico-system"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, test.got(configuration(t, test.values...))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
