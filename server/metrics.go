package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hssgate/hssgate/inventory"
)

// lookupMetrics counts what the inventory does.
type lookupMetrics struct {
	lookups *prometheus.CounterVec
	asked   *prometheus.HistogramVec
}

var _ inventory.Observer = (*lookupMetrics)(nil)

func newLookupMetrics(registry prometheus.Registerer) *lookupMetrics {
	m := &lookupMetrics{
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hssgate_image_lookups_total",
			Help: "Images looked up, by registry and by where the answer came from.",
		}, []string{"registry", "outcome"}),
		asked: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "hssgate_hss_lookup_duration_seconds",
			Help:    "Time of each look-up of one image at HSS, all pages and retries included.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"project", "outcome"}),
	}
	registry.MustRegister(m.lookups, m.asked)
	return m
}

// Looked counts a look-up.
func (m *lookupMetrics) Looked(registry string, outcome inventory.Outcome) {
	m.lookups.WithLabelValues(registry, string(outcome)).Inc()
}

// Asked counts a look-up that went to HSS.
func (m *lookupMetrics) Asked(project string, took time.Duration, err error) {
	outcome := "success"
	if err != nil {
		outcome = "failure"
	}
	m.asked.WithLabelValues(project, outcome).Observe(took.Seconds())
}
