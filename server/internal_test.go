package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/certificate"
	"github.com/hssgate/hssgate/config"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestCallersAreToldToMoveOnWhileItStops(t *testing.T) {
	t.Parallel()
	g := &Server{}
	handler := g.moveOn(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for _, stopping := range []bool{false, true} {
		g.stopping.Store(stopping)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody))
		if got := w.Header().Get("Connection") == "close"; got != stopping || w.Code != http.StatusTeapot {
			t.Errorf("stopping %t: closes %t, code %d", stopping, got, w.Code)
		}
		if err := g.notStopping(nil); errors.Is(err, errStopping) != stopping {
			t.Errorf("stopping %t: readiness is %v", stopping, err)
		}
	}
}

func TestItStopsAfterTheDelay(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{0, time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			g := &Server{Log: slog.New(slog.DiscardHandler), ShutdownDelay: delay}
			ctx, cancel := context.WithCancel(t.Context())
			told := time.Now()
			g.drain(cancel)
			if err := g.notStopping(nil); !errors.Is(err, errStopping) {
				t.Errorf("readiness is %v at once", err)
			}
			<-ctx.Done()
			if got := time.Since(told); got != delay {
				t.Errorf("it stopped after %s, want %s", got, delay)
			}
		})
	}
}

func TestOnceReadyItIsntAskedAgain(t *testing.T) {
	t.Parallel()
	asked, answers := 0, []error{errStopping, nil, errStopping}
	check := once(func(*http.Request) error {
		asked++
		return answers[asked-1]
	})
	for i, want := range []error{errStopping, nil, nil, nil} {
		if got := check(nil); !errors.Is(got, want) {
			t.Errorf("%d: got %v, want %v", i, got, want)
		}
	}
	if asked != 2 {
		t.Errorf("it was asked %d times, want 2", asked)
	}
}

func TestServingHosts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		namespace, want string
		hosts           []string
	}{
		"outside a cluster": {"", "localhost 127.0.0.1 ::1", nil},
		"in a cluster":      {"ns", "hssgate.ns.svc hssgate.ns.svc.cluster.local localhost 127.0.0.1 ::1", nil},
		"as configured":     {"ns", "a b", []string{"a", "b"}},
	} {
		g := &Server{Config: config.Default(), Namespace: tt.namespace}
		g.Config.Webhook.Hosts = tt.hosts
		if got := strings.Join(g.servingHosts(), " "); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

func TestASharedAuthorityNeedsANamespace(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Server){
		"webhook.authoritySecret: hssgate doesn't know its namespace: set POD_NAMESPACE": func(g *Server) { g.Namespace = "" },
		"--ca-file: webhook.authoritySecret keeps the authority instead":                 func(g *Server) { g.CAFile = "ca.crt" },
	} {
		g := &Server{Config: config.Default(), Log: slog.New(slog.DiscardHandler), Namespace: "ns"}
		g.Config.Webhook.AuthoritySecret, g.Config.Webhook.ConfigurationName = "authority", "hssgate"
		change(g)
		if _, err := g.newCertificates(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestTheEndOfTheServingCertificateIsMeasured(t *testing.T) {
	t.Parallel()
	issuer, err := certificate.NewIssuer(clocktesting.NewFakePassiveClock(start), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	measureCertificate(registry, issuer.GetCertificate)
	measured := func() float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		return families[0].GetMetric()[0].GetGauge().GetValue()
	}
	if got := measured(); got != 0 {
		t.Errorf("without a certificate it is %v", got)
	}
	if err := issuer.Use(newRoot(t)); err != nil {
		t.Fatal(err)
	}
	if got, want := measured(), float64(start.Add(time.Hour).Unix()); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func newRoot(t *testing.T) *certificate.Root {
	t.Helper()
	root, err := certificate.NewRoot(start, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestOfACertificateThatNobodyRenewsItWarns(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	writePair(t, certFile, keyFile)
	files, err := newCertificateFiles(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	end := start.Add(time.Hour)
	for before, want := range map[time.Duration]bool{8 * 24 * time.Hour: false, 6 * 24 * time.Hour: true, 0: true, -time.Hour: true} {
		log.Reset()
		files.warnOfExpiry(end.Add(-before))
		if got := strings.Contains(log.String(), "ends soon, or has ended"); got != want {
			t.Errorf("%s before its end: warns %t, want %t", before, got, want)
		}
	}
}

func TestACertificateThatIsNotValidIsNotReady(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	writePair(t, certFile, keyFile)
	files, err := newCertificateFiles(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := certificate.NewIssuer(clocktesting.NewFakePassiveClock(start), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := issuer.Use(newRoot(t)); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]CertificateSource{"from files": files.GetCertificate, "hssgate's own": issuer.GetCertificate} {
		c := &certificates{source: source, ready: alwaysReady}
		for at, want := range map[time.Duration]bool{-24 * time.Hour: false, 0: true, 59 * time.Minute: true, 61 * time.Minute: false} {
			if err := c.valid(start.Add(at)); (err == nil) != want {
				t.Errorf("%s: %s after its begin it is ready: %t, want %t: %v", name, at, err == nil, want, err)
			}
		}
	}
}

func writePair(t *testing.T, certFile, keyFile string) {
	t.Helper()
	issuer, err := certificate.NewIssuer(clocktesting.NewFakePassiveClock(start), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := issuer.Use(newRoot(t)); err != nil {
		t.Fatal(err)
	}
	serving, err := issuer.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(serving.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: serving.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
