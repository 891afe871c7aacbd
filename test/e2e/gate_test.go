package e2e_test

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
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
	setup
	// webhook, health and metrics are where it listens.
	webhook, health, metrics string
	caFile                   string
}

// setup is how a gate is to run.
type setup struct {
	name string
	// hss are the HSS servers by the names of their projects; each has the registry host NAME.example.com.
	hss map[string]*hsstest.Server
	// program is the cluster's if it is empty.
	program string
	// serving, cache and audit are lines of YAML for the configuration, the first about the webhook. Without the last, running pods
	// are not audited.
	serving, cache, audit string
	// project are lines for every project.
	project string
	// language is that of messages, if not English.
	language    string
	args        []string
	environment []string
	// resources are whether it reviews policies and exceptions, too.
	resources bool
	// change may change the webhook configuration before it is created.
	change func(*admissionregistrationv1.ValidatingWebhookConfiguration)
}

// changing has HSS asked again soon, so that tests see it change its mind.
const changing = "freshFor: 1s\nnotFoundFor: 1s"

// mainHSS is the HSS of most gates: of one project, with rows.
func mainHSS(t *testing.T, rows ...hsstest.Image) map[string]*hsstest.Server {
	t.Helper()
	return map[string]*hsstest.Server{"main": newHSS(t, hsstest.WithImages(rows...))}
}

// newGate starts a gate, has the API server ask it as long as the test runs, and waits until it evaluates.
func (c *cluster) newGate(t *testing.T, s setup) *gate {
	t.Helper()
	g := c.startReplica(t, s)
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	g.decodeFor(t, webhookConfiguration, configuration)
	if !s.resources {
		configuration.Webhooks = configuration.Webhooks[:1]
	}
	if s.change != nil {
		s.change(configuration)
	}
	c.create(t, configuration)
	t.Cleanup(func() { // before the gate stops, whose answers are needed
		if err := c.Delete(context.WithoutCancel(t.Context()), configuration); err != nil {
			t.Error(err)
		}
	})
	g.awaitReady(t)
	if s.change == nil { // the API server may be asked about other namespaces
		g.newSpace(t).settle(t)
	}
	return g
}

// startReplica starts a gate, which the API server does not ask.
func (c *cluster) startReplica(t *testing.T, s setup) *gate {
	t.Helper()
	ports := controlplanetest.FreeAddresses(t, 3)
	g := &gate{cluster: c, setup: s, webhook: ports[0], health: ports[1], metrics: ports[2], caFile: filepath.Join(t.TempDir(), "ca.crt")}
	args := []string{"serve", "--log-level", "debug", "--config", g.configuration(t), "--kubeconfig", c.kubeconfig}
	if !strings.Contains(s.serving, "caSecret") {
		args = append(args, "--ca-file", g.caFile)
	}
	g.process = start(t, cmp.Or(s.program, c.program(t)), s.environment, append(args, s.args...)...)
	return g
}

// configuration writes the gate's configuration file.
func (g *gate) configuration(t *testing.T) string {
	t.Helper()
	text := fmt.Sprintf(`apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
healthBindAddress: %s
metricsBindAddress: %s
messages: {language: %s}
webhook:
  bindAddress: %s
  configurationName: %s
%s
cache:
  waitWhenStale: 10s
%s
audit:
%s
`, g.health, g.metrics, cmp.Or(g.language, "en"), g.webhook, g.name, indent(g.serving), indent(g.cache), indent(cmp.Or(g.audit, "enabled: false")))
	access, secret := write(t, "access-key", accessKey), write(t, "secret-key", secretKey)
	projects, registries := "projects:\n", "registries:\n"
	for name, server := range g.hss {
		projects += fmt.Sprintf(`- name: %s
  endpoint: %s
  projectID: p1
  requestsPerSecond: 1000
  credentials: {source: Files, accessKeyFile: %s, secretKeyFile: %s}
%s
`, name, server.URL, access, secret, indent(g.project))
		registries += fmt.Sprintf("- {name: %s, hosts: [%[1]s.example.com], project: %[1]s}\n", name)
	}
	return write(t, "config.yaml", text+projects+registries)
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
		return g.readiness(t, "", "")
	})
}

