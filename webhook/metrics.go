package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/hssgate/hssgate/tracing"
)

// Metrics counts reviews.
type Metrics struct {
	decisions   *decisionMetrics
	pins        *pinMetrics
	exceptions  *prometheus.CounterVec
	grace       *prometheus.CounterVec
	byOperation map[string]operationMetrics
}

// operationMetrics are those of one operation, found ahead of any review.
type operationMetrics struct {
	admitted, denied prometheus.Counter
	latency          prometheus.Observer
}

// unknownOperation stands for every operation that the API server doesn't have.
const unknownOperation = "unknown"

// NewMetrics registers the webhook's metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		decisions: newDecisionMetrics(registry),
		pins:      newPinMetrics(registry),
		exceptions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hssgate_exceptions_used_total",
			Help: "Objects that an ImageScanException let past a policy, by policy; dry-run requests are left out.",
		}, []string{"policy"}),
	}
	m.grace = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hssgate_grace_used_total",
		Help: "Objects with images that a policy would have denied, had they not run and passed before, by policy; dry-run requests are left out.",
	}, []string{"policy"})
	registry.MustRegister(m.exceptions, m.grace)
	m.byOperation = newOperationMetrics(registry)
	return m
}

func newOperationMetrics(registry prometheus.Registerer) map[string]operationMetrics {
	reviews := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hssgate_admission_reviews_total",
		Help: "Reviews answered, by operation and by whether the object was admitted.",
	}, []string{"operation", "allowed"})
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "hssgate_admission_duration_seconds",
		Help:    "Time from the first byte of a review to its answer.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"operation"})
	registry.MustRegister(reviews, latency)
	metrics := map[string]operationMetrics{}
	for _, operation := range []admissionv1.Operation{admissionv1.Create, admissionv1.Update, admissionv1.Delete, admissionv1.Connect, unknownOperation} {
		label := string(operation)
		metrics[label] = operationMetrics{
			admitted: reviews.WithLabelValues(label, "true"), denied: reviews.WithLabelValues(label, "false"),
			latency: latency.WithLabelValues(label),
		}
	}
	return metrics
}

func (m *Metrics) observe(operation admissionv1.Operation, allowed bool, took time.Duration, span trace.SpanContext) {
	if m == nil {
		return
	}
	// The number of time series is bounded, whoever asks.
	metrics, ok := m.byOperation[string(operation)]
	if !ok {
		metrics = m.byOperation[unknownOperation]
	}
	if allowed {
		metrics.admitted.Inc()
	} else {
		metrics.denied.Inc()
	}
	tracing.Observe(span, metrics.latency, took.Seconds())
}
