package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// clientAuthority makes certificates of clients.
type clientAuthority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newClientAuthority(t *testing.T) *clientAuthority {
	t.Helper()
	a := &clientAuthority{key: newKey(t)}
	a.certificate = a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "webhook clients"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a.key)
	return a
}

func (a *clientAuthority) sign(t *testing.T, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := a.certificate
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (a *clientAuthority) pem() string { return certificatePEM(a.certificate) }

func certificatePEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func (a *clientAuthority) client(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	leaf := a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// admissionConfiguration makes an API server show a certificate to webhooks. It
// is what docs/certificates.md describes.
func admissionConfiguration(t *testing.T, a *clientAuthority) string {
	t.Helper()
	client := a.client(t, "kube-apiserver-webhook-client")
	key, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := write(t, "webhook-kubeconfig.yaml", fmt.Sprintf(`apiVersion: v1
kind: Config
users:
- name: '*'
  user:
    client-certificate: %s
    client-key: %s
`, write(t, "client.crt", certificatePEM(client.Leaf)),
		write(t, "client.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))))
	return write(t, "admission.yaml", fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ValidatingAdmissionWebhook
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: WebhookAdmissionConfiguration
    kubeConfigFile: %s
`, kubeconfig))
}

// testClients lets the API server in, and nobody else.
func testClients(t *testing.T, s *site) {
	file := write(t, "ca.crt", s.apiServer.pem())
	g := s.start(t, plan{name: "closed", webhook: "authoritySecret: authority\nclientCAFile: " + file + "\nclientNames: [kube-apiserver-webhook-client]"})
	g.awaitReady(t)
	eventually(t, func() error { return g.createPod(t.Context(), "web") })

	for name, certificates := range map[string][]tls.Certificate{
		"none":                 nil,
		"another name":         {s.apiServer.client(t, "kubelet")},
		"of another authority": {newClientAuthority(t).client(t, "kube-apiserver-webhook-client")},
	} {
		if err := listen(t, g, certificates); err == nil || !strings.Contains(err.Error(), "remote error: tls") {
			t.Errorf("a client with %s gets %v; want a refused handshake", name, err)
		}
	}
	if code, err := ask(t, g, []tls.Certificate{s.apiServer.client(t, "kube-apiserver-webhook-client")}); err != nil || code != http.StatusBadRequest {
		t.Errorf("a client like the API server that sends no review gets %d, %v", code, err)
	}

	t.Log("the authorities are changed")
	another := newClientAuthority(t)
	if err := os.WriteFile(file, []byte(another.pem()), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := ask(t, g, []tls.Certificate{another.client(t, "kube-apiserver-webhook-client")})
		return err
	})
	if _, err := ask(t, g, []tls.Certificate{s.apiServer.client(t, "kube-apiserver-webhook-client")}); err == nil {
		t.Error("the authority of before is still trusted")
	}
	if err := g.readyz(t); err != nil {
		t.Errorf("it isn't ready, though it can't ask itself: %v", err)
	}
}

// clientOf returns how a client with these certificates speaks to the gate.
func clientOf(t *testing.T, g *gate, certificates []tls.Certificate) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(g.bundle(t))
	return &tls.Config{RootCAs: roots, Certificates: certificates, MinVersion: tls.VersionTLS12}
}

// listen returns the error of a client that only listens. With TLS 1.3 it hears
// after its handshake that it is refused; one that is writing by then may instead
// find the connection closed.
func listen(t *testing.T, g *gate, certificates []tls.Certificate) error {
	t.Helper()
	dialer := &tls.Dialer{Config: clientOf(t, g, certificates)}
	c, err := dialer.DialContext(t.Context(), "tcp", g.webhook)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Read(make([]byte, 1))
	return err
}

func ask(t *testing.T, g *gate, certificates []tls.Certificate) (int, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: clientOf(t, g, certificates)}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+g.webhook+"/validate", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// testColumns reads what an operator sees first, where there is no HSS.
func testColumns(t *testing.T, s *site) {
	s.kubectl(t, policyFor("in-force", "nowhere"), "create", "-f", "-")
	s.kubectl(t, strings.Replace(policyFor("not-in-force", "nowhere"), "{vulnerabilities: {max: 0}}", "{expressions: [{expression: image.nonsense, message: x}]}", 1), "create", "-f", "-")
	g := s.start(t, plan{name: "columns"})
	g.awaitReady(t)
	want := regexp.MustCompile(`^NAME +ENFORCEMENT +READY +HSS +EVALUATED +VIOLATIONS +UNKNOWN +AGE\nin-force +Deny +True +False +0 +0 +0 .*\d[ms]\nnot-in-force +Deny +False +False +0 +0 +0 .*\d[ms]\n$`)
	eventually(t, func() error {
		if out := s.kubectl(t, "", "get", "isp", "in-force", "not-in-force"); !want.MatchString(out) {
			return fmt.Errorf("kubectl get isp prints\n%s", out)
		}
		return nil
	})
	if out := s.kubectl(t, "", "get", "isp", "not-in-force", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].message}`); !strings.Contains(out, "nonsense") {
		t.Errorf("its condition says %q", out)
	}
	if out := s.kubectl(t, "", "get", "isp", "in-force", "-o", `jsonpath={.status.conditions[?(@.type=="HSSReachable")].message}`); !strings.HasPrefix(out, "project main: cannot reach HSS") {
		t.Errorf("its condition says %q", out)
	}
}

func (s *site) kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), s.env.Kubectl, append([]string{"--kubeconfig", s.kubeconfig}, args...)...)
	command.Stdin = strings.NewReader(stdin)
	// kubectl keeps what it learns of the API server below $HOME.
	command.Env = append(os.Environ(), "HOME="+filepath.Dir(s.kubeconfig))
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %q: %v\n%s", args, err, out)
	}
	return string(out)
}
