package server

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/scan"
	"github.com/hssgate/hssgate/internal/tracing"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// lookupMetrics counts what the inventory does. Its labels are names of the
// configuration and a few words, never an image's.
type lookupMetrics struct {
	log     *slog.Logger
	lookups *prometheus.CounterVec
	asked   *prometheus.HistogramVec
	listed  *prometheus.CounterVec
	details *prometheus.HistogramVec
	others  *prometheus.CounterVec
	synced  *prometheus.CounterVec
}

var _ inventory.Observer = (*lookupMetrics)(nil)

func newLookupMetrics(registry prometheus.Registerer, log *slog.Logger) *lookupMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return promauto.With(registry).NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	times := func(name, help string) *prometheus.HistogramVec {
		buckets := []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
		return promauto.With(registry).NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{"project", "outcome"})
	}
	return &lookupMetrics{
		log: log,
		lookups: counter("hssgate_image_lookups_total",
			"Images looked up, by registry and by where the answer came from.", "registry", "outcome"),
		asked: times("hssgate_hss_lookup_duration_seconds",
			"Time of each look-up of one image at HSS, all pages and retries included."),
		listed: counter("hssgate_vulnerability_lookups_total",
			"Scans whose vulnerabilities were wanted one by one, by project and by where the answer came from.", "project", "outcome"),
		details: times("hssgate_hss_vulnerabilities_duration_seconds",
			"Time of each question to HSS for the vulnerabilities of one scan, all pages and retries included."),
		others: counter("hssgate_detail_lookups_total",
			"Scans whose secrets or malicious files were wanted one by one, by project, list and by where the answer came from.", "project", "list", "outcome"),
		synced: counter("hssgate_hss_syncs_total",
			"Synchronisations of a project, whole (full) or of what changed (changes).", "project", "kind", "outcome"),
	}
}

// Looked counts a look-up.
func (m *lookupMetrics) Looked(registry string, outcome inventory.Outcome) {
	m.lookups.WithLabelValues(registry, string(outcome)).Inc()
}

// Asked counts a look-up that went to HSS, with its trace as an exemplar.
func (m *lookupMetrics) Asked(ctx context.Context, project string, took time.Duration, err error) {
	tracing.Observe(trace.SpanContextFromContext(ctx), m.asked.WithLabelValues(project, outcomeOf(err)), took.Seconds())
}

// Listed counts a scan of which details were wanted.
func (m *lookupMetrics) Listed(project string, kind policy.Detail, outcome inventory.Outcome) {
	switch kind {
	case policy.DetailVulnerabilities:
		m.listed.WithLabelValues(project, string(outcome)).Inc()
	case policy.DetailSecrets:
		m.others.WithLabelValues(project, "secrets", string(outcome)).Inc()
	case policy.DetailMaliciousFiles:
		m.others.WithLabelValues(project, "maliciousFiles", string(outcome)).Inc()
	}
}

// AskedVulnerabilities counts a question to HSS, with its trace as an exemplar.
func (m *lookupMetrics) AskedVulnerabilities(ctx context.Context, project string, took time.Duration, err error) {
	tracing.Observe(trace.SpanContextFromContext(ctx), m.details.WithLabelValues(project, outcomeOf(err)), took.Seconds())
}

// Synced counts a synchronisation, and logs what failed.
func (m *lookupMetrics) Synced(project string, full bool, rows int, err error) {
	kind := "changes"
	if full {
		kind = "full"
	}
	m.synced.WithLabelValues(project, kind, outcomeOf(err)).Inc()
	if err != nil {
		m.log.Warn("the project was not synchronised in full", "project", project, "kind", kind, "rows", rows, "error", err)
	}
}

// ScansNotCounted logs that it is not known how many scans HSS bills.
func (m *lookupMetrics) ScansNotCounted(project string, err error) {
	m.log.Warn("HSS's counts of billed scans cannot be read, so their metrics are missing", "project", project, "error", err)
}

func outcomeOf(err error) string {
	if err != nil {
		return "failure"
	}
	return "success"
}

func countByEnforcement(policies []*policy.Policy) map[v1alpha1.Enforcement]int {
	counts := map[v1alpha1.Enforcement]int{v1alpha1.EnforcementDeny: 0, v1alpha1.EnforcementWarn: 0, v1alpha1.EnforcementAudit: 0}
	for _, p := range policies {
		counts[p.Enforcement()]++
	}
	return counts
}

// newRequestMetrics returns a wrapper that counts a project's requests to HSS.
func newRequestMetrics(registry prometheus.Registerer) func(project string, base http.RoundTripper) http.RoundTripper {
	requests := promauto.With(registry).NewCounterVec(prometheus.CounterOpts{
		Name: "hssgate_hss_requests_total",
		Help: "Requests to HSS, each page, each retry and each look-up of the project ID being one, by HTTP status; none: there was no answer.",
	}, []string{"project", "code"})
	return func(project string, base http.RoundTripper) http.RoundTripper {
		return promhttp.RoundTripperFunc(func(r *http.Request) (*http.Response, error) {
			response, err := base.RoundTrip(r)
			code := "none"
			if err == nil {
				code = "other" // the codes are bounded, whatever answers
				if http.StatusText(response.StatusCode) != "" {
					code = strconv.Itoa(response.StatusCode)
				}
			}
			requests.WithLabelValues(project, code).Inc()
			return response, err
		})
	}
}

