package e2e_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// asInstalled makes a setup that of a replica in a cluster: with a namespace, which has its name, and an election.
func (c *cluster) asInstalled(t *testing.T, s setup) setup {
	t.Helper()
	c.newNamespace(t, s.name, nil)
	s.environment = append(s.environment, "POD_NAMESPACE="+s.name)
	s.args = append([]string{"--log-level=info", "--shutdown-delay=0"}, s.args...)
	return s
}

// shutdownDelay is long enough to tell apart what happens before and after its end, and for a
// busy machine to get there in time. A review in its last quarter waits for HSS past its end.
const (
	shutdownDelay = 24 * time.Second
	slowHSS       = 8 * time.Second
)

// testShutdown stops a replica while an API server sends it reviews.
func testShutdown(t *testing.T, c *cluster) {
	g := c.newGate(t, c.asInstalled(t, setup{name: "stopping", hss: mainHSS(t, row("app")), args: []string{"--shutdown-delay", shutdownDelay.String()}}))
	s := g.enforced(t)
	s.admitted(t, s.run(t, newPod("web", "main.example.com/prod/app:1")))
	eventually(t, func() error { return g.leads(t) })
	g.hss["main"].SetLatency(slowHSS)

	stop, slow := make(chan struct{}), make(chan error, 1)
	var pods sync.WaitGroup
	pods.Go(func() { keepTrying(t, s, stop) })
	begun := time.Now()
	g.terminate(t)
	time.AfterFunc(shutdownDelay*2/3, func() { close(stop) })
	time.AfterFunc(shutdownDelay*3/4, func() { slow <- s.try(t, newPod("slow", "main.example.com/prod/unknown:1")) })

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

// checkLog checks that the few lines of a start and of a stop stand out, and that neither logs an error. On a busy machine an
// election may be lost, and won again, and a stop end a request.
func checkLog(t *testing.T, log string) {
	t.Helper()
	lines := regexp.MustCompile(`(?m)^.*("msg":"denied"|"msg":"exception used"|leaderelection|election lost|context canceled).*\n`).ReplaceAllString(log, "")
	for _, message := range []string{"starting", "ready"} {
		if n := strings.Count(lines, `"msg":"`+message+`"`); n != 1 {
			t.Errorf("%d lines say %q, want 1", n, message)
		}
	}
	if few := 12; strings.Count(lines, "\n") > few || strings.Contains(lines, `"level":"ERROR"`) {
		t.Errorf("want at most %d lines in the log, and no ERROR:\n%s", few, lines)
	}
}

// leads returns nil if some replica holds the Lease.
func (g *gate) leads(t *testing.T) error {
	t.Helper()
	lease := &coordinationv1.Lease{}
	err := g.cluster.Get(t.Context(), client.ObjectKey{Namespace: g.name, Name: "hssgate"}, lease)
	if err == nil && (lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "") {
		err = errors.New("no replica leads")
	}
	return err
}

func testSecondSignal(t *testing.T, c *cluster) {
	g := c.newGate(t, c.asInstalled(t, setup{name: "impatient", hss: mainHSS(t), args: []string{"--shutdown-delay=5m"}}))
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
	how := c.asInstalled(t, setup{name: "sharing", hss: mainHSS(t, row("app")), serving: "caSecret: ca"})
	one, two := c.newGate(t, how), c.startReplica(t, how)
	two.awaitReady(t)
	first := awaitSame(t, one, two, "")

	stop := make(chan struct{})
	var pods sync.WaitGroup
	pods.Go(func() { keepTrying(t, one.newSpace(t), stop) })
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: one.name, Name: "ca"}}
	patch := func(operations string) {
		must(t, c.Patch(t.Context(), secret, client.RawPatch(types.JSONPatchType, []byte(operations))))
	}
	patch(`[{"op": "move", "from": "/data/ca.crt", "path": "/data/old.crt"}, {"op": "move", "from": "/data/ca.key", "path": "/data/old.key"}]`)
	eventually(t, func() error {
		bundle, _ := one.trusted(t)
		if got := bytes.Count(bundle, []byte("BEGIN")); got != 2 {
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
}

// awaitSame waits until both serve by the same CA, and another than the one before, and names it.
func awaitSame(t *testing.T, one, two *gate, before string) (name string) {
	t.Helper()
	eventually(t, func() error {
		_, roots := one.trusted(t)
		first, err1 := one.handshake(t, &tls.Config{RootCAs: roots})
		second, err2 := two.handshake(t, &tls.Config{RootCAs: roots})
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if name = first.SerialNumber.String(); !first.Equal(second) || name == before {
			return fmt.Errorf("one serves by %s, the other by %s; before it was %s", name, second.SerialNumber, before)
		}
		return nil
	})
	return name
}

// testClients lets the API server in, and no other client.
func testClients(t *testing.T, c *cluster, clients *clientCA) {
	g := c.newGate(t, c.asInstalled(t, setup{
		name: "closed", hss: mainHSS(t),
		serving: "caSecret: ca\nclientCAFile: " + write(t, "ca.crt", string(certificatePEM(clients.certificate.Raw))) + "\nclientNames: [kube-apiserver-webhook-client]",
	})) // the API server has sent it a review by now
	_, roots := g.trusted(t)
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
type clientCA struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newClientCA(t *testing.T) *clientCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca, err := cert.NewSelfSignedCACert(cert.Config{CommonName: "webhook-clients"}, key)
	must(t, err)
	return &clientCA{ca, key}
}

func (c *clientCA) client(t *testing.T, name string) tls.Certificate {
	t.Helper()
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: c.certificate.NotBefore, NotAfter: c.certificate.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, c.certificate, &c.key.PublicKey, c.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: c.key}
}

// admissionConfiguration makes an API server show a certificate to webhooks, as docs/guides/client-certificates.md describes.
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
