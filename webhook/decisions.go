package webhook

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/tracing"
)

// decisionMetrics count what policies decide. Their labels are the names of
// policies and a few words, never those of pods or images.
type decisionMetrics struct {
	verdicts *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	// passed are the verdicts of most decisions, prometheus.Counter by policy:
	// to find one in verdicts takes ten times as long.
	passed sync.Map
}

// What a policy that isn't violated does, and why.
const (
	effectAllow  = "Allow"
	reasonPassed = "passed"
)

func newDecisionMetrics(registry prometheus.Registerer) *decisionMetrics {
	m := &decisionMetrics{
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hssgate_policy_decisions_total",
			Help: "Objects that a policy judged, by what it did (Deny, Warn, Audit, Excepted, Allow) and by the check that failed first.",
		}, []string{"policy", "enforcement", "reason"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "hssgate_decision_duration_seconds",
			Help:    "Time of a decision, look-ups included, by its outcome.",
			Buckets: []float64{.00001, .0001, .0005, .001, .005, .01, .05, .1, .5, 1, 2.5, 5, 10, 30},
		}, []string{"outcome"}),
	}
	registry.MustRegister(m.verdicts, m.latency)
	return m
}

// decided counts a decision.
func (m *Metrics) decided(d *gate.Decision, took time.Duration, span trace.SpanContext) {
	if m == nil {
		return
	}
	tracing.Observe(span, m.decisions.latency.WithLabelValues(string(d.Outcome)), took.Seconds())
	for _, name := range d.Policies {
		effect, reason := effectOf(d, name)
		if effect == effectAllow {
			m.decisions.passedBy(name).Inc()
			continue
		}
		m.decisions.verdicts.WithLabelValues(name, effect, reason).Inc()
	}
}

// passedBy counts what a policy had nothing against.
func (m *decisionMetrics) passedBy(policy string) prometheus.Counter {
	if known, ok := m.passed.Load(policy); ok {
		return known.(prometheus.Counter) //nolint:errcheck,forcetypeassert // nothing else is in it
	}
	passed := m.verdicts.WithLabelValues(policy, effectAllow, reasonPassed)
	m.passed.Store(policy, passed)
	return passed
}

// effectOf is the strictest thing that a policy did, and why.
func effectOf(d *gate.Decision, policy string) (effect, reason string) {
	effects := [...]v1alpha1.Enforcement{
		v1alpha1.EnforcementDeny, v1alpha1.EnforcementWarn, v1alpha1.EnforcementAudit, gate.EffectExcepted,
	}
	for _, e := range effects {
		for i := range d.Violations {
			if v := &d.Violations[i]; v.Policy == policy && v.Effect == e {
				return string(e), string(v.Findings[0].Check)
			}
		}
	}
	return effectAllow, reasonPassed
}
