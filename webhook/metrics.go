package webhook

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/trace"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/tracing"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Metrics counts reviews. Its labels are the names of policies and a few words,
// never those of pods or images.
type Metrics struct {
	reviews    *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	decisions  *prometheus.CounterVec
	exceptions *prometheus.CounterVec
	pins       *prometheus.CounterVec
}

// NewMetrics registers the webhook's metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return promauto.With(registry).NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		reviews: counter("hssgate_admission_reviews_total",
			"Reviews answered, by operation and by whether the object was admitted.", "operation", "allowed"),
		duration: promauto.With(registry).NewHistogramVec(prometheus.HistogramOpts{
			Name:    "hssgate_admission_duration_seconds",
			Help:    "Time from the first byte of a review to its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"operation"}),
		decisions: counter("hssgate_policy_decisions_total",
			"Objects that a policy evaluated, by its effect (Deny, Warn, Audit, Excepted, Allow) and the first check that failed.",
			"policy", "enforcement", "reason"),
		exceptions: counter("hssgate_exceptions_used_total",
			"Objects that an exception allowed, by policy, without dry-run requests.", "policy"),
		pins: counter("hssgate_pins_total",
			"Images that a policy has pinned, by outcome (pinned, left, or failed for a pod that could not be read) and reason, without dry-run requests.",
			"outcome", "reason"),
	}
	for _, operation := range []admissionv1.Operation{admissionv1.Create, admissionv1.Update} {
		for _, allowed := range []string{"true", "false"} {
			m.reviews.WithLabelValues(string(operation), allowed) // 0, from which Prometheus sees the first increase
		}
	}
	return m
}

func (m *Metrics) observe(rv *review, isAllowed bool, took time.Duration, span trace.SpanContext) {
	operation := rv.Request.Operation
	known := []admissionv1.Operation{admissionv1.Create, admissionv1.Update, admissionv1.Delete, admissionv1.Connect}
	if !slices.Contains(known, operation) {
		operation = "unknown" // callers don't make time series
	}
	m.reviews.WithLabelValues(string(operation), strconv.FormatBool(isAllowed)).Inc()
	tracing.Observe(span, m.duration.WithLabelValues(string(operation)), took.Seconds())
}

func (m *Metrics) decided(d *gate.Decision) {
	for _, name := range d.Policies {
		effect, reason := effectOf(d, name)
		m.decisions.WithLabelValues(name, effect, reason).Inc()
	}
}

// effectOf returns the strictest effect of a policy, and why.
func effectOf(d *gate.Decision, policy string) (effect, reason string) {
	for _, e := range []v1alpha1.Enforcement{
		v1alpha1.EnforcementDeny, v1alpha1.EnforcementWarn, v1alpha1.EnforcementAudit, gate.EffectExcepted,
	} {
		for i := range d.Violations {
			if v := &d.Violations[i]; v.Policy == policy && v.Effect == e {
				return string(e), string(v.Findings[0].Check)
			}
		}
	}
	return "Allow", "passed"
}

// pinned counts what became of the images that are to be pinned.
func (m *Metrics) pinned(found *gate.Pinning, dryRun bool) {
	for i := range found.Pins {
		outcome, reason := "left", string(found.Pins[i].Obstacle)
		switch {
		case reason != "":
		case dryRun:
			reason = "dryRun"
		default:
			outcome = "pinned"
		}
		m.pins.WithLabelValues(outcome, reason).Inc()
	}
}
