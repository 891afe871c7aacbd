package server

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/internal/certificate"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestCallersMoveToOtherReplicasForTheDelayOfAShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &Server{Log: slog.New(slog.DiscardHandler), ShutdownDelay: time.Minute}
		check := func(stopping bool) {
			t.Helper()
			w := httptest.NewRecorder()
			handler := g.closeWhileStopping(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody))
			if got := w.Header().Get("Connection") == "close"; got != stopping || w.Code != http.StatusTeapot {
				t.Errorf("stopping %t: closes %t, code %d", stopping, got, w.Code)
			}
			if err := g.readiness()["stopping"](nil); (err != nil) != stopping {
				t.Errorf("stopping %t: readiness is %v", stopping, err)
			}
		}
		check(false)
		ctx, cancel := context.WithCancel(t.Context())
		begun := time.Now()
		g.drain(cancel)
		check(true)
		<-ctx.Done()
		if got := time.Since(begun); got != time.Minute {
			t.Errorf("it stopped after %s, want a minute", got)
		}
	})
}

func TestServingWithoutACertificateIsRefused(t *testing.T) {
	t.Parallel()
	open := t.TempDir()
	writePair(t, open)
	key := filepath.Join(open, "tls.key")
	if err := os.Chmod(key, 0o666); err != nil {
		t.Fatal(err)
	}
	own := config.Webhook{CASecret: "ca", ConfigurationName: "hssgate"}
	for want, g := range map[string]*Server{
		"webhook.caSecret: hssgate doesn't know its namespace: set POD_NAMESPACE":        {Config: &config.Configuration{Webhook: own}},
		"--ca-file: webhook.caSecret keeps the CA instead":                               {Config: &config.Configuration{Webhook: own}, Namespace: "ns", CAFile: "ca.crt"},
		"read the serving certificate: open /nowhere/tls.crt: no such file or directory": {Config: &config.Configuration{Webhook: config.Webhook{CertDir: "/nowhere"}}},
		"read the serving key: " + key + " has mode 0666, by which others can write it":  {Config: &config.Configuration{Webhook: config.Webhook{CertDir: open}}},
	} {
		g.Log = slog.New(slog.DiscardHandler)
		if _, err := g.newCertificates(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// newIssuer returns one with a CA, at start.
func newIssuer(t *testing.T) *certificate.Issuer {
	t.Helper()
	issuer, err := certificate.NewSelfSigned(clocktesting.NewFakePassiveClock(start), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// lifetime is that of a serving certificate.
const lifetime = 90 * 24 * time.Hour

// adding is a manager to which anything can be added.
type adding struct{ ctrl.Manager }

func (adding) Add(manager.Runnable) error { return nil }

func TestACertificateThatIsNotValidIsNotReady(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writePair(t, dir)
	g := &Server{Config: &config.Configuration{Webhook: config.Webhook{CertDir: dir}}, Log: slog.New(slog.DiscardHandler), manager: adding{}}
	files, err := g.newCertificates()
	if err != nil {
		t.Fatal(err)
	}
	issuer := newIssuer(t)
	for name, source := range map[string]CertificateSource{"from files": files.source, "hssgate's own": issuer.GetCertificate} {
		c := &certificates{source: source}
		for at, want := range map[time.Duration]bool{-24 * time.Hour: false, 0: true, lifetime - time.Minute: true, lifetime + time.Minute: false} {
			if err := c.valid(start.Add(at)); (err == nil) != want {
				t.Errorf("%s: %s after its begin it is ready: %t, want %t: %v", name, at, err == nil, want, err)
			}
		}
	}
}

func writePair(t *testing.T, dir string) {
	t.Helper()
	issuer := newIssuer(t)
	serving, err := issuer.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(serving.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: serving.Certificate[0]}, "tls.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
