package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// warmUpMetrics tell what came of the warm-up. Until it has ended there are none.
type warmUpMetrics struct {
	took   *prometheus.GaugeVec
	images *prometheus.GaugeVec
}

func newWarmUpMetrics(registry prometheus.Registerer) *warmUpMetrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &warmUpMetrics{
		took: gauge("hssgate_warm_up_duration_seconds", "How long the warm-up took before the replica said that it was ready."),
		images: gauge("hssgate_warm_up_images",
			"Images of running pods that the replica knew (known), or did not know yet (missing), when its warm-up ended.", "state"),
	}
	registry.MustRegister(m.took, m.images)
	return m
}

func (m *warmUpMetrics) ended(took time.Duration, known, wanted int64) {
	m.took.WithLabelValues().Set(took.Seconds())
	m.images.WithLabelValues("known").Set(float64(known))
	m.images.WithLabelValues("missing").Set(float64(wanted - known))
}
