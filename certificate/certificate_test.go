package certificate_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/certificate"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newAuthority(t *testing.T, clk *clocktesting.FakePassiveClock, hosts ...string) *certificate.Authority {
	t.Helper()
	a, err := certificate.NewAuthority(clk, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestACertificateIsTrustedForItsHosts(t *testing.T) {
	t.Parallel()
	clk := clocktesting.NewFakePassiveClock(start)
	a := newAuthority(t, clk, "hssgate.hssgate-system.svc", "127.0.0.1", "::1")
	serving, err := a.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.PEM()) {
		t.Fatal("the authority's PEM holds no certificate")
	}
	for _, host := range []string{"hssgate.hssgate-system.svc", "127.0.0.1", "::1"} {
		if _, err := serving.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: start}); err != nil {
			t.Errorf("for %s: %v", host, err)
		}
	}
	if _, err := serving.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "other.svc", CurrentTime: start}); err == nil {
		t.Error("it is trusted for a host that it isn't for")
	}
}

func TestACertificateIsRenewedAheadOfItsEnd(t *testing.T) {
	t.Parallel()
	clk := clocktesting.NewFakePassiveClock(start)
	a := newAuthority(t, clk, "localhost")
	serial := func() string {
		c, err := a.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.String()
	}
	first := serial()
	clk.SetTime(start.Add(59 * 24 * time.Hour))
	if second := serial(); second != first {
		t.Error("it was renewed with more than a third of its life left")
	}
	clk.SetTime(start.Add(61 * 24 * time.Hour))
	if third := serial(); third == first {
		t.Error("it wasn't renewed with less than a third of its life left")
	}
}

func TestNewAuthorityNeedsAHost(t *testing.T) {
	t.Parallel()
	if _, err := certificate.NewAuthority(clocktesting.NewFakePassiveClock(start)); err == nil {
		t.Error("an authority for no host was made")
	}
}

func TestAddToBundle(t *testing.T) {
	t.Parallel()
	clk := clocktesting.NewFakePassiveClock(start)
	one, two := newAuthority(t, clk, "a").PEM(), newAuthority(t, clk, "a").PEM()
	junk := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("junk")})
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	tests := map[string]struct {
		bundle []byte
		now    time.Time
		want   []byte
	}{
		"an empty bundle gets the authority":    {nil, start, two},
		"another replica's authority stays":     {one, start, join(one, two)},
		"an authority isn't added twice":        {join(two, one), start, join(two, one)},
		"an expired authority goes":             {one, start.AddDate(11, 0, 0), two},
		"what is no certificate goes":           {join(junk, one), start, join(one, two)},
		"text that is no PEM goes":              {[]byte("nonsense"), start, two},
		"no more than eight stay, the youngest": {bytes.Repeat(one, 9), start, join(bytes.Repeat(one, 7), two)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := certificate.AddToBundle(tt.bundle, two, tt.now)
			if diff := cmp.Diff(string(tt.want), string(got)); diff != "" {
				t.Errorf("AddToBundle (-want +got):\n%s", diff)
			}
		})
	}
}
