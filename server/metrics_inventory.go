package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hssgate/hssgate/inventory"
)

// inventoryMetrics measures the inventory whenever it is asked to.
type inventoryMetrics struct {
	stats func() inventory.Stats

	images, bytes, lists, listBytes, breaker, underWay, waiting, success, paused, synced *prometheus.Desc
}

var _ prometheus.Collector = (*inventoryMetrics)(nil)

func newInventoryMetrics(stats func() inventory.Stats) *inventoryMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &inventoryMetrics{
		stats:     stats,
		images:    desc("hssgate_images", "Images that are remembered, known to HSS (found) or not (notFound).", "state"),
		bytes:     desc("hssgate_images_bytes", "What the cache counts for the images known to HSS; cache.maxBytes bounds it."),
		lists:     desc("hssgate_vulnerability_lists", "Scans whose vulnerabilities are remembered one by one."),
		listBytes: desc("hssgate_vulnerability_lists_bytes", "What is counted for them; cache.maxVulnerabilityBytes bounds it."),
		breaker:   desc("hssgate_hss_breaker", "1 for the state that a project's circuit breaker is in.", "project", "state"),
		underWay:  desc("hssgate_hss_calls", "Calls to HSS that are under way.", "project"),
		waiting:   desc("hssgate_hss_waiting", "Images that wait for their turn to be asked for.", "project"),
		success:   desc("hssgate_hss_last_success_timestamp_seconds", "When HSS last answered.", "project"),
		paused:    desc("hssgate_hss_paused_until_timestamp_seconds", "Until when HSS said to wait.", "project"),
		synced:    desc("hssgate_hss_synced_until_timestamp_seconds", "Up to when all changes of a synchronised project are known.", "project"),
	}
}

// Describe sends the descriptions of all metrics.
func (m *inventoryMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.images, m.bytes, m.lists, m.listBytes, m.breaker, m.underWay, m.waiting, m.success, m.paused, m.synced} {
		to <- d
	}
}

// Collect measures.
func (m *inventoryMetrics) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	moment := func(d *prometheus.Desc, at time.Time, project string) {
		if !at.IsZero() {
			gauge(d, float64(at.UnixMilli())/1000, project)
		}
	}
	s := m.stats()
	gauge(m.images, float64(s.Images), "found")
	gauge(m.images, float64(s.NotFound), "notFound")
	gauge(m.bytes, float64(s.Bytes))
	gauge(m.lists, float64(s.Lists))
	gauge(m.listBytes, float64(s.ListBytes))
	for _, p := range s.Projects {
		for _, state := range []inventory.BreakerState{inventory.BreakerClosed, inventory.BreakerOpen, inventory.BreakerHalfOpen} {
			is := 0.0
			if p.Breaker == state {
				is = 1
			}
			gauge(m.breaker, is, p.Name, string(state))
		}
		gauge(m.underWay, float64(p.UnderWay), p.Name)
		gauge(m.waiting, float64(p.Waiting), p.Name)
		moment(m.success, p.LastSuccess, p.Name)
		moment(m.paused, p.PausedUntil, p.Name)
		moment(m.synced, p.SyncedUntil, p.Name)
	}
}
