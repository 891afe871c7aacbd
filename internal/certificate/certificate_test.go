package certificate_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/internal/certificate"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newCA(t *testing.T, now time.Time) *certificate.CA {
	t.Helper()
	ca, err := certificate.NewCA(now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func keyPEM(t *testing.T, ca *certificate.CA) []byte {
	t.Helper()
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serving(t *testing.T, i *certificate.Issuer) *x509.Certificate {
	t.Helper()
	c, err := i.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

func TestACertificateIsTrustedForItsHosts(t *testing.T) {
	t.Parallel()
	i, err := certificate.NewSelfSigned(clocktesting.NewFakePassiveClock(start), "hssgate.hssgate-system.svc", "127.0.0.1", "::1")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(i.CA().PEM())
		for host, want := range map[string]bool{"hssgate.hssgate-system.svc": true, "127.0.0.1": true, "::1": true, "other.svc": false} {
			_, err := serving(t, i).Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: start})
			if (err == nil) != want {
				t.Errorf("trusted for %s: %v, want %t", host, err, want)
			}
		}
		if err := i.Use(newCA(t, start)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACertificateIsRenewedAtTwoThirds(t *testing.T) {
	t.Parallel()
	clk := clocktesting.NewFakePassiveClock(start)
	i, err := certificate.NewSelfSigned(clk, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	first := serving(t, i)
	clk.SetTime(start.Add(59 * 24 * time.Hour))
	if !serving(t, i).Equal(first) {
		t.Error("renewed too early")
	}
	clk.SetTime(start.Add(61 * 24 * time.Hour))
	if serving(t, i).Equal(first) {
		t.Error("not renewed")
	}
	clk.SetTime(start.Add((10*365 - 1) * 24 * time.Hour))
	last := serving(t, i)
	if want := start.Add(10 * 365 * 24 * time.Hour); !last.NotAfter.Equal(want) || !serving(t, i).Equal(last) {
		t.Errorf("the last one is valid until %s, want the CA's end %s, and is made once", last.NotAfter, want)
	}
}

func TestACAIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	ca := newCA(t, start)
	again, err := certificate.ParseCA(ca.PEM(), keyPEM(t, ca))
	if err != nil {
		t.Fatal(err)
	}
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
	i, err := certificate.NewSelfSigned(clocktesting.NewFakePassiveClock(start), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := i.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	leafKey, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
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
