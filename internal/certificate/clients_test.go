package certificate_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hssgate/hssgate/internal/certificate"
)

// clientCA makes certificates of clients.
type clientCA struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newClientCA(t *testing.T) *clientCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &clientCA{key: key}
	a.certificate = a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, &key.PublicKey)
	return a
}

func (a *clientCA) sign(t *testing.T, template *x509.Certificate, key *ecdsa.PublicKey) *x509.Certificate {
	t.Helper()
	parent := a.certificate
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, a.key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (a *clientCA) pem() []byte { return block("CERTIFICATE", string(a.certificate.Raw)) }

func (a *clientCA) client(t *testing.T, usage x509.ExtKeyUsage, name string, dnsNames ...string) []tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: dnsNames, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}, &key.PublicKey)
	return []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}}
}

func TestClients(t *testing.T) {
	t.Parallel()
	ours, others := newClientCA(t), newClientCA(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	writeFile(t, file, append(newClientCA(t).pem(), ours.pem()...))
	const usage = x509.ExtKeyUsageClientAuth
	tests := map[string]struct {
		names  []string
		client []tls.Certificate
		want   string
	}{
		"one of the CA's is let in":                {nil, ours.client(t, usage, "anyone"), ""},
		"one without a certificate is refused":     {nil, nil, "client didn't provide a certificate"},
		"one of another CA is refused":             {nil, others.client(t, usage, "anyone"), "certificate signed by unknown authority"},
		"a server's certificate is refused":        {nil, ours.client(t, x509.ExtKeyUsageServerAuth, "anyone"), "incompatible key usage"},
		"one is let in by its common name":         {[]string{"a", "kube-apiserver"}, ours.client(t, usage, "kube-apiserver"), ""},
		"one is let in by a DNS name":              {[]string{"api.example.com"}, ours.client(t, usage, "x", "y", "api.example.com"), ""},
		"one of another name is refused":           {[]string{"kube-apiserver"}, ours.client(t, usage, "kubelet", "localhost"), "webhook.clientNames doesn't name this client"},
		"one without a name is refused":            {[]string{"kube-apiserver"}, ours.client(t, usage, ""), "webhook.clientNames doesn't name this client"},
		"a name alone, of another's, isn't enough": {[]string{"kube-apiserver"}, others.client(t, usage, "kube-apiserver"), "certificate signed by unknown authority"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clients, err := certificate.NewClients(file, tt.names, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				err = handshake(t, serverFor(t, clients), tt.client, version)
				if got := err; tt.want == "" && got != nil || tt.want != "" && (got == nil || !strings.Contains(got.Error(), tt.want)) {
					t.Errorf("%s: got %v, want %q", tls.VersionName(version), got, tt.want)
				}
			}
		})
	}
}

func serverFor(t *testing.T, clients *certificate.Clients) *tls.Config {
	t.Helper()
	a, err := certificate.NewSelfSigned(realClock{}, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{GetCertificate: a.GetCertificate, MinVersion: tls.VersionTLS12}
	clients.Require(server)
	return server
}

type realClock struct{}

func (realClock) Now() time.Time                  { return time.Now() }
func (realClock) Since(t time.Time) time.Duration { return time.Since(t) }

// handshake returns what the server says of it.
func handshake(t *testing.T, server *tls.Config, client []tls.Certificate, version uint16) error {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	var both sync.WaitGroup
	both.Go(func() {
		defer there.Close()
		c := tls.Client(there, &tls.Config{InsecureSkipVerify: true, Certificates: client, MaxVersion: version})
		if c.Handshake() == nil {
			_, _ = c.Read(make([]byte, 1))
		}
	})
	c := tls.Server(here, server)
	err := c.HandshakeContext(t.Context())
	_ = here.Close()
	both.Wait()
	return err
}

func TestTheFileOfClientsIsFollowed(t *testing.T) {
	t.Parallel()
	first, second := newClientCA(t), newClientCA(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	writeFile(t, file, first.pem())
	var log bytes.Buffer
	clients, err := certificate.NewClients(file, nil, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	server := serverFor(t, clients)
	for _, step := range []struct {
		name        string
		content     []byte
		first, last bool
	}{
		{"at first", first.pem(), true, false},
		{"while the file is empty", nil, true, false},
		{"while the file is half-written", []byte("-----BEGIN CERTIFICATE-----\nMIIB"), true, false},
		{"with both", append(first.pem(), second.pem()...), true, true},
		{"with the second", second.pem(), false, true},
	} {
		writeFile(t, file, step.content)
		for a, want := range map[*clientCA]bool{first: step.first, second: step.last} {
			if err := handshake(t, server, a.client(t, x509.ExtKeyUsageClientAuth, "x"), tls.VersionTLS13); (err == nil) != want {
				t.Errorf("%s: got %v, want a client let in: %t", step.name, err, want)
			}
		}
	}
	if got := strings.Count(log.String(), "holds no certificate in PEM"); got != 4 {
		t.Errorf("%d complaints, want one for each handshake with a broken file:\n%s", got, log.String())
	}
}

func TestNewClientsNeedsCAs(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ca.crt")
	if _, err := certificate.NewClients(file, nil, slog.New(slog.DiscardHandler)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	writeFile(t, file, []byte("hush"))
	_, err := certificate.NewClients(file, nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), file+" holds no certificate in PEM") {
		t.Errorf("without PEM: %v", err)
	}
}

func block(kind, content string) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(content)})
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
