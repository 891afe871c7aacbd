package hsstest

import (
	"maps"
	"net/http"
	"net/url"
	"sync"
)

// maxQueries bounds the different queries that are counted apart.
const maxQueries = 100_000

// EndpointStats counts requests.
type EndpointStats struct {
	Requests int
	// Rows counts the rows in responses.
	Rows int
	// Failures counts error responses that were no scripted fault, Faults the scripted ones.
	Failures int
	Faults   int
}

// Stats counts the requests of a server.
type Stats struct {
	EndpointStats

	// Endpoints counts the requests of each endpoint.
	Endpoints map[Endpoint]EndpointStats
	// Scans counts the images of accepted scan requests, which HSS bills. Syncs counts synchronizations.
	Scans int
	Syncs int
	// InFlight is the number of requests in progress, MaxInFlight its maximum.
	InFlight    int
	MaxInFlight int
	// Queries counts the requests of EndpointImages by their query, as [url.Values.Encode] writes it. Beyond 100,000
	// different queries the rest is counted as "…".
	Queries map[string]int
}

// Count returns the number of requests with a query that matches.
func (s Stats) Count(match func(url.Values) bool) int {
	total := 0
	for raw, n := range s.Queries {
		if values, err := url.ParseQuery(raw); err == nil && match(values) {
			total += n
		}
	}
	return total
}

// CountImage returns the number of requests for one image name.
func (s Stats) CountImage(namespace, name string) int {
	return s.Count(func(v url.Values) bool { return v.Get(fieldNamespace) == namespace && v.Get(fieldImageName) == name })
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

// ResetStats sets all counters to 0, except for requests in progress.
func (h *Handler) ResetStats() {
	h.counters.add(func(s *Stats) { *s = Stats{InFlight: s.InFlight, MaxInFlight: s.InFlight} })
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
func (c *counters) count(r *http.Request, change func(*EndpointStats)) {
	c.add(func(s *Stats) {
		if s.Endpoints == nil {
			s.Endpoints = map[Endpoint]EndpointStats{}
		}
		endpoint := route(r).endpoint
		counted := s.Endpoints[endpoint]
		change(&counted)
		s.Endpoints[endpoint] = counted
		change(&s.EndpointStats)
	})
}

func (c *counters) begin(r *http.Request) {
	c.count(r, func(e *EndpointStats) { e.Requests++ })
	c.add(func(s *Stats) {
		s.InFlight++
		s.MaxInFlight = max(s.MaxInFlight, s.InFlight)
		if route(r).endpoint != EndpointImages {
			return
		}
		if s.Queries == nil {
			s.Queries = map[string]int{}
		}
		query := r.URL.Query().Encode()
		if s.Queries[query] == 0 && len(s.Queries) >= maxQueries {
			query = "…"
		}
		s.Queries[query]++
	})
}
