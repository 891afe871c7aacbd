package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/gate"
)

// pinMetrics count what became of the images that policies have pinned.
type pinMetrics struct {
	images  *prometheus.CounterVec
	latency prometheus.Histogram
}

// Outcomes of an image that is to be pinned.
const (
	outcomePinned = "pinned"
	outcomeLeft   = "left"
	// outcomeFailed is that of a review of which the images aren't known.
	outcomeFailed = "failed"
	reasonDryRun  = "dryRun"
)

func newPinMetrics(registry prometheus.Registerer) *pinMetrics {
	m := &pinMetrics{
		images: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hssgate_pins_total",
			Help: "Images that a policy has pinned, by outcome (pinned, left, or failed for a pod that could not be read) and by what was in the way; dry-run requests are left out.",
		}, []string{"outcome", "reason"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "hssgate_pin_duration_seconds",
			Help:    "Time from the first byte of a review to the answer of the webhook that pins.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
	}
	registry.MustRegister(m.images, m.latency)
	return m
}

func (m *Metrics) pinReviewed(took time.Duration) {
	if m != nil {
		m.pins.latency.Observe(took.Seconds())
	}
}

func (m *Metrics) pinFailed(reason metav1.StatusReason) {
	if m != nil {
		m.pins.images.WithLabelValues(outcomeFailed, string(reason)).Inc()
	}
}

func (m *Metrics) pinned(found *gate.Pinning, dryRun bool) {
	if m == nil {
		return
	}
	for i := range found.Pins {
		outcome, reason := outcomeLeft, string(found.Pins[i].Obstacle)
		switch {
		case reason != "":
		case dryRun:
			reason = reasonDryRun
		default:
			outcome = outcomePinned
		}
		m.pins.images.WithLabelValues(outcome, reason).Inc()
	}
}
