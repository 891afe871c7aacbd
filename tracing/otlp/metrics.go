package otlp

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts spans. A nil *Metrics counts nothing.
type Metrics struct{ spans *prometheus.CounterVec }

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hssgate_trace_spans_total", Help: "Spans that were sent to the OpenTelemetry collector, or could not be, by outcome.",
	}, []string{"outcome"})}
	registry.MustRegister(m.spans)
	return m
}

func (m *Metrics) sent(spans int, err error) {
	if m == nil {
		return
	}
	outcome := "success"
	if err != nil {
		outcome = "failure"
	}
	m.spans.WithLabelValues(outcome).Add(float64(spans))
}
