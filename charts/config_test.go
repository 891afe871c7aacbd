package charts_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	for _, object := range rendered.ofKind("ConfigMap") {
		data, _ := object.Object["data"].(map[string]any)
		if text, ok := data["config.yaml"].(string); ok {
			c, err := config.Parse("config.yaml", []byte(text))
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			return c
		}
	}
	t.Fatal("no ConfigMap holds config.yaml")
	return nil
}

func TestConfigurationOfEveryValuesFileIsValid(t *testing.T) {
	t.Parallel()
	for _, file := range valuesFiles(t) {
		rendered := render(t, "--values", file)
		if len(rendered.ofKind("Deployment")) > 0 {
			configurationIn(t, rendered)
		}
	}
}

func TestConfigurationsInDocumentsAreValid(t *testing.T) {
	t.Parallel()
	found := 0
	for path, text := range withGuides(t) {
		for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(block[1], "kind: "+config.Kind+"\n") {
				continue
			}
			found++
			if _, err := config.Parse(path, []byte(block[1])); err != nil {
				t.Error(err)
			}
		}
	}
	if found == 0 {
		t.Error("no document shows a configuration")
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	type c = config.Configuration
	tests := map[string]struct {
		values []string
		got    func(*c) any
		want   any
	}{
		"a region makes a project": {
			working("hss.projectID=0a1b2c3d4e5f60718293a4b5c6d7e8f9"), func(c *c) any { return []string{c.Projects[0].Region, c.Projects[0].ProjectID} }, []string{"cn-north-4", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"},
		},
		"a region makes a registry": {
			working(), func(c *c) any { return c.Registries[0].Hosts }, []string{"swr.cn-north-4.myhuaweicloud.com"},
		},
		"without keys the pod's own are looked for": {
			working(), func(c *c) any { return c.Projects[0].Credentials }, config.Credentials{Source: "Default"},
		},
		"keys come from a Secret": {
			working("credentials.existingSecret=keys"), func(c *c) any { return c.Projects[0].Credentials },
			config.Credentials{Source: "Files", AccessKeyFile: "/etc/hssgate/credentials/access-key", SecretKeyFile: "/etc/hssgate/credentials/secret-key"},
		},
		"keys come from values": {
			working("credentials.accessKey=a", "credentials.secretKey=s", "credentials.securityToken=t"), func(c *c) any { return c.Projects[0].Credentials },
			config.Credentials{
				Source: "Files", AccessKeyFile: "/etc/hssgate/credentials/access-key", SecretKeyFile: "/etc/hssgate/credentials/secret-key",
				SecurityTokenFile: "/etc/hssgate/credentials/security-token",
			},
		},
		"nothing is traced": {
			working(), func(c *c) any { return c.Tracing.Endpoint }, "",
		},
		"a collector comes from values": {
			working("config.tracing.endpoint=http://collector:4318", "config.tracing.samplingRatio=1"), func(c *c) any { return c.Tracing },
			config.Tracing{Endpoint: "http://collector:4318", SamplingRatio: 1, Timeout: config.Duration(10 * time.Second)},
		},
		"a part of one comes from --set, which makes a text of it": {
			working("config.tracing.endpoint=http://collector:4318", "config.tracing.samplingRatio=0.25"), func(c *c) any { return c.Tracing.SamplingRatio }, 0.25,
		},
		"a project's part of a call comes from --set": {
			set("config.projects[0].name=a", "config.projects[0].region=cn-north-4", "config.projects[0].requestsPerSecond=0.5",
				"config.registries[0].name=r", "config.registries[0].hosts={r.example.com}"),
			func(c *c) any { return c.Projects[0].RequestsPerSecond }, 0.5,
		},
		"a token comes from values": {
			working("credentials.token=t"), func(c *c) any { return c.Projects[0].Credentials },
			config.Credentials{Source: "TokenFile", TokenFile: "/etc/hssgate/credentials/token"},
		},
		"a project keeps credentials of its own": {
			[]string{"--values", "hssgate/ci/everything-values.yaml"}, func(c *c) any { return c.Projects[1].Credentials },
			config.Credentials{Source: "TokenEnvironment", TokenVariable: "PRIVATE_TOKEN"},
		},
		"whole numbers stay whole": {
			[]string{"--values", "hssgate/ci/everything-values.yaml"}, func(c *c) any { return c.Cache.MaxImages }, 10_000_000,
		},
		"mode audit runs dry":        {working(), func(c *c) any { return c.DryRun }, true},
		"mode enforce doesn't":       {working("mode=enforce"), func(c *c) any { return c.DryRun }, false},
		"a dry run can be asked for": {working("mode=enforce", "dryRun=true"), func(c *c) any { return c.DryRun }, true},
		"mode audit may deny":        {working("dryRun=false"), func(c *c) any { return c.DryRun }, false},
		"its own certificates are for the Service": {
			working(), func(c *c) any { return c.Webhook.Hosts },
			[]string{"hssgate.hssgate-system.svc", "hssgate.hssgate-system.svc.cluster.local"},
		},
		"its own authority is in a Secret":  {working(), func(c *c) any { return c.Webhook.AuthoritySecret }, "hssgate-authority"},
		"it knows its webhooks by name":     {working("fullnameOverride=gate"), func(c *c) any { return c.Webhook.ConfigurationName }, "gate"},
		"cert-manager's come from files":    {working("certManager.enabled=true"), func(c *c) any { return c.Webhook.OwnCertificates() }, false},
		"the answer is due when it's asked": {working("webhook.timeoutSeconds=7"), func(c *c) any { return time.Duration(c.Webhook.DefaultTimeout) }, 7 * time.Second},
		"exempt namespaces are the same as the webhooks'": {
			working("exemptions.namespaces={calico-system}"), func(c *c) any { return c.ExemptNamespaces },
			[]string{"kube-system", "hssgate-system", "calico-system"},
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
