package certificate_test

import (
	"bytes"
	"crypto/ecdsa"
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

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/internal/certificate"
)

// clientOf returns a client with a certificate of a CA.
func clientOf(t *testing.T, ca *certificate.CA, usage x509.ExtKeyUsage, name string, dnsNames ...string) []tls.Certificate {
	t.Helper()
	signer, err := tls.X509KeyPair(ca.PEM(), keyPEM(t, ca))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: dnsNames, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}, signer.Leaf, &signer.PrivateKey.(*ecdsa.PrivateKey).PublicKey, signer.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: signer.PrivateKey}}
}

func TestClients(t *testing.T) {
	t.Parallel()
	ours, others := newCA(t, time.Now()), newCA(t, time.Now())
	file := filepath.Join(t.TempDir(), "ca.crt")
	writeFile(t, file, append(newCA(t, time.Now()).PEM(), ours.PEM()...))
	const usage = x509.ExtKeyUsageClientAuth
	tests := map[string]struct {
		names  []string
		client []tls.Certificate
		want   string
	}{
		"one of the CA's is let in":                {nil, clientOf(t, ours, usage, "anyone"), ""},
		"one without a certificate is refused":     {nil, nil, "client didn't provide a certificate"},
		"one of another CA is refused":             {nil, clientOf(t, others, usage, "anyone"), "certificate signed by unknown authority"},
		"a server's certificate is refused":        {nil, clientOf(t, ours, x509.ExtKeyUsageServerAuth, "anyone"), "incompatible key usage"},
		"one is let in by its common name":         {[]string{"a", "kube-apiserver"}, clientOf(t, ours, usage, "kube-apiserver"), ""},
		"one is let in by a DNS name":              {[]string{"api.example.com"}, clientOf(t, ours, usage, "x", "y", "api.example.com"), ""},
		"one of another name is refused":           {[]string{"kube-apiserver"}, clientOf(t, ours, usage, "kubelet", "localhost"), "webhook.clientNames doesn't name this client"},
		"one without a name is refused":            {[]string{"kube-apiserver"}, clientOf(t, ours, usage, ""), "webhook.clientNames doesn't name this client"},
		"a name alone, of another's, isn't enough": {[]string{"kube-apiserver"}, clientOf(t, others, usage, "kube-apiserver"), "certificate signed by unknown authority"},
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
	a, err := certificate.NewSelfSigned(clock.RealClock{}, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{GetCertificate: a.GetCertificate, MinVersion: tls.VersionTLS12}
	clients.Require(server)
	return server
}

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
	first, second := newCA(t, time.Now()), newCA(t, time.Now())
	file := filepath.Join(t.TempDir(), "ca.crt")
	writeFile(t, file, first.PEM())
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
		{"at first", first.PEM(), true, false},
		{"while the file is empty", nil, true, false},
		{"while the file is half-written", []byte("-----BEGIN CERTIFICATE-----\nMIIB"), true, false},
		{"with both", append(first.PEM(), second.PEM()...), true, true},
		{"with the second", second.PEM(), false, true},
	} {
		writeFile(t, file, step.content)
		for a, want := range map[*certificate.CA]bool{first: step.first, second: step.last} {
			if err := handshake(t, server, clientOf(t, a, x509.ExtKeyUsageClientAuth, "x"), tls.VersionTLS13); (err == nil) != want {
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
