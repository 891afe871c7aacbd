package certificate_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/certificate"
)

// clientAuthority makes certificates of clients.
type clientAuthority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newClientAuthority(t *testing.T) *clientAuthority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &clientAuthority{key: key}
	a.certificate = a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, &key.PublicKey)
	return a
}

func (a *clientAuthority) sign(t *testing.T, template *x509.Certificate, key *ecdsa.PublicKey) *x509.Certificate {
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

func (a *clientAuthority) pem() []byte { return block("CERTIFICATE", string(a.certificate.Raw)) }

func (a *clientAuthority) client(t *testing.T, usage x509.ExtKeyUsage, name string, dnsNames ...string) []tls.Certificate {
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
	ours, others := newClientAuthority(t), newClientAuthority(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	writeFile(t, file, append(newClientAuthority(t).pem(), ours.pem()...))
	const usage = x509.ExtKeyUsageClientAuth
	tests := map[string]struct {
		names  []string
		client []tls.Certificate
		want   string
	}{
		"one of the authority's is let in":         {nil, ours.client(t, usage, "anyone"), ""},
		"one without a certificate is refused":     {nil, nil, "client didn't provide a certificate"},
		"one of another authority is refused":      {nil, others.client(t, usage, "anyone"), "certificate signed by unknown authority"},
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
	a, err := certificate.NewAuthority(realClock{}, "localhost")
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
	synctest.Test(t, func(t *testing.T) {
		// The bubble's clock begins in the year 2000.
		first, second := newClientAuthority(t), newClientAuthority(t)
		file := filepath.Join(t.TempDir(), "ca.crt")
		writeFile(t, file, first.pem())
		var log bytes.Buffer
		clients, err := certificate.NewClients(file, nil, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if err := clients.Start(ctx); err != nil {
				t.Error(err)
			}
		}()
		server := serverFor(t, clients)
		known := func(a *clientAuthority) bool {
			return handshake(t, server, a.client(t, x509.ExtKeyUsageClientAuth, "x"), tls.VersionTLS13) == nil
		}
		check := func(when string, wantFirst, wantSecond bool) {
			if gotFirst, gotSecond := known(first), known(second); gotFirst != wantFirst || gotSecond != wantSecond {
				t.Errorf("%s: %t, %t, want %t, %t", when, gotFirst, gotSecond, wantFirst, wantSecond)
			}
		}
		check("at first", true, false)
		for _, content := range []string{"", "half a fi", "-----BEGIN CERTIFICATE-----\nMIIB"} {
			writeFile(t, file, []byte(content))
			time.Sleep(11 * time.Second)
			synctest.Wait()
			check("while the file is half-written", true, false)
		}
		writeFile(t, file, append(first.pem(), second.pem()...))
		time.Sleep(11 * time.Second)
		synctest.Wait()
		check("with both", true, true)
		writeFile(t, file, second.pem())
		time.Sleep(11 * time.Second)
		synctest.Wait()
		check("with the second", false, true)
		cancel()
		synctest.Wait()
		if got := strings.Count(log.String(), "holds no certificate in PEM"); got != 3 {
			t.Errorf("%d complaints, want 3:\n%s", got, log.String())
		}
	})
}

func TestNewClientsNeedsAuthorities(t *testing.T) {
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
	if (&certificate.Clients{}).NeedLeaderElection() {
		t.Error("only one replica would follow the file")
	}
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
