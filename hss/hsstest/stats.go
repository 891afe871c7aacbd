package hsstest

import (
	"maps"
	"net/url"
	"sync"
)

// EndpointStats counts requests.
type EndpointStats struct {
	Requests int
	// Failures counts error responses that were no scripted fault.
	Failures int
}

// Stats counts the requests of a server.
type Stats struct {
	EndpointStats

	// Endpoints counts the requests of each endpoint.
	Endpoints map[Endpoint]EndpointStats
	// Scans counts the images of accepted scan requests, which HSS bills. Syncs counts synchronizations.
	Scans int
	Syncs int
	// Queries counts the requests of EndpointImages by their query, as [url.Values.Encode] writes it.
	Queries map[string]int
}

// CountImage returns the number of requests for one image name.
func (s Stats) CountImage(namespace, name string) (total int) {
	for raw, n := range s.Queries {
		if v, err := url.ParseQuery(raw); err == nil && v.Get(fieldNamespace) == namespace && v.Get(fieldImageName) == name {
			total += n
		}
	}
	return total
}

// Stats returns the counters since the start, or since ResetStats.
func (h *Handler) Stats() Stats {
	h.counters.mu.Lock()
	defer h.counters.mu.Unlock()
	stats := h.counters.stats
	stats.Queries = maps.Clone(stats.Queries)
	stats.Endpoints = maps.Clone(stats.Endpoints)
	return stats
}

// ResetStats sets all counters to 0.
func (h *Handler) ResetStats() {
	h.counters.add(func(s *Stats) { *s = Stats{Endpoints: map[Endpoint]EndpointStats{}, Queries: map[string]int{}} })
}

type counters struct {
	mu    sync.Mutex
	stats Stats
}

func (c *counters) add(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// count adds to the counters of the server and of an endpoint.
func (c *counters) count(endpoint Endpoint, change func(*EndpointStats)) {
	c.add(func(s *Stats) {
		counted := s.Endpoints[endpoint]
		change(&counted)
		s.Endpoints[endpoint] = counted
		change(&s.EndpointStats)
	})
}
