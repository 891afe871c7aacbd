package e2e_test

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/client-go/util/cert"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// testCertificateFiles swaps the certificate of a running gate.
func testCertificateFiles(t *testing.T, c *cluster) {
	dir := t.TempDir()
	first, second := newCertificate(t), newCertificate(t)
	install(t, first, dir)
	g := c.newGate(t, setup{
		name: "files", hss: mainHSS(t, row("app")), serving: "certDir: " + dir,
		change: func(configuration *admissionregistrationv1.ValidatingWebhookConfiguration) {
			configuration.Webhooks[0].ClientConfig.CABundle = append(certificatePEM(first.Certificate[0]), certificatePEM(second.Certificate[0])...)
		},
	})
	s := g.enforced(t)
	must(t, g.presents(t, first))
	install(t, second, dir)
	eventually(t, func() error { return g.presents(t, second) })
	s.admitted(t, s.run(t, newPod("after", "main.example.com/prod/app:1")))
}

func newCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	must(t, err)
	c, err := tls.X509KeyPair(certificate, key)
	must(t, err)
	return c
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// install puts a certificate and its key into a folder, each at once.
func install(t *testing.T, c tls.Certificate, dir string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	must(t, err)
	for name, content := range map[string][]byte{
		"tls.crt": certificatePEM(c.Certificate[0]),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		must(t, os.Rename(write(t, name, string(content)), filepath.Join(dir, name)))
	}
}

// presents returns nil if the gate's certificate is the one given.
func (g *gate) presents(t *testing.T, c tls.Certificate) error {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	_, err := g.handshake(t, &tls.Config{RootCAs: roots})
	return err
}

// handshake connects to the gate's webhook, and returns the CA by which that is trusted.
func (g *gate) handshake(t *testing.T, config *tls.Config) (ca *x509.Certificate, err error) {
	t.Helper()
	config.MinVersion = tls.VersionTLS12
	c, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", g.webhook)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	chain := c.(*tls.Conn).ConnectionState().VerifiedChains[0]
	return chain[len(chain)-1], nil
}

// testMistakes starts gates that must end at once, with a text that helps.
func testMistakes(t *testing.T, f *gate) {
	occupied, err := net.Listen("tcp", controlplanetest.FreeAddresses(t, 1)[0])
	must(t, err)
	t.Cleanup(func() { _ = occupied.Close() })
	closed := "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}], clusters: [{name: c, cluster: {server: 'https://" +
		controlplanetest.FreeAddresses(t, 1)[0] + "'}}]}"
	for name, test := range map[string]struct {
		address, kubeconfig, want string
	}{
		"no kubeconfig":      {want: "hssgate: find the cluster: none is named; give --kubeconfig, set $KUBECONFIG, or run hssgate in a pod"},
		"no API server":      {kubeconfig: write(t, "closed", closed), want: "reach the cluster: "},
		"the webhook's port": {kubeconfig: f.cluster.kubeconfig, address: occupied.Addr().String(), want: "address already in use"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.cluster.checkMistake(t, test.want, test.kubeconfig, test.address)
		})
	}
}

// checkMistake starts a gate that must end at once.
func (c *cluster) checkMistake(t *testing.T, want, kubeconfig, address string) {
	t.Helper()
	addresses := controlplanetest.FreeAddresses(t, 3)
	g := &gate{setup: setup{name: "mistaken", hss: mainHSS(t)}, webhook: cmp.Or(address, addresses[0]), health: addresses[1], metrics: addresses[2]}
	args := []string{"serve", "--config", g.configuration(t)}
	if kubeconfig != "" {
		args = append(args, "--kubeconfig", kubeconfig)
	}
	code, stdout, stderr := c.runToEnd(t, args...)
	if code != 1 || stdout != "" || !strings.Contains(stderr, want) || strings.Contains(stderr, "[running]:") || strings.Contains(stderr, "Usage:") {
		t.Errorf("got code %d, output %q and\n%s\nwant code 1 and %s", code, stdout, stderr, want)
	}
}

// testWarmUp starts a gate in a cluster in which pods run already: once it is ready, it knows their images.
func testWarmUp(t *testing.T, c *cluster) {
	const images = 4
	hss := newHSS(t)
	s := (&gate{cluster: c, setup: setup{name: "warm"}}).newSpace(t)
	c.create(t, s.newPolicy("p"))
	for n := range 2 * images {
		name := fmt.Sprintf("app-%d", n%images)
		if n < images {
			add(hss, row(name))
		}
		must(t, c.runAs(t.Context(), s.name, newPod(fmt.Sprintf("web-%d", n), "warm.example.com/prod/"+name+":1"), ""))
	}
	c.newGate(t, setup{name: "warm", hss: map[string]*hsstest.Server{"warm": hss}, cache: "freshFor: 10m"})
	if got := lookUps(hss, ""); got != images {
		t.Errorf("HSS was asked %d times for the %d images that run", got, images)
	}
}
