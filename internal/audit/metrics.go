package audit

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics show the last audit, on the leader. Their labels are names of policies, never those of pods or images.
type Metrics struct {
	audits *prometheus.CounterVec
	took   prometheus.Histogram
	last   atomic.Pointer[summary] // the last complete audit; nil: another replica leads
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		audits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hssgate_audits_total", Help: "Audits of the running pods, by why they were made and whether they are complete.",
		}, []string{"why", "outcome"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hssgate_audit_duration_seconds", Help: "Time that an audit of all running pods took.",
			Buckets: []float64{.1, .5, 1, 5, 15, 60, 300, 900, 3600},
		}),
	}
	registry.MustRegister(m.audits, m.took, m)
	return m
}

// Describe sends nothing: which metrics there are depends on the last audit.
func (*Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends the results of the last audit.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	s := m.last.Load()
	if s == nil {
		return
	}
	send := func(name, help string, value float64, policy ...string) {
		desc := prometheus.NewDesc(name, help, []string{"policy"}[:len(policy)], nil)
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, policy...)
	}
	send("hssgate_audit_last_success_timestamp_seconds", "When the last complete audit ended.", float64(s.time.UnixMilli())/1000)
	if !s.newest.IsZero() {
		send("hssgate_audit_newest_pod_timestamp_seconds", "When the newest running pod that a policy matches was created, by the last audit.", float64(s.newest.Unix()))
	}
	for name, p := range s.policies {
		send("hssgate_audit_evaluated_pods", "Running pods that the policy evaluated in the last audit.", float64(p.Evaluated), name)
		send("hssgate_audit_violations", "Running pods that violate the policy, by the last audit.", float64(p.Violations), name)
		send("hssgate_audit_unknown_pods", "Running pods that the last audit could not evaluate, since no scan result was available from HSS.", float64(p.Unknown), name)
		send("hssgate_audit_excepted_pods", "Running pods that violate the policy but are allowed by an exception, by the last audit.", float64(p.Excepted), name)
		send("hssgate_audit_other_image_pods", "Running pods with an image that is not the one HSS scanned under its tag, by the last audit.", float64(p.OtherImages), name)
	}
	for name, g := range s.graces {
		send("hssgate_audit_grace_images", "Images that run under a grace of the policy, by the last audit.", float64(g.Images), name)
		if g.Images > 0 {
			send("hssgate_audit_grace_next_end_timestamp_seconds", "When the first grace of an image that runs ends; absent if none runs under grace.", float64(g.NextEnd.Unix()), name)
		}
	}
}
