package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/tracing"
)

// lookupMetrics counts what the inventory does, and logs what an operator
// should know of it. Its labels are names of the configuration and a few
// words, never an image's.
type lookupMetrics struct {
	log     *slog.Logger
	lookups *prometheus.CounterVec
	asked   *prometheus.HistogramVec
	listed  *prometheus.CounterVec
	details *prometheus.HistogramVec
	breaker *prometheus.CounterVec
	synced  *prometheus.CounterVec
	rows    *prometheus.CounterVec
}

var _ inventory.Observer = (*lookupMetrics)(nil)

func newLookupMetrics(registry prometheus.Registerer, log *slog.Logger) *lookupMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	times := func(name, help string) *prometheus.HistogramVec {
		buckets := []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{"project", "outcome"})
	}
	m := &lookupMetrics{
		log: log,
		lookups: counter("hssgate_image_lookups_total",
			"Images looked up, by registry and by where the answer came from.", "registry", "outcome"),
		asked: times("hssgate_hss_lookup_duration_seconds",
			"Time of each look-up of one image at HSS, all pages and retries included."),
		listed: counter("hssgate_vulnerability_lookups_total",
			"Scans whose vulnerabilities were wanted one by one, by project and by where the answer came from.", "project", "outcome"),
		details: times("hssgate_hss_vulnerabilities_duration_seconds",
			"Time of each question to HSS for the vulnerabilities of one scan, all pages and retries included."),
		breaker: counter("hssgate_hss_breaker_changes_total",
			"How often a project's circuit breaker became open, half-open or closed.", "project", "state"),
		synced: counter("hssgate_hss_syncs_total",
			"Synchronisations of a project, whole (full) or of what changed (changes).", "project", "kind", "outcome"),
		rows: counter("hssgate_hss_synced_rows_total", "Rows that HSS sent for synchronisations.", "project"),
	}
	registry.MustRegister(m.lookups, m.asked, m.listed, m.details, m.breaker, m.synced, m.rows)
	return m
}

// measureCertificate tells the end of the certificate that is served.
func measureCertificate(registry prometheus.Registerer, source CertificateSource) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hssgate_serving_certificate_not_after_timestamp_seconds",
		Help: "End of the certificate that the webhook serves by, in seconds since 1970; 0: there's none.",
	}, func() float64 {
		c, err := source(nil)
		if err != nil || c == nil || c.Leaf == nil {
			return 0
		}
		return float64(c.Leaf.NotAfter.Unix())
	}))
}

// Looked counts a look-up.
func (m *lookupMetrics) Looked(registry string, outcome inventory.Outcome) {
	m.lookups.WithLabelValues(registry, string(outcome)).Inc()
}

// Asked counts a look-up that went to HSS, with its trace as an exemplar.
func (m *lookupMetrics) Asked(ctx context.Context, project string, took time.Duration, err error) {
	tracing.Observe(trace.SpanContextFromContext(ctx), m.asked.WithLabelValues(project, outcomeOf(err)), took.Seconds())
}

// Listed counts a scan whose vulnerabilities were wanted.
func (m *lookupMetrics) Listed(project string, outcome inventory.Outcome) {
	m.listed.WithLabelValues(project, string(outcome)).Inc()
}

// AskedVulnerabilities counts a question to HSS, with its trace as an exemplar.
func (m *lookupMetrics) AskedVulnerabilities(ctx context.Context, project string, took time.Duration, err error) {
	tracing.Observe(trace.SpanContextFromContext(ctx), m.details.WithLabelValues(project, outcomeOf(err)), took.Seconds())
}

// Credentials logs once that HSS refuses the credentials of a project, and once
// that it accepts them again.
func (m *lookupMetrics) Credentials(project, refused string) {
	if refused != "" {
		m.log.Error("HSS refuses the credentials", "project", project, "cause", refused)
		return
	}
	m.log.Info("HSS accepts the credentials again", "project", project)
}

// Breaker counts a change, and logs the ones between well and not.
func (m *lookupMetrics) Breaker(project string, state inventory.BreakerState) {
	m.breaker.WithLabelValues(project, string(state)).Inc()
	switch state {
	case inventory.BreakerOpen:
		m.log.Warn("HSS fails, so it is not asked for a while", "project", project)
	case inventory.BreakerClosed:
		m.log.Info("HSS answers again", "project", project)
	case inventory.BreakerHalfOpen:
	}
}

// Synced counts a synchronisation, and logs what failed.
func (m *lookupMetrics) Synced(project string, s inventory.Synchronisation) {
	kind := "changes"
	if s.Full {
		kind = "full"
	}
	m.synced.WithLabelValues(project, kind, outcomeOf(s.Err)).Inc()
	m.rows.WithLabelValues(project).Add(float64(s.Rows))
	if s.Err != nil {
		m.log.Warn("the project was not synchronised in full", "project", project, "kind", kind, "rows", s.Rows, "error", s.Err)
	}
}

func outcomeOf(err error) string {
	if err != nil {
		return "failure"
	}
	return "success"
}
