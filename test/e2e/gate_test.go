package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// What must never be seen of a gate, whatever it writes.
const (
	accessKey = "E2EACCESSKEY"
	secretKey = "e2e-secret-key-that-must-not-be-seen"
)

// gate is a running hssgate that evaluates the namespaces labelled with its name.
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
	// the last, running pods are not audited.
	cache, webhook, audit string
	// project are lines for every project.
	project     string
	args        []string
	environment []string
	// resources are whether it reviews policies and exceptions, too.
	resources bool
	// change may change the webhook configuration before it is created.
	change func(*admissionregistrationv1.ValidatingWebhookConfiguration)
}

// newGate starts a gate and waits until it evaluates.
func newGate(t *testing.T, c *cluster, s setup) *gate {
	t.Helper()
	g := c.launch(t, s)
	g.awaitReady(t)
	if !strings.Contains(s.webhook, "certDir") {
		g.awaitEvaluation(t)
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
		"serve", "--log-level", "debug", "--config", write(t, "config.yaml", config),
		"--kubeconfig", c.kubeconfig, "--ca-file", filepath.Join(t.TempDir(), "ca.crt"),
	}, s.args...)
	g.process = c.start(t, s.environment, g.args...)
	g.installWebhooks(t, s)
	return g
}

// awaitEvaluation waits until the API server asks the gate. Until it trusts its
// certificate it may not be able to, not even about policies.
func (g *gate) awaitEvaluation(t *testing.T) {
	t.Helper()
	s := g.newSpace(t)
	fence := s.newFence()
	eventually(t, func() error { return g.cluster.policies.Create(t.Context(), fence) })
	s.awaitFence(t, fence)
}

