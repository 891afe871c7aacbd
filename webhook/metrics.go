package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
)

// Metrics counts reviews.
type Metrics struct {
	exceptions *prometheus.CounterVec
	breakGlass *prometheus.CounterVec
	reviews    *prometheus.CounterVec
	latency    *prometheus.HistogramVec
}

// NewMetrics registers the webhook's metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		exceptions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hssgate_exceptions_used_total",
			Help: "Objects that an ImageScanException let past a policy, by policy; dry-run requests are left out.",
		}, []string{"policy"}),
		breakGlass: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hssgate_breakglass_total",
			Help: "Objects that a user with the right to break the glass got past a policy, by policy; dry-run requests are left out.",
		}, []string{"policy"}),
		reviews: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hssgate_admission_reviews_total",
			Help: "Reviews answered, by operation and by whether the object was admitted.",
		}, []string{"operation", "allowed"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "hssgate_admission_duration_seconds",
			Help:    "Time from the first byte of a review to its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"operation"}),
	}
	registry.MustRegister(m.reviews, m.latency, m.exceptions, m.breakGlass)
	return m
}

func (m *Metrics) observe(operation admissionv1.Operation, allowed bool, took time.Duration) {
	if m == nil {
		return
	}
	label := operationLabel(operation)
	m.reviews.WithLabelValues(label, map[bool]string{true: "true", false: "false"}[allowed]).Inc()
	m.latency.WithLabelValues(label).Observe(took.Seconds())
}

// operationLabel keeps the number of time series bounded, whoever asks.
func operationLabel(operation admissionv1.Operation) string {
	switch operation {
	case admissionv1.Create, admissionv1.Update, admissionv1.Delete, admissionv1.Connect:
		return string(operation)
	}
	return "unknown"
}
