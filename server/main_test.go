package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// TestServe runs the program itself before one API server, as an operator does.
func TestServe(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, test := range map[string]func(*testing.T, *site){
		"a replica that stops":               testShutdown,
		"a second signal":                    testSecondSignal,
		"a lost election":                    testLostElection,
		"replicas that share an authority":   testSharedAuthority,
		"certificates in a folder":           testFolder,
		"clients with certificates":          testClients,
		"what kubectl tells of policies":     testColumns,
		"mistakes in what serve is to serve": testMistakes,
		"a log that nobody reads":            testUnreadLog,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// patience is for a busy machine, and never spent when all is well.
const patience = 90 * time.Second

// site is an API server and the program.
type site struct {
	env        *controlplanetest.Environment
	client     kubernetes.Interface
	kubeconfig string
	binary     string
	// apiServer is whom the API server is to webhooks.
	apiServer *clientAuthority
}

func newSite(t *testing.T) *site {
	t.Helper()
	binary, built := controlplanetest.StartBuild(t)
	s := &site{binary: binary, apiServer: newClientAuthority(t)}
	admission := admissionConfiguration(t, s.apiServer)
	s.env = controlplanetest.Start(t, controlplanetest.WithFlag("admission-control-config-file", admission))
	if err := <-built; err != nil {
		t.Fatal(err)
	}
	s.client = s.env.Clientset(t)
	s.kubeconfig = write(t, "kubeconfig", string(s.env.KubeConfig))
	return s
}

// gate is a running replica.
type gate struct {
	*site
	name, namespace          string
	webhook, health, metrics string
	config                   string
	env                      []string
	unread                   bool
	command                  *exec.Cmd
	log                      string
	exited                   chan struct{}
	err                      error
}

// plan says how a replica is to be run.
type plan struct {
	// name is that of its webhook configuration, and of the namespace that it
	// believes to run in.
	name string
	// webhook and top are lines of the configuration.
	webhook, top string
	// hss is where HSS is; empty: nowhere.
	hss string
	// twin shares all but addresses with this one.
	twin bool
	// env are more environment variables.
	env []string
	// unread says that nobody reads what it logs.
	unread bool
}

func (s *site) start(t *testing.T, p plan) *gate {
	t.Helper()
	addresses := controlplanetest.FreeAddresses(t, 3)
	g := &gate{
		site: s, name: p.name, namespace: p.name, webhook: addresses[0], health: addresses[1], metrics: addresses[2],
		env: p.env, unread: p.unread, log: filepath.Join(t.TempDir(), "log"), exited: make(chan struct{}),
	}
	g.config = write(t, "config.yaml", g.configuration(t, p))
	if !p.twin {
		s.newNamespace(t, g.namespace)
		g.newWebhooks(t)
	}
	g.launch(t)
	return g
}

func (g *gate) launch(t *testing.T) {
	t.Helper()
	log, err := os.Create(g.log)
	if err != nil {
		t.Fatal(err)
	}
	g.command = exec.Command(g.binary, "serve", "--config", g.config, "--kubeconfig", g.kubeconfig)
	g.command.Env = slices.Concat(os.Environ(), []string{"POD_NAMESPACE=" + g.namespace}, g.env)
	g.command.Stdout, g.command.Stderr = log, log
	if g.unread {
		_, g.command.Stderr = newPipe(t)
	}
	if err := g.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(g.exited)
		g.err = g.command.Wait()
		_ = log.Close()
	}()
	t.Cleanup(func() {
		_ = g.command.Process.Kill()
		<-g.exited
		if t.Failed() {
			t.Logf("the log of %s:\n%s", g.name, g.read(t))
		}
	})
}

func (g *gate) configuration(t *testing.T, p plan) string {
	t.Helper()
	if p.hss == "" {
		p.hss = "http://127.0.0.1:9"
	}
	return fmt.Sprintf(`apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
healthBindAddress: %s
metricsBindAddress: %s
%s
webhook:
  bindAddress: %s
  configurationName: %s
  %s
projects:
- name: main
  endpoint: %s
  projectID: p1
  credentials: {source: Files, accessKeyFile: %s, secretKeyFile: %s}
registries:
- {name: main, hosts: [main.example.com]}
`, g.health, g.metrics, p.top, g.webhook, p.name, strings.ReplaceAll(p.webhook, "\n", "\n  "), p.hss,
		write(t, "access-key", "ACCESSKEY"), write(t, "secret-key", "SECRETKEY"))
}

// newWebhooks has the API server ask the gate about what happens in a namespace
// that is named after it.
func (g *gate) newWebhooks(t *testing.T) {
	t.Helper()
	url := "https://" + g.webhook + "/validate"
	fail, none, timeout := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone, int32(10)
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: g.name},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "pods.hssgate.io", FailurePolicy: &fail, SideEffects: &none, TimeoutSeconds: &timeout,
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: &url},
			AdmissionReviewVersions: []string{"v1"},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: g.judged()}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}
	g.newNamespace(t, g.judged())
	if _, err := g.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), configuration, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// judged is the namespace whose pods the gate judges.
func (g *gate) judged() string { return g.name + "-judged" }

func (s *site) newNamespace(t *testing.T, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := s.client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// bundle is what the API server trusts the gate by.
func (g *gate) bundle(t *testing.T) []byte {
	t.Helper()
	configuration, err := g.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), g.name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return configuration.Webhooks[0].ClientConfig.CABundle
}

func (g *gate) signal(t *testing.T) {
	t.Helper()
	if err := g.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

func (g *gate) read(t *testing.T) string {
	t.Helper()
	log, err := os.ReadFile(g.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}

// readyz asks the gate whether it is ready.
func (g *gate) readyz(t *testing.T) error { t.Helper(); return g.probe(t, "/readyz") }

func (g *gate) probe(t *testing.T, path string) error {
	t.Helper()
	return g.get(context.WithoutCancel(t.Context()), "http://"+g.health+path)
}

func (g *gate) get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %d: %s", url, response.StatusCode, body)
	}
	return err
}

func (g *gate) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		select {
		case <-g.exited:
			t.Fatalf("it ended before it was ready: %v", g.err)
		default:
		}
		return g.readyz(t)
	})
}

// awaitExit returns how long it took from since.
func (g *gate) awaitExit(t *testing.T, since time.Time) time.Duration {
	t.Helper()
	select {
	case <-g.exited:
	case <-time.After(patience):
		t.Fatalf("it goes on after %s", patience)
	}
	return time.Since(since)
}

// write puts a file into a folder of its own.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newPipe returns a pipe that stays open.
func newPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

// testUnreadLog has more denied than a pipe holds lines of.
func testUnreadLog(t *testing.T, s *site) {
	s.kubectl(t, policyFor("unread", "unread-judged"), "create", "-f", "-")
	g := s.start(t, plan{name: "unread", unread: true})
	g.awaitReady(t)
	for n := range 300 {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("denied-%d", n)},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: fmt.Sprintf("no.example.com/%s:%d", strings.Repeat("x", 200), n)}}},
		}
		_, err := g.client.CoreV1().Pods(g.judged()).Create(t.Context(), pod, metav1.CreateOptions{})
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "no configured registry claims host") {
			t.Fatalf("pod %d, with a log that nobody reads: %v", n, err)
		}
	}
}

var errNotYet = errors.New("not yet")

func eventually(t *testing.T, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %v", patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
