package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/certificate"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
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
		equal(t, "time until it stopped", time.Minute, time.Since(begun))
	})
}

func TestServingWithoutACertificateIsRefused(t *testing.T) {
	t.Parallel()
	open := t.TempDir()
	writePair(t, open)
	key := filepath.Join(open, "tls.key")
	must(t, os.Chmod(key, 0o666))
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
	must(t, err)
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
	must(t, err)
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
	must(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(serving.PrivateKey)
	must(t, err)
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: serving.Certificate[0]}, "tls.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
}

// hasGathered checks the metrics of a registry, as lines such as name{label=value} 1.
func hasGathered(t *testing.T, registry *prometheus.Registry, want []string) {
	t.Helper()
	families, err := registry.Gather()
	must(t, err)
	var lines []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			lines = append(lines, fmt.Sprintf("%s{%s} %v", family.GetName(), strings.Join(labels, ","), value))
		}
	}
	slices.Sort(lines)
	equal(t, "metrics", want, lines)
}

func TestWhatTheInventoryTellsIsCountedAndLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	registry := prometheus.NewPedanticRegistry()
	m := newLookupMetrics(registry, slog.New(slog.NewTextHandler(&log, nil)))
	m.Looked("swr", inventory.Hit)
	m.Looked("swr", inventory.Hit)
	m.Looked("", inventory.Unclaimed)
	m.Asked(t.Context(), "bj4", time.Second, nil)
	m.Asked(t.Context(), "bj4", time.Second, errors.New("down"))
	m.Listed("bj4", policy.DetailVulnerabilities, inventory.Stale)
	m.Listed("bj4", policy.DetailSecrets, inventory.Miss)
	m.Listed("bj4", policy.DetailMaliciousFiles, inventory.Unavailable)
	m.AskedVulnerabilities(t.Context(), "bj4", time.Second, nil)
	m.Synced("bj4", true, 7, nil)
	m.Synced("bj4", false, 1, errors.New("cut off"))
	hasGathered(t, registry, []string{
		"hssgate_detail_lookups_total{list=maliciousFiles,outcome=unavailable,project=bj4} 1",
		"hssgate_detail_lookups_total{list=secrets,outcome=miss,project=bj4} 1",
		"hssgate_hss_lookup_duration_seconds{outcome=failure,project=bj4} 1",
		"hssgate_hss_lookup_duration_seconds{outcome=success,project=bj4} 1",
		"hssgate_hss_syncs_total{kind=changes,outcome=failure,project=bj4} 1",
		"hssgate_hss_syncs_total{kind=full,outcome=success,project=bj4} 1",
		"hssgate_hss_vulnerabilities_duration_seconds{outcome=success,project=bj4} 1",
		"hssgate_image_lookups_total{outcome=hit,registry=swr} 2",
		"hssgate_image_lookups_total{outcome=unclaimed,registry=} 1",
		"hssgate_vulnerability_lookups_total{outcome=stale,project=bj4} 1",
	})
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "error=\"cut off\"") {
		t.Errorf("what failed is to be logged, and nothing else:\n%s", log.String())
	}
}

func TestTheStateOfAReplicaIsMeasured(t *testing.T) {
	t.Parallel()
	p := &v1alpha1.ImageScanPolicy{}
	p.Name, p.Spec.Enforcement = "p", v1alpha1.EnforcementWarn
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(state("v1.2.3", newIssuer(t).GetCertificate, inForce(t, p), func() inventory.Stats {
		return inventory.Stats{Images: 5, NotFound: 2, Bytes: 1500, ListBytes: 900, Projects: []inventory.ProjectStats{
			{Stats: lookup.Stats{Name: "bj4", Breaker: gobreaker.StateOpen, UnderWay: 3, Waiting: 4, LastSuccess: time.Unix(100, 5e8), PausedUntil: time.Unix(200, 0)}, SyncedUntil: time.Unix(300, 0)},
			{Stats: lookup.Stats{Name: "idle", Breaker: gobreaker.StateClosed}},
		}}
	}))
	hasGathered(t, registry, []string{
		"hssgate_build_info{goversion=" + runtime.Version() + ",version=v1.2.3} 1",
		"hssgate_hss_breaker{project=bj4,state=closed} 0", "hssgate_hss_breaker{project=bj4,state=half-open} 0", "hssgate_hss_breaker{project=bj4,state=open} 1",
		"hssgate_hss_breaker{project=idle,state=closed} 1", "hssgate_hss_breaker{project=idle,state=half-open} 0", "hssgate_hss_breaker{project=idle,state=open} 0",
		"hssgate_hss_calls{project=bj4} 3", "hssgate_hss_calls{project=idle} 0",
		"hssgate_hss_last_success_timestamp_seconds{project=bj4} 100.5",
		"hssgate_hss_paused_until_timestamp_seconds{project=bj4} 200",
		"hssgate_hss_synced_until_timestamp_seconds{project=bj4} 300",
		"hssgate_hss_waiting{project=bj4} 4", "hssgate_hss_waiting{project=idle} 0",
		"hssgate_images_bytes{} 1500", "hssgate_images{state=found} 5", "hssgate_images{state=notFound} 2",
		"hssgate_policies_in_force{enforcement=Audit} 0", "hssgate_policies_in_force{enforcement=Deny} 0", "hssgate_policies_in_force{enforcement=Warn} 1",
		fmt.Sprint("hssgate_serving_certificate_not_after_timestamp_seconds{} ", float64(start.Add(lifetime).Unix())),
		"hssgate_vulnerability_lists_bytes{} 900",
	})
}

func TestBilledScansAreMeasuredOnceTheyAreKnown(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(scanCounts(func() []inventory.ScanCounts {
		return []inventory.ScanCounts{
			{Project: "bj4", ScanStatistics: hss.ScanStatistics{RegistryScans: new(3), PipelineScans: new(0), FreeScans: new(10)}},
			{Project: "part", ScanStatistics: hss.ScanStatistics{RegistryScans: new(7)}},
		}
	}))
	hasGathered(t, registry, []string{
		"hssgate_hss_billed_scans{kind=cicd,project=bj4} 0", "hssgate_hss_billed_scans{kind=repository,project=bj4} 3",
		"hssgate_hss_billed_scans{kind=repository,project=part} 7", "hssgate_hss_free_scans{project=bj4} 10",
	})
}

// roundTripper answers with a status; 0: not at all.
type roundTripper int

func (s roundTripper) RoundTrip(*http.Request) (*http.Response, error) {
	if s == 0 {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: int(s), Body: http.NoBody}, nil
}

func TestRequestsToHSSAreCountedByTheirStatus(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	wrap := newRequestMetrics(registry)
	for _, status := range []roundTripper{200, 200, 429, 0, 999} {
		response, err := wrap("bj4", status).RoundTrip(nil)
		if (err != nil) != (status == 0) {
			t.Errorf("%d: %v", status, err)
		}
		if response != nil {
			_ = response.Body.Close()
		}
	}
	hasGathered(t, registry, []string{
		"hssgate_hss_requests_total{code=200,project=bj4} 2", "hssgate_hss_requests_total{code=429,project=bj4} 1",
		"hssgate_hss_requests_total{code=none,project=bj4} 1", "hssgate_hss_requests_total{code=other,project=bj4} 1",
	})
}
