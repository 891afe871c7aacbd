package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/certificate"
	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// TestServe runs replicas as the chart does: with a namespace, an election, and a CA in a Secret.
//
// It is not parallel: while it floods a replica, others would wait for longer than they expect.
func TestServe(t *testing.T) { //nolint:paralleltest // see above
	binary, built := controlplanetest.StartBuild(t) // without the race detector, which takes memory
	clients := newClientCA(t)
	c := newCluster(t, controlplanetest.WithFlag("admission-control-config-file", clients.admissionConfiguration(t)))
	if err := <-built; err != nil {
		t.Fatal(err)
	}
	c.binary = binary
	t.Run("a flood leaves memory free", func(t *testing.T) { testFlood(t, c) }) //nolint:paralleltest // see above
	for name, test := range map[string]func(*testing.T, *cluster){
		"a replica that stops":      testShutdown,
		"a second signal":           testSecondSignal,
		"replicas that share a CA":  testSharedCA,
		"clients with certificates": func(t *testing.T, c *cluster) { testClients(t, c, clients) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

// asInstalled makes a setup that of a replica in a cluster. Its namespace has its name.
func (c *cluster) asInstalled(t *testing.T, s setup) setup {
	t.Helper()
	c.newNamespace(t, s.name, nil)
	s.webhook = "caSecret: ca\n" + s.webhook
	s.environment = append(s.environment, "POD_NAMESPACE="+s.name)
	s.args = append([]string{"--ca-file=", "--log-level=info", "--shutdown-delay=0"}, s.args...)
	return s
}

// shutdownDelay is long enough to tell apart what happens before and after its end, and for a
// busy machine to get there in time. A review in its middle waits for HSS past its end.
const (
	shutdownDelay = 12 * time.Second
	slowHSS       = 8 * time.Second
)

// testShutdown stops a replica while an API server sends it reviews.
func testShutdown(t *testing.T, c *cluster) {
	server := newHSS(t)
	add(server, row("app"))
	g := newGate(t, c, c.asInstalled(t, setup{
		name: "stopping", projects: map[string]*hsstest.Server{"main": server}, args: []string{"--shutdown-delay", shutdownDelay.String()},
	}))
	s := g.newSpace(t)
	s.enforce(t, "p")
	s.admitted(t, s.run(t, newPod("web", "main.example.com/prod/app:1")))
	eventually(t, func() error { return g.leads(t) })
	server.SetLatency(slowHSS)

	stop, slow := make(chan struct{}), make(chan error, 1)
	var pods sync.WaitGroup
	pods.Go(func() { keepTrying(t, s, stop) })
	begun := time.Now()
	g.terminate(t)
	time.AfterFunc(shutdownDelay*2/3, func() { close(stop) })
	time.AfterFunc(shutdownDelay/2, func() { slow <- s.try(t, newPod("slow", "main.example.com/prod/unknown:1")) })

	eventually(t, func() error { return g.readiness(t, "", "[-]stopping failed") })
	// A Service whose replicas all terminate depends on it.
	if err := g.readiness(t, "?exclude=stopping", ""); err != nil && time.Since(begun) < shutdownDelay {
		t.Errorf("it is not ready while it serves: %v", err)
	}
	eventually(t, func() error {
		if g.leads(t) == nil {
			return errors.New("it still leads")
		}
		return nil
	})
	<-g.exited
	if took := time.Since(begun); took < shutdownDelay {
		t.Errorf("it ended after %s", took)
	}
	pods.Wait()
	says(t, <-slow, `HSS project "main" has no image prod/unknown:1`)
	checkLog(t, g.log(t))
}

// keepTrying creates a pod whose image is known, until it is told to stop.
func keepTrying(t *testing.T, s *space, stop <-chan struct{}) {
	t.Helper()
	for {
		if err := s.try(t, newPod("again", "main.example.com/prod/app:1")); err != nil {
			t.Errorf("a review failed: %v", err)
			return
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// readiness returns nil if /readyz answers as it should: with a text, or with 200 for none.
func (g *gate) readiness(t *testing.T, query, want string) error {
	t.Helper()
	code, body, err := get(t, "http://"+g.health+"/readyz"+query)
	if err == nil && (code == http.StatusOK) != (want == "") || !strings.Contains(body, want) {
		err = fmt.Errorf("/readyz%s answers %d: %s", query, code, body)
	}
	return err
}

// checkLog checks that the few lines of a start and of a stop stand out, and that neither logs an error.
func checkLog(t *testing.T, log string) {
	t.Helper()
	for _, message := range []string{"starting", "ready"} {
		if n := strings.Count(log, `"msg":"`+message+`"`); n != 1 {
			t.Errorf("%d lines say %q, want 1", n, message)
		}
	}
	const few = 12
	if n := strings.Count(log, "\n") - strings.Count(log, `"msg":"denied"`); n > few || strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("the log has %d lines, want at most %d, and no ERROR:\n%s", n, few, log)
	}
}

// leads returns nil if some replica holds the Lease.
func (g *gate) leads(t *testing.T) error {
	t.Helper()
	lease, err := g.cluster.Clientset(t).CoordinationV1().Leases(g.name).Get(t.Context(), "hssgate", metav1.GetOptions{})
	if err == nil && (lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "") {
		err = errors.New("no replica leads")
	}
	return err
}

func testSecondSignal(t *testing.T, c *cluster) {
	g := newGate(t, c, c.asInstalled(t, setup{name: "impatient", projects: map[string]*hsstest.Server{"main": newHSS(t)}, args: []string{"--shutdown-delay=5m"}}))
	g.terminate(t)
	eventually(t, func() error { return g.readiness(t, "", "[-]stopping failed") })
	eventually(t, func() error { // the program takes a moment to stop handling signals itself
		g.terminate(t)
		select {
		case <-g.exited:
			return nil
		default:
			return errNotYet
		}
	})
	if _, failed := errors.AsType[*exec.ExitError](g.err); !failed {
		t.Errorf("it ended with %v, want a failure", g.err)
	}
	g.err = nil // as it should
}

// testSharedCA replaces the CA of two replicas by the commands of docs/certificates.md, while pods are created.
func testSharedCA(t *testing.T, c *cluster) {
	server := newHSS(t)
	add(server, row("app"))
	how := c.asInstalled(t, setup{name: "sharing", projects: map[string]*hsstest.Server{"main": server}})
	one := newGate(t, c, how)
	ports := controlplanetest.FreeAddresses(t, 3)
	two := &gate{cluster: c, name: one.name, webhook: ports[0], health: ports[1], metrics: ports[2]}
	args := append([]string{"serve", "--config", write(t, "config.yaml", two.configuration(t, how)), "--kubeconfig", c.kubeconfig}, how.args...)
	two.process = c.start(t, how.environment, args...)
	two.awaitReady(t)
	first := awaitSame(t, one, two, "")

	stop := make(chan struct{})
	var pods sync.WaitGroup
	pods.Go(func() { keepTrying(t, one.newSpace(t), stop) })
	patch := func(operations string) {
		if _, err := c.Clientset(t).CoreV1().Secrets(one.name).Patch(t.Context(), "ca", types.JSONPatchType, []byte(operations), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	patch(`[{"op": "move", "from": "/data/ca.crt", "path": "/data/old.crt"}, {"op": "move", "from": "/data/ca.key", "path": "/data/old.key"}]`)
	eventually(t, func() error {
		if got := strings.Count(string(c.bundle(t, one.name)), "BEGIN"); got != 2 {
			return fmt.Errorf("%d CAs are trusted, want the old one and the new one", got)
		}
		return nil
	})
	if now := awaitSame(t, one, two, ""); now != first {
		t.Error("the new CA is used before the old one is removed")
	}
	patch(`[{"op": "remove", "path": "/data/old.crt"}, {"op": "remove", "path": "/data/old.key"}]`)
	awaitSame(t, one, two, first)
	close(stop)
	pods.Wait()
	if log := one.log(t) + two.log(t); strings.Contains(log, "PRIVATE KEY") {
		t.Error("a log holds a key")
	}
}

// awaitSame waits until both serve by the same CA, and another than the one before, and names it.
func awaitSame(t *testing.T, one, two *gate, before string) (name string) {
	t.Helper()
	eventually(t, func() error {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(one.cluster.bundle(t, one.name))
		first, err1 := presented(t.Context(), one, roots)
		second, err2 := presented(t.Context(), two, roots)
		if name = first; err1 == nil && err2 == nil && (first != second || first == before) {
			return fmt.Errorf("one serves by %s, the other by %s; before it was %s", first, second, before)
		}
		return errors.Join(err1, err2)
	})
	return name
}

// presented returns the serial number of the CA of the certificate that a gate serves by, which must be trusted.
func presented(ctx context.Context, g *gate, roots *x509.CertPool) (string, error) {
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	c, err := dialer.DialContext(ctx, "tcp", g.webhook)
	if err != nil {
		return "", err
	}
	defer c.Close()
	chains := c.(*tls.Conn).ConnectionState().VerifiedChains
	return chains[0][len(chains[0])-1].SerialNumber.String(), nil
}

// testClients lets the API server in, and no other client.
func testClients(t *testing.T, c *cluster, clients *clientCA) {
	server := newHSS(t)
	g := newGate(t, c, c.asInstalled(t, setup{
		name: "closed", projects: map[string]*hsstest.Server{"main": server},
		webhook: "clientCAFile: " + write(t, "ca.crt", string(certificatePEM(clients.Certificate))) + "\nclientNames: [kube-apiserver-webhook-client]",
	})) // the API server has sent it a review by now
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.bundle(t, g.name))
	for name, certificates := range map[string][]tls.Certificate{"none": nil, "another name": {clients.client(t, "kubelet")}} {
		dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, Certificates: certificates, MinVersion: tls.VersionTLS12}}
		connection, err := dialer.DialContext(t.Context(), "tcp", g.webhook)
		if err == nil {
			// With TLS 1.3 a client learns after its handshake that it is refused.
			_ = connection.SetReadDeadline(time.Now().Add(patience))
			_, err = connection.Read(make([]byte, 1))
			_ = connection.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "remote error: tls") {
			t.Errorf("a client with %s gets %v; want a refused handshake", name, err)
		}
	}
}

// clientCA makes certificates of clients. All have its key.
type clientCA struct{ tls.Certificate }

func newClientCA(t *testing.T) *clientCA {
	t.Helper()
	ca, err := certificate.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(ca.PEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &clientCA{pair}
}

func (c *clientCA) client(t *testing.T, name string) tls.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, c.Leaf, &c.PrivateKey.(*ecdsa.PrivateKey).PublicKey, c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: c.PrivateKey}
}

// admissionConfiguration makes an API server show a certificate to webhooks, as docs/certificates.md describes.
func (c *clientCA) admissionConfiguration(t *testing.T) string {
	t.Helper()
	dir, client := t.TempDir(), c.client(t, "kube-apiserver-webhook-client")
	install(t, client, dir)
	kubeconfig := write(t, "webhook-kubeconfig.yaml", fmt.Sprintf(`apiVersion: v1
kind: Config
users:
- name: '*'
  user: {client-certificate: %[1]s/tls.crt, client-key: %[1]s/tls.key}
`, dir))
	return write(t, "admission.yaml", fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ValidatingAdmissionWebhook
  configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, kubeConfigFile: %s}
`, kubeconfig))
}
