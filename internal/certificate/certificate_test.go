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
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/internal/certificate"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newCA(t *testing.T, now time.Time) *certificate.CA {
	t.Helper()
	ca, err := certificate.NewCA(now)
	must(t, err)
	return ca
}

func keyPEM(t *testing.T, ca *certificate.CA) []byte {
	t.Helper()
	key, err := ca.KeyPEM()
	must(t, err)
	return key
}

func selfSigned(t *testing.T, clk clock.PassiveClock, hosts ...string) *certificate.Issuer {
	t.Helper()
	i, err := certificate.NewSelfSigned(clk, hosts...)
	must(t, err)
	return i
}

func serving(t *testing.T, i *certificate.Issuer) *tls.Certificate {
	t.Helper()
	c, err := i.GetCertificate(nil)
	must(t, err)
	return c
}

func TestACertificateIsTrustedForItsHosts(t *testing.T) {
	t.Parallel()
	i := selfSigned(t, clocktesting.NewFakePassiveClock(start), "hssgate.hssgate-system.svc", "127.0.0.1", "::1")
	for range 2 {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(i.CA().PEM())
		for host, want := range map[string]bool{"hssgate.hssgate-system.svc": true, "127.0.0.1": true, "::1": true, "other.svc": false} {
			_, err := serving(t, i).Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: start})
			if (err == nil) != want {
				t.Errorf("trusted for %s: %v, want %t", host, err, want)
			}
		}
		must(t, i.Use(newCA(t, start)))
	}
}

func TestACertificateIsRenewedAtTwoThirds(t *testing.T) {
	t.Parallel()
	clk := clocktesting.NewFakePassiveClock(start)
	i := selfSigned(t, clk, "localhost")
	first := serving(t, i).Leaf
	clk.SetTime(start.Add(59 * 24 * time.Hour))
	if !serving(t, i).Leaf.Equal(first) {
		t.Error("renewed too early")
	}
	clk.SetTime(start.Add(61 * 24 * time.Hour))
	if serving(t, i).Leaf.Equal(first) {
		t.Error("not renewed")
	}
	clk.SetTime(start.Add((10*365 - 1) * 24 * time.Hour))
	last := serving(t, i).Leaf
	if want := start.Add(10 * 365 * 24 * time.Hour); !last.NotAfter.Equal(want) || !serving(t, i).Leaf.Equal(last) {
		t.Errorf("the last one is valid until %s, want the CA's end %s, and is made once", last.NotAfter, want)
	}
}

func TestACAIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	ca := newCA(t, start)
	again, err := certificate.ParseCA(ca.PEM(), keyPEM(t, ca))
	must(t, err)
	var none *certificate.CA
	if !again.Equal(ca) || again.String() != ca.String() || ca.Equal(newCA(t, start)) || ca.Equal(none) || none.Equal(ca) || !none.Equal(nil) {
		t.Error("Equal mistakes one for another")
	}
	for at, want := range map[time.Duration]bool{-time.Hour: false, -time.Minute: true, 0: true, 10*365*24*time.Hour - 1: true, 10 * 365 * 24 * time.Hour: false} {
		if got := ca.ValidAt(start.Add(at)); got != want {
			t.Errorf("valid %s after it was made: %t, want %t", at, got, want)
		}
	}
}

func TestParseCARefuses(t *testing.T) {
	t.Parallel()
	ca, other := newCA(t, start), newCA(t, start)
	i := selfSigned(t, clocktesting.NewFakePassiveClock(start), "localhost")
	leaf := serving(t, i)
	leafKey, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	must(t, err)
	for name, tt := range map[string]struct {
		certificate, key []byte
		want             string
	}{
		"nothing":                 {nil, nil, "failed to find any PEM data in certificate"},
		"no PEM":                  {[]byte("hush"), keyPEM(t, ca), "failed to find any PEM data in certificate"},
		"a key for a certificate": {keyPEM(t, ca), keyPEM(t, ca), "failed to find certificate PEM data"},
		"two certificates":        {append(ca.PEM(), other.PEM()...), keyPEM(t, ca), "must be one, has 2"},
		"no certificate in PEM":   {block("CERTIFICATE", "hush"), keyPEM(t, ca), "malformed certificate"},
		"a serving certificate":   {block("CERTIFICATE", string(leaf.Leaf.Raw)), block("PRIVATE KEY", string(leafKey)), "not a self-signed CA"},
		"a missing key":           {ca.PEM(), nil, "failed to find any PEM data in key"},
		"no key in PEM":           {ca.PEM(), block("PRIVATE KEY", "hush"), "failed to parse private key"},
		"another one's key":       {ca.PEM(), keyPEM(t, other), "private key does not match public key"},
	} {
		_, err := certificate.ParseCA(tt.certificate, tt.key)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v, want %q and no secret", name, err, tt.want)
		}
	}
}