// installWebhooks has the API server ask the gate as long as the test runs.
func (g *gate) installWebhooks(t *testing.T, s setup) {
	t.Helper()
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	g.decodeFor(t, webhookConfiguration, configuration)
	if !s.resources {
		configuration.Webhooks = configuration.Webhooks[:1]
	}
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
webhook:
  bindAddress: %s
  configurationName: %s
%s
cache:
  waitWhenStale: 10s
%s
audit:
%s
`, g.health, g.metrics, g.webhook, g.name, indent(s.webhook), indent(s.cache), indent(cmp.Or(s.audit, "enabled: false")))
	access, secret := write(t, "access-key", accessKey), write(t, "secret-key", secretKey)
	b.WriteString("projects:\n")
	for name, server := range s.projects {
		fmt.Fprintf(&b, `- name: %s
  endpoint: %s
  projectID: p1
  requestsPerSecond: 1000
  credentials: {source: Files, accessKeyFile: %s, secretKeyFile: %s}
%s
`, name, server.URL, access, secret, indent(s.project))
	}
	b.WriteString("registries:\n")
	for name := range s.projects {
		fmt.Fprintf(&b, "- {name: %s, hosts: [%[1]s.example.com], project: %[1]s}\n", name)
	}
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

// get returns an answer, in a format if one is given.
func get(t *testing.T, url string, accept ...string) (code int, body string, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Accept"] = accept
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), err
}

// webhookConfiguration has the API server send a gate NAME at ADDRESS what is in
// namespaces labelled with its name, and policies and exceptions, unless they are
// labelled to get around it. The caBundle is for hssgate to write.
const webhookConfiguration = `
metadata: {name: NAME}
webhooks:
- name: pods.hssgate.io
  clientConfig: {url: "https://ADDRESS/validate"}
  namespaceSelector: {matchLabels: {` + gateLabel + `: NAME}}
  rules:
  - {operations: [CREATE, UPDATE], apiGroups: [""], apiVersions: ["*"], resources: [pods, pods/ephemeralcontainers, replicationcontrollers, podtemplates]}
  - {operations: [CREATE, UPDATE], apiGroups: [apps], apiVersions: ["*"], resources: [deployments, statefulsets, daemonsets, replicasets]}
  - {operations: [CREATE, UPDATE], apiGroups: [batch], apiVersions: ["*"], resources: [jobs, cronjobs]}
  - {operations: [CREATE, UPDATE], apiGroups: [argoproj.io], apiVersions: ["*"], resources: [rollouts]}
  <<: &all {failurePolicy: Fail, sideEffects: None, timeoutSeconds: 15, admissionReviewVersions: [v1]}
- name: policies.hssgate.io
  clientConfig: {url: "https://ADDRESS/validate-policy"}
  objectSelector: {matchExpressions: [{key: ` + unvalidated + `, operator: DoesNotExist}]}
  rules:
  - {operations: [CREATE, UPDATE], apiGroups: [hssgate.io], apiVersions: ["*"], resources: [imagescanpolicies]}
  <<: *all
- name: exceptions.hssgate.io
  clientConfig: {url: "https://ADDRESS/validate-exception"}
  objectSelector: {matchExpressions: [{key: ` + unvalidated + `, operator: DoesNotExist}]}
  rules:
  - {operations: [CREATE, UPDATE], apiGroups: [hssgate.io], apiVersions: ["*"], resources: [imagescanexceptions]}
  <<: *all
`

// decodeFor reads what is written for a gate into an object.
func (g *gate) decodeFor(t *testing.T, text string, into any) {
	t.Helper()
	text = strings.NewReplacer("NAME", g.name, "ADDRESS", g.webhook).Replace(text)
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		t.Fatal(err)
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
	ca, err := os.ReadFile(g.args[slices.Index(g.args, "--ca-file")+1])
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// fixture is the gate that most tests share. It soon asks HSS again, so that
// tests see HSS change its mind.
type fixture struct {
	*gate
	// hss are the servers by the names of their projects. "main" is in good
	// health; each of the others is one test's to ruin.
	hss map[string]*hsstest.Server
}

// unvalidated is the label of policies that the policy webhook isn't asked
// about, as if they had come before it.
const unvalidated = "unvalidated"

func newMainGate(t *testing.T, c *cluster) *fixture {
	t.Helper()
	f := &fixture{hss: map[string]*hsstest.Server{}}
	for _, name := range append([]string{"main", "rescan", "known", "slow", "details"}, troubled()...) {
		f.hss[name] = newHSS(t)
	}
	f.gate = newGate(t, c, setup{
		name: "main", projects: f.hss, cache: "freshFor: 1s\nnotFoundFor: 1s", resources: true,
	})
	return f
}

// newHSS starts a server that knows the gate's credentials.
func newHSS(t *testing.T, options ...hsstest.Option) *hsstest.Server {
	t.Helper()
	key := hsstest.Credential{AccessKey: accessKey, SecretKey: secretKey}
	server := hsstest.NewServer(append([]hsstest.Option{hsstest.WithCredentials(key)}, options...)...)
	t.Cleanup(server.Close)
	return server
}

// lookUps counts the requests for images: the leader also checks whether HSS
// answers.
func lookUps(server *hsstest.Server) int {
	return server.Stats().Count(func(q url.Values) bool { return q.Get("image_name") != "" })
}

// add adds a row to what a server knows.
func add(server *hsstest.Server, rows ...hsstest.Image) {
	server.Update(func(images []hsstest.Image) []hsstest.Image { return append(images, rows...) })
}

// change changes every row of one image name.
func change(server *hsstest.Server, name string, f func(*hsstest.Image)) {
	server.Update(func(images []hsstest.Image) []hsstest.Image {
		for i := range images {
			if images[i].ImageName == name {
				f(&images[i])
			}
		}
		return images
	})
}

// row is a clean image prod/NAME:1, scanned an hour ago, changed as told.
func row(name string, changes ...func(*hsstest.Image)) hsstest.Image {
	now := time.Now()
	i := hsstest.Image{
		Namespace: "prod", ImageName: name, ImageVersion: "1", ImageDigest: digest("a"),
		ImageType: "private_image", RegistryType: "SwrPrivate", Scannable: true,
		ScanStatus: "success", SeverityLevel: "Low",
		VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(2), MaliciousFileNum: hsstest.Count(0),
		LatestUpdateTime: now.Add(-2 * time.Hour), LatestScanTime: now.Add(-time.Hour), LatestSyncTime: now.Add(-time.Minute),
	}
	for _, f := range changes {
		f(&i)
	}
	return i
}

// digest is that of the given hexadecimal digit.
func digest(digit string) string { return "sha256:" + strings.Repeat(digit, 64) }

func high(i *hsstest.Image) {
	i.SeverityLevel, i.VulNum = "High", hsstest.Count(111)
}

// highLine is what the policy of the design says of such an image in the
// container "app".
func highLine(s *space, image string) string {
	return `container "app": ` + highFinding(s, image)
}

func highFinding(s *space, image string) string {
	return image + " — severity High, allowed Medium; 111 vulnerabilities, allowed 0 [policy " + s.name + "-p]"
}

// What a denial advises.
const (
	adviseRebuild       = "rebuild the image with fixed packages, push it, and have HSS scan it"
	noteSeverity        = "HSS's severity levels are not those of CVSS: its High may start at CVSS 9"
	adviseScan          = "have HSS scan the image, or wait until its scan is done, and try again"
	adviseName          = "check the image's name; if it is new, have HSS synchronise its registry, and scan it"
	adviseRetry         = "try again shortly; if it stays so, see hssgate's log for what HSS answers"
	adviseConfiguration = "an administrator of hssgate has to correct its configuration; see the condition HSSReachable of the policies and hssgate's log"
)
