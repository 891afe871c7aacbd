package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// What must never be seen of a gate, whatever it writes.
const (
	accessKey = "E2EACCESSKEY"
	secretKey = "e2e-secret-key-that-must-not-be-seen"
)

// gate is a running hssgate that judges the namespaces labelled with its name.
type gate struct {
	*process
	cluster *cluster
	name    string
	// webhook, health and metrics are where it listens.
	webhook, health, metrics string
	args                     []string
}

// setup is how a gate is to run.
type setup struct {
	name string
	// projects are the HSS servers by the names of their projects; each has
	// the registry host NAME.example.com.
	projects map[string]*hsstest.Server
	// cache, webhook and audit are lines of YAML for the configuration. Without
	// the last, running pods are not audited. tracing is what follows its key.
	cache, webhook, audit, tracing string
	// project are lines for every project.
	project string
	// more are lines of YAML for the configuration itself.
	more string
	// kubeconfig is that of the cluster unless it's set.
	kubeconfig  string
	args        []string
	environment []string
	// change may change the webhook configuration before it is created.
	change func(*admissionregistrationv1.ValidatingWebhookConfiguration)
}

// newGate starts a gate and waits until it judges.
func newGate(t *testing.T, c *cluster, s setup) *gate {
	t.Helper()
	g := c.launch(t, s)
	g.awaitReady(t)
	if !strings.Contains(s.webhook, "certDir") && !slices.Contains(s.args, "--dry-run") {
		g.awaitJudgement(t)
	}
	return g
}

// launch starts a gate.
func (c *cluster) launch(t *testing.T, s setup) *gate {
	t.Helper()
	ports := controlplanetest.FreeAddresses(t, 3)
	g := &gate{cluster: c, name: s.name, webhook: ports[0], health: ports[1], metrics: ports[2]}
	config := g.configuration(t, s)
	g.args = append([]string{
		"serve", "--config", write(t, "config.yaml", config),
		"--kubeconfig", cmp.Or(s.kubeconfig, c.kubeconfig), "--ca-file", filepath.Join(t.TempDir(), "ca.crt"),
	}, s.args...)
	g.process = c.startWith(t, s.environment, g.args...)
	g.installWebhooks(t, s)
	return g
}

// awaitJudgement waits until the API server asks the gate. Until it trusts its
// certificate it may not be able to, not even about policies.
func (g *gate) awaitJudgement(t *testing.T) {
	t.Helper()
	s := g.newSpace(t)
	fence := s.newFence()
	eventually(t, func() error { return g.cluster.policies.Create(t.Context(), fence) })
	s.awaitFence(t, fence)
}

// installWebhooks has the API server ask the gate as long as the test runs.
func (g *gate) installWebhooks(t *testing.T, s setup) {
	t.Helper()
	configuration := g.webhookConfiguration()
	if s.change != nil {
		s.change(configuration)
	}
	webhooks := g.cluster.Clientset(t).AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if _, err := webhooks.Create(t.Context(), configuration, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := webhooks.Delete(context.WithoutCancel(t.Context()), s.name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func (g *gate) configuration(t *testing.T, s setup) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
healthBindAddress: %s
metricsBindAddress: %s
logging: {level: debug}
webhook:
  bindAddress: %s
  configurationName: %s
  timeoutMargin: 1s
%s
cache:
  waitWhenStale: 10s
%s
audit:
%s
tracing: {%s}
`, g.health, g.metrics, g.webhook, g.name, indent(s.webhook), indent(s.cache), indent(cmp.Or(s.audit, "enabled: false")), s.tracing)
	access, secret := write(t, "access-key", accessKey), write(t, "secret-key", secretKey)
	b.WriteString("projects:\n")
	for name, server := range s.projects {
		fmt.Fprintf(&b, `- name: %s
  endpoint: %s
  projectID: p1
  requestsPerSecond: 1000
  burst: 1000
  credentials: {source: Files, accessKeyFile: %s, secretKeyFile: %s}
%s
`, name, server.URL, access, secret, indent(s.project))
	}
	b.WriteString("registries:\n")
	for name := range s.projects {
		fmt.Fprintf(&b, "- {name: %s, hosts: [%[1]s.example.com], project: %[1]s}\n", name)
	}
	b.WriteString(s.more + "\n")
	return b.String()
}

func indent(lines string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(lines), "\n", "\n  ")
}

// awaitReady waits until the gate says that it is ready.
func (g *gate) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		select {
		case <-g.exited:
			t.Fatalf("it ended before it was ready: %v\n%s", g.err, tail(g.log(t)))
		default:
		}
		code, body, err := get(t, "http://"+g.health+"/readyz")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("/readyz answers %d: %s", code, body)
		}
		return err
	})
}

func get(t *testing.T, url string) (code int, body string, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), err
}

// webhookConfiguration has the API server ask the gate. The caBundle is for
// hssgate to write.
func (g *gate) webhookConfiguration() *admissionregistrationv1.ValidatingWebhookConfiguration {
	rule := func(group string, resources ...string) admissionregistrationv1.RuleWithOperations {
		return admissionregistrationv1.RuleWithOperations{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: resources},
		}
	}
	pods := g.newWebhook("pods.hssgate.io", "/validate",
		rule("", "pods", "pods/ephemeralcontainers", "replicationcontrollers", "podtemplates"),
		rule("apps", "deployments", "statefulsets", "daemonsets", "replicasets"),
		rule("batch", "jobs", "cronjobs"),
		rule("argoproj.io", "rollouts"))
	pods.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{gateLabel: g.name}}
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: g.name},
		Webhooks:   []admissionregistrationv1.ValidatingWebhook{pods},
	}
}

func (g *gate) newWebhook(name, path string, rules ...admissionregistrationv1.RuleWithOperations) admissionregistrationv1.ValidatingWebhook {
	url := "https://" + g.webhook + path
	fail, none, timeout := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone, int32(15)
	return admissionregistrationv1.ValidatingWebhook{
		Name: name, Rules: rules, FailurePolicy: &fail, SideEffects: &none, TimeoutSeconds: &timeout,
		ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: &url},
		AdmissionReviewVersions: []string{"v1"},
	}
}

// bundle returns what the API server trusts the gate by.
func (c *cluster) bundle(t *testing.T, name string) []byte {
	t.Helper()
	configuration, err := c.Clientset(t).AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return configuration.Webhooks[0].ClientConfig.CABundle
}

// caFile returns what the gate wrote into --ca-file.
func (g *gate) caFile(t *testing.T) []byte {
	t.Helper()
	for i, arg := range g.args {
		if arg != "--ca-file" {
			continue
		}
		ca, err := os.ReadFile(g.args[i+1])
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	t.Fatal("the gate has no --ca-file")
	return nil
}