func TestACAShowsNoKey(t *testing.T) {
	t.Parallel()
	ca := newCA(t, start)
	if got := ca.String(); !strings.HasPrefix(got, "CA ") || !strings.HasSuffix(got, ", valid until 2036-11-20T12:00:00Z") || (*certificate.CA)(nil).String() != "none" {
		t.Errorf("it is described as %s", got)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, ca); len(got) > 150 { // addresses at most
			t.Errorf("%s prints %s", verb, got)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "ca", ca)
	if !strings.Contains(log.String(), `"ca":{}`) {
		t.Errorf("the log has %s", log.String())
	}
}

func TestMergeBundle(t *testing.T) {
	t.Parallel()
	a, b, c := newCA(t, start), newCA(t, start), newCA(t, start)
	old := newCA(t, start.AddDate(-11, 0, 0))
	join := func(cas ...*certificate.CA) []byte {
		var all []byte
		for _, ca := range cas {
			all = append(all, ca.PEM()...)
		}
		return all
	}
	var many []*certificate.CA
	for range 9 {
		many = append(many, newCA(t, start))
	}
	for name, tt := range map[string]struct {
		bundle []byte
		others bool // are kept
		want   []byte
	}{
		"both are added":                        {nil, true, join(a, b)},
		"the order stays":                       {join(c, b, a), true, join(c, b, a)},
		"others stay":                           {join(c, a), true, join(c, a, b)},
		"others can be dropped":                 {join(c, a, b), false, join(a, b)},
		"an expired one goes":                   {join(old, a, b), true, join(a, b)},
		"one that is there twice stays once":    {join(a, b, a), true, join(a, b)},
		"no certificate and no PEM goes":        {append(block("CERTIFICATE", "junk"), "nonsense"...), true, join(a, b)},
		"no more than eight stay, the youngest": {join(many...), true, append(join(many[3:]...), join(a, b)...)},
	} {
		got := certificate.MergeBundle(tt.bundle, []*certificate.CA{a, b}, start, tt.others)
		if diff := cmp.Diff(string(tt.want), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if again := certificate.MergeBundle(got, []*certificate.CA{a, b}, start, tt.others); !bytes.Equal(again, got) {
			t.Errorf("%s: it changes again", name)
		}
	}
}

// clientOf returns a client with a certificate of a CA.
func clientOf(t *testing.T, ca *certificate.CA, usage x509.ExtKeyUsage, name string, dnsNames ...string) []tls.Certificate {
	t.Helper()
	signer, err := tls.X509KeyPair(ca.PEM(), keyPEM(t, ca))
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: dnsNames, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}, signer.Leaf, &signer.PrivateKey.(*ecdsa.PrivateKey).PublicKey, signer.PrivateKey)
	must(t, err)
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
		clients, err := certificate.NewClients(file, tt.names, slog.New(slog.DiscardHandler))
		must(t, err)
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			err = handshake(t, serverFor(t, clients), tt.client, version)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s, %s: got %v, want %q", name, tls.VersionName(version), err, tt.want)
			}
		}
	}
}

func serverFor(t *testing.T, clients *certificate.Clients) *tls.Config {
	t.Helper()
	server := &tls.Config{GetCertificate: selfSigned(t, clock.RealClock{}, "localhost").GetCertificate, MinVersion: tls.VersionTLS12}
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
	must(t, err)
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
	must(t, os.WriteFile(path, content, 0o600))
}
