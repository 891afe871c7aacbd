package audit

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics tell what audits found. Its labels are the names of policies, never
// those of pods or images. A nil *Metrics tells nothing.
type Metrics struct {
	audits *prometheus.CounterVec
	took   prometheus.Histogram

	last                                         *atomic.Pointer[Summary]
	evaluated, violations, unknown, excepted, at *prometheus.Desc
	graceImages, graceEnd, newest                *prometheus.Desc
	full                                         *prometheus.CounterVec
}

var _ prometheus.Collector = (*Metrics)(nil)

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m := &Metrics{
		audits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hssgate_audits_total", Help: "Audits of the running pods, by why they were made and whether they are complete.",
		}, []string{"why", "outcome"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hssgate_audit_duration_seconds", Help: "Time that an audit of all running pods took.",
			Buckets: []float64{.1, .5, 1, 5, 15, 60, 300, 900, 3600},
		}),
		last:       &atomic.Pointer[Summary]{},
		evaluated:  desc("hssgate_audit_evaluated_pods", "Running pods that the policy evaluated in the last audit.", "policy"),
		violations: desc("hssgate_audit_violations", "Running pods that violate the policy, by the last audit.", "policy"),
		unknown:    desc("hssgate_audit_unknown_pods", "Running pods that the last audit could not evaluate, since no scan result was available from HSS.", "policy"),
		excepted:   desc("hssgate_audit_excepted_pods", "Running pods that an exception lets past the policy, by the last audit.", "policy"),
		at:         desc("hssgate_audit_last_success_timestamp_seconds", "When the last complete audit ended."),
	}
	m.graceImages = desc("hssgate_audit_grace_images", "Images that run under a grace of the policy, by the last audit.", "policy")
	m.graceEnd = desc("hssgate_audit_grace_next_end_timestamp_seconds", "When the first grace of an image that runs ends; absent if none runs under grace.", "policy")
	m.newest = desc("hssgate_audit_newest_pod_timestamp_seconds", "When the newest running pod that a policy matches was created, by the last audit.")
	m.full = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hssgate_history_dropped_images_total", Help: "Images that ran and passed and were left out of a policy's full history, so that they have no grace.",
	}, []string{"policy"})
	registry.MustRegister(m)
	return m
}

// Describe sends the descriptions of all metrics.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	m.audits.Describe(to)
	m.took.Describe(to)
	m.full.Describe(to)
	for _, d := range []*prometheus.Desc{m.evaluated, m.violations, m.unknown, m.excepted, m.at, m.graceImages, m.graceEnd, m.newest} {
		to <- d
	}
}

// Collect sends the metrics: of what was found, only the replica that audits
// has any.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.audits.Collect(to)
	m.took.Collect(to)
	m.full.Collect(to)
	s := m.last.Load()
	if s == nil {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(m.at, float64(s.Time.UnixMilli())/1000)
	if !s.newest.IsZero() {
		gauge(m.newest, float64(s.newest.Unix()))
	}
	for name, p := range s.policies {
		gauge(m.evaluated, float64(p.evaluated), name)
		gauge(m.violations, float64(p.violations), name)
		gauge(m.unknown, float64(p.unknown), name)
		gauge(m.excepted, float64(p.excepted), name)
	}
	for name, g := range s.graces {
		gauge(m.graceImages, float64(g.images), name)
		if g.images > 0 {
			gauge(m.graceEnd, float64(g.next.Unix()), name)
		}
	}
}

// dropped counts what a full history had no place for.
func (m *Metrics) dropped(policy string, images int) {
	if m != nil {
		m.full.WithLabelValues(policy).Add(float64(images))
	}
}

func (m *Metrics) audited(why string, took time.Duration, err error) {
	if m == nil {
		return
	}
	outcome := "success"
	if err != nil {
		outcome = "failure"
	}
	m.audits.WithLabelValues(why, outcome).Inc()
	m.took.Observe(took.Seconds())
}

func (m *Metrics) found(s *Summary) {
	if m != nil {
		m.last.Store(s)
	}
}

// forget is for the end of a leadership: another replica tells from now on.
func (m *Metrics) forget() {
	if m != nil {
		m.last.Store(nil)
	}
}