// observeScans counts outcomes, and logs those that cost money or did not work.
func observeScans(registry prometheus.Registerer, log *slog.Logger) func(project, image string, outcome scan.Outcome, note string) {
	outcomes := promauto.With(registry).NewCounterVec(prometheus.CounterOpts{
		Name: "hssgate_scans_wanted_total",
		Help: "Attempts to have HSS scan an image that a pod needs, by outcome: HSS accepted the request (asked), did not confirm it (unconfirmed), " +
			"accepted to synchronise a registry (synchronised), has the request already (held), refused it (refused), or could not be reached (failed); " +
			"the hourly limit is used up (exhausted), or there is nothing to scan (needless).",
	}, []string{"project", "outcome"})
	return func(project, image string, outcome scan.Outcome, note string) {
		outcomes.WithLabelValues(project, string(outcome)).Inc()
		write := log.Info
		switch outcome {
		case scan.Unconfirmed, scan.Refused, scan.Exhausted, scan.Failed:
			write = log.Warn
		case scan.Held, scan.Needless:
			write = log.Debug
		case scan.Asked, scan.Synchronised:
		}
		write("scan wanted", "project", project, "image", image, "outcome", outcome, "note", note)
	}
}

// gauge sends a metric. Each label is followed by its value. NaN is not sent.
type gauge func(name, help string, value float64, labels ...string)

// gauges is a collector that sends metrics when they are read.
type gauges func(gauge)

// Describe sends nothing: which metrics there are depends on what has happened.
func (gauges) Describe(chan<- *prometheus.Desc) {}

// Collect sends all metrics.
func (g gauges) Collect(to chan<- prometheus.Metric) {
	g(func(name, help string, value float64, labels ...string) {
		constant := prometheus.Labels{}
		for label := range slices.Chunk(labels, 2) {
			constant[label[0]] = label[1]
		}
		if !math.IsNaN(value) {
			to <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, constant), prometheus.GaugeValue, value)
		}
	})
}

// state collects the figures of this replica.
func state(version string, certificate CertificateSource, inForce func() []*policy.Policy, known func() inventory.Stats) gauges {
	return func(gauge gauge) {
		gauge("hssgate_build_info", "1; the labels are the versions of hssgate and of Go.", 1, "version", version, "goversion", runtime.Version())
		notAfter := 0.0
		if c, err := certificate(nil); err == nil && c != nil && c.Leaf != nil {
			notAfter = float64(c.Leaf.NotAfter.Unix())
		}
		gauge("hssgate_serving_certificate_not_after_timestamp_seconds",
			"End of the webhook's serving certificate, in seconds since 1970; 0: there is none.", notAfter)
		for enforcement, n := range countByEnforcement(inForce()) {
			gauge("hssgate_policies_in_force", "Policies in force in this replica, by their enforcement.", float64(n), "enforcement", string(enforcement))
		}
		inventoryState(known(), gauge)
	}
}

// scanCounts collects what HSS counts of scans.
func scanCounts(known func() []inventory.ScanCounts) gauges {
	return func(gauge gauge) {
		for _, c := range known() {
			for kind, n := range map[string]*int{"repository": c.RegistryScans, "cicd": c.PipelineScans} {
				gauge("hssgate_hss_billed_scans", "Successful scans of images by HSS's pay-per-use statistics, those of its console and of other clusters included, "+
					"of images in registries (repository) or in pipelines (cicd). Not documented: since when HSS counts them, and whether free ones count.", number(n), "project", c.Project, "kind", kind)
			}
			gauge("hssgate_hss_free_scans", "Free scans of images by the same statistics; 10 a month are granted. Not documented: whether those that were used count.", number(c.FreeScans), "project", c.Project)
		}
	}
}

// number returns NaN for nil.
func number(n *int) float64 {
	if n == nil {
		return math.NaN()
	}
	return float64(*n)
}

func inventoryState(s inventory.Stats, gauge gauge) {
	for state, n := range map[string]int{"found": s.Images, "notFound": s.NotFound} {
		gauge("hssgate_images", "Cached images, known to HSS (found) or not (notFound).", float64(n), "state", state)
	}
	gauge("hssgate_images_bytes", "Estimated memory of the cached images, bounded by cache.maxBytes.", float64(s.Bytes))
	gauge("hssgate_vulnerability_lists_bytes", "Estimated memory of the cached lists of vulnerabilities, secrets and malicious files.", float64(s.ListBytes))
	for _, p := range s.Projects {
		for _, state := range []gobreaker.State{gobreaker.StateClosed, gobreaker.StateOpen, gobreaker.StateHalfOpen} {
			is := 0.0
			if p.Breaker == state {
				is = 1
			}
			gauge("hssgate_hss_breaker", "State of a project's circuit breaker: 1 for the current state, 0 for the others.", is,
				"project", p.Name, "state", state.String())
		}
		gauge("hssgate_hss_calls", "Calls to HSS in flight.", float64(p.UnderWay), "project", p.Name)
		gauge("hssgate_hss_waiting", "Look-ups that wait for a slot.", float64(p.Waiting), "project", p.Name)
		gauge("hssgate_hss_last_success_timestamp_seconds", "When HSS last answered.", seconds(p.LastSuccess), "project", p.Name)
		gauge("hssgate_hss_paused_until_timestamp_seconds", "Until when HSS asked hssgate to wait.", seconds(p.PausedUntil), "project", p.Name)
		gauge("hssgate_hss_synced_until_timestamp_seconds", "Up to when all changes of a synchronised project are known.", seconds(p.SyncedUntil), "project", p.Name)
	}
}

// seconds returns the time since 1970, or NaN for the zero time.
func seconds(at time.Time) float64 {
	if at.IsZero() {
		return math.NaN()
	}
	return float64(at.UnixMilli()) / 1000
}
