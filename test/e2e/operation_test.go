package e2e_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/cert"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// testOperation looks at a gate as an operator does.
func testOperation(t *testing.T, f *fixture) {
	t.Run("health and readiness", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{"/healthz", "/readyz", "/readyz/policies", "/readyz/webhook"} {
			code, body, err := get(t, "http://"+f.health+path)
			if err != nil || code != http.StatusOK || body != "ok" {
				t.Errorf("%s: got %d %q, %v", path, code, body, err)
			}
		}
	})
	t.Run("the API server trusts what the gate wrote", func(t *testing.T) {
		t.Parallel()
		if written, trusted := f.caFile(t), f.cluster.bundle(t, f.name); !bytes.Contains(trusted, written) {
			t.Errorf("--ca-file has:\n%s\nthe caBundle:\n%s", written, trusted)
		}
	})
	t.Run("what is no review is no admission", func(t *testing.T) {
		t.Parallel()
		for _, body := range []string{"", "{}", "[]", "null", "<html>", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}`} {
			if answer := f.send(t, []byte(body)); !bytes.Contains(answer, []byte(`"allowed":false`)) {
				t.Errorf("to %q it answers %s", body, answer)
			}
		}
	})
	t.Run("the log is JSON and tells of denials", func(t *testing.T) {
		t.Parallel()
		testLog(t, f)
	})
}

func testLog(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	says(t, s.run(t, newPod("logged", "unclaimed.example.com/prod/logged:1")), "no configured registry claims host")
	var line string
	for one := range strings.Lines(f.log(t)) {
		if !strings.HasPrefix(one, `{"time":`) {
			t.Errorf("no JSON: %s", one)
		}
		if strings.Contains(one, fmt.Sprintf(`"namespace":%q,"name":"logged"`, s.name)) {
			line = one
		}
	}
	for _, want := range []string{`"msg":"denied"`, `"outcome":"Denied"`, `"component":"webhook"`, "unclaimed.example.com", s.name + "-p"} {
		if !strings.Contains(line, want) {
			t.Errorf("got line %s\nwant in it %s", line, want)
		}
	}
}

// testProcesses starts gates.
func testProcesses(t *testing.T, f *fixture) {
	inParallel(t, f, tests{
		"certificates from files are followed": testCertificateFiles,
		"mistakes are told":                    testMistakes,
	})
}

// testCertificateFiles swaps the certificate of a running gate.
func testCertificateFiles(t *testing.T, f *fixture) {
	dir := t.TempDir()
	first, second := newCertificate(t), newCertificate(t)
	install(t, first, dir)
	add(f.hss["main"], row("app"))
	g := newGate(t, f.cluster, setup{
		name: "files", projects: map[string]*hsstest.Server{"main": f.hss["main"]}, webhook: "certDir: " + dir,
		change: func(configuration *admissionregistrationv1.ValidatingWebhookConfiguration) {
			configuration.Webhooks[0].ClientConfig.CABundle = append(certificatePEM(first), certificatePEM(second)...)
		},
	})
	s := g.newSpace(t)
	s.enforce(t, "p")
	s.admitted(t, s.run(t, newPod("before", "main.example.com/prod/app:1")))
	if err := presents(g, first); err != nil {
		t.Error(err)
	}
	install(t, second, dir)
	eventually(t, func() error { return presents(g, second) })
	s.admitted(t, s.run(t, newPod("after", "main.example.com/prod/app:1")))
}

func newCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func certificatePEM(c tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
}

// install puts a certificate and its key into a folder, each at once.
func install(t *testing.T, c tls.Certificate, dir string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"tls.crt": certificatePEM(c),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		if err := os.Rename(write(t, name, string(content)), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// presents checks that the gate's certificate is the one given.
func presents(g *gate, c tls.Certificate) error {
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	connection, err := tls.Dial("tcp", g.webhook, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	return connection.Close()
}

// mistake is a call that must end at once, with a code and a text that helps.
type mistake struct {
	args []string
	code int
	// want is all that is written to standard error, or its end after "…".
	want string
}

func testMistakes(t *testing.T, f *fixture) {
	good := f.misconfigured(t, "")
	serve := func(config, kubeconfig string) []string {
		return []string{"serve", "--config", config, "--kubeconfig", kubeconfig}
	}
	away := clientcmdapi.NewConfig()
	away.Clusters["c"] = &clientcmdapi.Cluster{Server: "https://" + controlplanetest.FreeAddresses(t, 1)[0]}
	away.Contexts["c"] = &clientcmdapi.Context{Cluster: "c"}
	away.CurrentContext = "c"
	awayConfig, err := clientcmd.Write(*away)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]mistake{
		"no kubeconfig":          {[]string{"serve", "--config", good}, 1, "find the cluster: none is named; give --kubeconfig, set $KUBECONFIG, or run hssgate in a pod"},
		"no API server":          {serve(good, write(t, "away", string(awayConfig))), 1, "…reach the cluster: "},
		"the webhook's port":     {serve(f.misconfigured(t, "webhook"), f.cluster.kubeconfig), 1, "…address already in use"},
		"a certificate's folder": {serve(f.misconfigured(t, "certDir"), f.cluster.kubeconfig), 1, "…read the serving certificate: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.cluster.checkMistake(t, test)
		})
	}
}

func (c *cluster) checkMistake(t *testing.T, m mistake) {
	t.Helper()
	code, stdout, stderr := c.runToEnd(t, m.args...)
	if code != m.code || stdout != "" {
		t.Errorf("got code %d and output %q, want code %d and no output", code, stdout, m.code)
	}
	if want, part := strings.CutPrefix(m.want, "…"); !strings.Contains(stderr, want) || (!part && !strings.HasPrefix(stderr, "hssgate: "+want)) {
		t.Errorf("got:  %s\nwant: %s", stderr, m.want)
	}
	if strings.Contains(stderr, "[running]:") || strings.Contains(stderr, "Usage:") {
		t.Errorf("it says too much:\n%s", stderr)
	}
}

// misconfigured writes a configuration with one thing wrong: the webhook's port, on which someone
// else listens, or an empty folder of certificates.
func (f *fixture) misconfigured(t *testing.T, what string) string {
	t.Helper()
	addresses := controlplanetest.FreeAddresses(t, 3)
	g := &gate{name: "mistaken", webhook: addresses[0], health: addresses[1], metrics: addresses[2]}
	s := setup{projects: map[string]*hsstest.Server{"main": f.hss["main"]}}
	if what == "certDir" {
		s.webhook = "certDir: " + t.TempDir()
	}
	if what == "webhook" {
		listener, err := net.Listen("tcp", g.webhook)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
	}
	return write(t, "config.yaml", g.configuration(t, s))
}

// How much runs before a gate starts.
const (
	warmPods   = 12
	warmImages = 4
)

// newRunning makes a namespace for a gate that is still to start, with a policy
// and pods, most of which run. Their images have the project's host.
func (c *cluster) newRunning(t *testing.T, project string) (*space, *hsstest.Server) {
	t.Helper()
	s := (&gate{cluster: c, name: project}).newSpace(t)
	s.create(t, s.newPolicy("p"))
	hss := newHSS(t)
	for n := range warmImages + 1 {
		add(hss, row(fmt.Sprintf("app-%d", n)))
	}
	pods := s.client.CoreV1().Pods(s.name)
	for n := range warmPods + 1 {
		pod, err := pods.Create(t.Context(), newPod(fmt.Sprintf("web-%d", n), warmImage(project, n%warmImages)), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		pod.Status.Phase = corev1.PodRunning
		if n == warmPods { // it has an image of its own, and has ended
			pod.Status.Phase = corev1.PodSucceeded
		}
		if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return s, hss
}

func warmImage(project string, n int) string {
	return fmt.Sprintf("%s.example.com/prod/app-%d:1", project, n)
}

// testWarmUp starts a gate in a cluster in which pods run already: it is ready only when the images that run are known.
func testWarmUp(t *testing.T, f *fixture) {
	s, hss := f.cluster.newRunning(t, "warm")
	// The first call is made alone, then the others side by side. A warm-up ends after 10 s: a busy machine has time to see it, and
	// to end it.
	hss.SetLatency(2 * time.Second)
	started := f.cluster.launch(t, setup{name: "warm", projects: map[string]*hsstest.Server{"warm": hss}, cache: "freshFor: 10m"})
	eventually(t, func() error { return started.readiness(t, "/warm-up", fmt.Sprintf(" of %d images of ", warmImages)) })
	started.awaitReady(t)
	if got := lookUps(hss); got != warmImages {
		t.Errorf("HSS was asked %d times for %d images", got, warmImages)
	}
	started.awaitEvaluation(t)
	s.gate = started
	for n := range warmImages {
		s.admitted(t, s.run(t, newPod(fmt.Sprintf("new-%d", n), warmImage("warm", n))))
	}
	if got := lookUps(hss); got != warmImages {
		t.Errorf("HSS was asked %d times when pods of known images came", got-warmImages)
	}
	hss.SetLatency(0)
	s.admitted(t, s.run(t, newPod("other", warmImage("warm", warmImages))))
	if got := lookUps(hss); got != warmImages+1 {
		t.Errorf("HSS was asked %d times for the image of a pod that had ended", got-warmImages)
	}
}
