package certificate_test

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

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

func newIssuer(t *testing.T) *certificate.Issuer {
	t.Helper()
	issuer, err := certificate.NewIssuer(clocktesting.NewFakePassiveClock(start), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	return issuer
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

func TestACertificateDoesNotOutliveItsAuthority(t *testing.T) {
	t.Parallel()
	clk := clocktesting.NewFakePassiveClock(start)
	issuer, err := certificate.NewIssuer(clk, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.GetCertificate(nil); !errors.Is(err, certificate.ErrNoAuthority) {
		t.Fatalf("without an authority: %v", err)
	}
	root := newRoot(t, start, 24*time.Hour)
	if err := issuer.Use(root); err != nil {
		t.Fatal(err)
	}
	first, err := issuer.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := first.Leaf.NotAfter, root.Expires(); !got.Equal(want) {
		t.Errorf("it is valid until %s, want %s", got, want)
	}
	clk.SetTime(start.Add(23 * time.Hour))
	if again, err := issuer.GetCertificate(nil); err != nil || again != first {
		t.Errorf("one that can't live longer was made: %v", err)
	}
}

func TestTheIssuerChangesItsAuthority(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t)
	for range 2 {
		root := newRoot(t, start, time.Hour)
		if err := issuer.Use(root); err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(root.PEM())
		serving, err := issuer.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := serving.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost", CurrentTime: start}); err != nil {
			t.Error(err)
		}
		if !issuer.Root().Equal(root) {
			t.Error("it names another authority")
		}
	}
}
