package server

import (
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hssgate/hssgate/gate"
)

// policyMetrics tell how many policies are in force.
type policyMetrics struct {
	index    func() *gate.Index
	policies *prometheus.Desc
}

var _ prometheus.Collector = (*policyMetrics)(nil)

func newPolicyMetrics(index func() *gate.Index) *policyMetrics {
	return &policyMetrics{index: index, policies: prometheus.NewDesc("hssgate_policies_in_force",
		"Policies that this replica judges by, by their enforcement.", []string{"enforcement"}, nil)}
}

// Describe sends the description.
func (m *policyMetrics) Describe(to chan<- *prometheus.Desc) { to <- m.policies }

// Collect counts.
func (m *policyMetrics) Collect(to chan<- prometheus.Metric) {
	for enforcement, n := range m.index().Count() {
		to <- prometheus.MustNewConstMetric(m.policies, prometheus.GaugeValue, float64(n), string(enforcement))
	}
}

// newBuildInfo tells what runs, from a user agent such as hssgate/v1.2.3.
func newBuildInfo(userAgent string) prometheus.Collector {
	_, version, _ := strings.Cut(userAgent, "/")
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "hssgate_build_info", Help: "1; the labels tell what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	info.Set(1)
	return info
}