// readiness returns nil if /readyz answers as it should: with a text, or with 200 for none.
func (g *gate) readiness(t *testing.T, query, want string) error {
	t.Helper()
	code, body, err := fetch(t, g.health+"/readyz"+query)
	if err == nil && (code == http.StatusOK) != (want == "") || !strings.Contains(body, want) {
		err = fmt.Errorf("/readyz%s answers %d: %s, %w", query, code, body, orNotYet(err))
	}
	return err
}

// scrape returns the gate's metrics.
func (g *gate) scrape(t *testing.T) string {
	t.Helper()
	code, body, err := fetch(t, g.metrics+"/metrics")
	if err != nil || code != http.StatusOK {
		t.Fatal(code, err)
	}
	return body
}

// fetch returns an answer.
func fetch(t *testing.T, url string) (code int, body string, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+url, http.NoBody)
	must(t, err)
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
  - {operations: [CREATE, UPDATE], apiGroups: [hssgate.io], apiVersions: ["*"], resources: [imagescanexceptions, clusterimagescanexceptions]}
  <<: *all
`

// decodeFor reads what is written for a gate into an object.
func (g *gate) decodeFor(t *testing.T, text string, into any) {
	t.Helper()
	must(t, yaml.UnmarshalStrict([]byte(strings.NewReplacer("NAME", g.name, "ADDRESS", g.webhook).Replace(text)), into))
}

// trusted returns the CAs by which the API server trusts the gate.
func (g *gate) trusted(t *testing.T) (bundle []byte, roots *x509.CertPool) {
	t.Helper()
	configuration := get(t, g.cluster, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: g.name}})
	bundle, roots = configuration.Webhooks[0].ClientConfig.CABundle, x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	return bundle, roots
}

// unvalidated is the label of policies that the policy webhook isn't asked
// about, as if they had come before it.
const unvalidated = "unvalidated"

// newMainGate starts the gate that most tests share. HSS's project "main" is in good health; each of the others is one test's to
// ruin.
func newMainGate(t *testing.T, c *cluster) *gate {
	t.Helper()
	all := mainHSS(t)
	for _, name := range append([]string{"rescan", "known", "slow", "details"}, slices.Collect(maps.Keys(troubles()))...) {
		all[name] = newHSS(t)
	}
	return c.newGate(t, setup{name: "main", hss: all, cache: changing, resources: true})
}

// newHSS starts a server that knows the gate's credentials.
func newHSS(t *testing.T, options ...hsstest.Option) *hsstest.Server {
	t.Helper()
	key := hsstest.Credential{AccessKey: accessKey, SecretKey: secretKey}
	server := hsstest.NewServer(append([]hsstest.Option{hsstest.WithCredentials(key)}, options...)...)
	t.Cleanup(server.Close)
	return server
}

// lookUps counts the look-ups of an image; of "": of any. A look-up may need further pages, and the leader also checks whether HSS
// answers.
func lookUps(server *hsstest.Server, image string) int {
	total := 0
	for raw, n := range server.Stats().Queries {
		q, _ := url.ParseQuery(raw)
		if name := q.Get("image_name"); name != "" && (name == image || image == "") && (q.Get("offset") == "" || q.Get("offset") == "0") {
			total += n
		}
	}
	return total
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
	adviseFailed        = "see in HSS why the scan did not succeed, and scan the image again"
	adviseScan          = "have HSS scan the image, or wait until its scan is done, and try again"
	adviseName          = "check the image's name; if it is new, have HSS synchronise its registry, and scan it"
	adviseRetry         = "try again shortly; if it stays so, see hssgate's log for what HSS answers"
	adviseConfiguration = "an administrator of hssgate has to correct its configuration; see the condition HSSReachable of the policies and hssgate's log"
)
