package otlptest

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
)

// maxRequest bounds a request, unpacked.
const maxRequest = 16 << 20

// Collector is a collector that runs. Its URL is the endpoint.
type Collector struct {
	*httptest.Server

	mu      sync.Mutex
	spans   []Span
	bodies  [][]byte
	headers []http.Header
	answer  func(http.ResponseWriter)
	arrived chan struct{}
}

// NewCollector starts a collector. Close it when done.
func NewCollector() *Collector {
	c := &Collector{arrived: make(chan struct{}, 1)}
	c.Server = httptest.NewServer(http.HandlerFunc(c.serve))
	return c
}

// NewTLSCollector starts one that speaks TLS, by a certificate of its own.
func NewTLSCollector() *Collector {
	c := &Collector{arrived: make(chan struct{}, 1)}
	c.Server = httptest.NewTLSServer(http.HandlerFunc(c.serve))
	return c
}

// Answer has the collector give another answer than that all is well; nil: that.
func (c *Collector) Answer(f func(http.ResponseWriter)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = f
}

// Spans are those that have come.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span(nil), c.spans...)
}

// Bodies are the requests that have come, unpacked.
func (c *Collector) Bodies() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([][]byte(nil), c.bodies...)
}

// Headers are those of the requests that have come, refused ones included.
func (c *Collector) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]http.Header(nil), c.headers...)
}

// Arrived tells, once or for several at a time, that a request has come.
func (c *Collector) Arrived() <-chan struct{} { return c.arrived }

func (c *Collector) serve(w http.ResponseWriter, r *http.Request) {
	defer func() {
		select {
		case c.arrived <- struct{}{}:
		default:
		}
	}()
	c.mu.Lock()
	c.headers = append(c.headers, r.Header.Clone())
	answer := c.answer
	c.mu.Unlock()
	if answer != nil {
		answer(w)
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "no OTLP in protobuf", http.StatusUnsupportedMediaType)
		return
	}
	body, err := unpacked(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	spans, err := Decode(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.spans, c.bodies = append(c.spans, spans...), append(c.bodies, body)
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func unpacked(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(io.LimitReader(r.Body, maxRequest))
	}
	packed, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(packed, maxRequest))
}
