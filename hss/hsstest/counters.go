package hsstest

import (
	"maps"
	"net/http"
	"net/url"
	"sync"
)

// maxQueries bounds the different queries that are counted apart.
const maxQueries = 100_000

// Stats tells what was asked of a server.
type Stats struct {
	// Requests counts all, Served those answered with rows or an empty list,
	// Rows the rows in them.
	Requests int
	Served   int
	Rows     int
	// Failures counts errors that the server answered with by itself; of
	// these, Unauthorized counts 401 and Throttled 429.
	Failures     int
	Unauthorized int
	Throttled    int
	// Faults counts the scripted faults that were served.
	Faults int
	// Scans counts the images whose scan was started, each as often as it was
	// asked for: this is what costs money. Syncs counts synchronisations.
	Scans int
	Syncs int
	// InFlight is how many requests are being answered, and MaxInFlight how
	// many were at most at the same time.
	InFlight    int
	MaxInFlight int
	// Queries counts requests by their query, its parameters sorted by name
	// as [url.Values.Encode] does. Of more than 100,000 different queries the
	// rest is counted as "…". Only requests of EndpointImages are counted.
	Queries map[string]int
	// Endpoints counts apart what was asked of each endpoint.
	Endpoints map[Endpoint]EndpointStats
}

// EndpointStats tells what was asked of one endpoint; see [Stats].
type EndpointStats struct {
	Requests int
	Served   int
	Rows     int
	Failures int
	Faults   int
}

// Count counts the requests with a query that matches.
func (s Stats) Count(match func(url.Values) bool) int {
	total := 0
	for raw, n := range s.Queries {
		if values, err := url.ParseQuery(raw); err == nil && match(values) {
			total += n
		}
	}
	return total
}

// CountImage counts the requests that asked for one image name.
func (s Stats) CountImage(namespace, name string) int {
	return s.Count(func(v url.Values) bool {
		return v.Get("namespace") == namespace && v.Get("image_name") == name
	})
}

// Stats tells what was asked since the start, or since ResetStats.
func (h *Handler) Stats() Stats {
	h.counters.mu.Lock()
	defer h.counters.mu.Unlock()
	stats := h.counters.stats
	stats.Queries = maps.Clone(stats.Queries)
	stats.Endpoints = maps.Clone(stats.Endpoints)
	return stats
}

// ResetStats sets all counters to 0, except for requests in flight.
func (h *Handler) ResetStats() {
	h.counters.mu.Lock()
	defer h.counters.mu.Unlock()
	now := h.counters.stats.InFlight
	h.counters.stats = Stats{InFlight: now, MaxInFlight: now}
}

type counters struct {
	mu    sync.Mutex
	stats Stats
}

func (c *counters) begin(r *http.Request) {
	endpoint := endpointOf(r)
	asked := r.URL.Query().Encode()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Requests++
	c.stats.InFlight++
	c.stats.MaxInFlight = max(c.stats.MaxInFlight, c.stats.InFlight)
	c.count(endpoint, func(e *EndpointStats) { e.Requests++ })
	if endpoint == EndpointImages {
		c.countQuery(asked)
	}
}

// count changes the counters of one endpoint. The caller holds the lock.
func (c *counters) count(endpoint Endpoint, change func(*EndpointStats)) {
	if c.stats.Endpoints == nil {
		c.stats.Endpoints = map[Endpoint]EndpointStats{}
	}
	counted := c.stats.Endpoints[endpoint]
	change(&counted)
	c.stats.Endpoints[endpoint] = counted
}

// countQuery counts a query of the list. The caller holds the lock.
func (c *counters) countQuery(asked string) {
	if c.stats.Queries == nil {
		c.stats.Queries = map[string]int{}
	}
	if _, seen := c.stats.Queries[asked]; !seen && len(c.stats.Queries) >= maxQueries {
		asked = "…"
	}
	c.stats.Queries[asked]++
}

func (c *counters) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.InFlight--
}

func (c *counters) fault(endpoint Endpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Faults++
	c.count(endpoint, func(e *EndpointStats) { e.Faults++ })
}

func (c *counters) serve(endpoint Endpoint, rows int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Served++
	c.stats.Rows += rows
	c.count(endpoint, func(e *EndpointStats) { e.Served, e.Rows = e.Served+1, e.Rows+rows })
}

// started counts what a request started.
func (c *counters) started(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

func (c *counters) refuse(endpoint Endpoint, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Failures++
	c.count(endpoint, func(e *EndpointStats) { e.Failures++ })
	switch status {
	case http.StatusUnauthorized:
		c.stats.Unauthorized++
	case http.StatusTooManyRequests:
		c.stats.Throttled++
	}
}
