package server

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// roundTripper answers with a status; 0: not at all.
type roundTripper int

func (s roundTripper) RoundTrip(*http.Request) (*http.Response, error) {
	if s == 0 {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: int(s), Body: http.NoBody}, nil
}

func TestRequestsToHSSAreCountedByTheirStatus(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	m := newRequestMetrics(registry)
	for _, status := range []roundTripper{200, 200, 429, 0, 999} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://hss.example.com/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := m.wrap("bj4", status).RoundTrip(r)
		if (err != nil) != (status == 0) {
			t.Errorf("%d: %v", status, err)
		}
		if response != nil {
			_ = response.Body.Close()
		}
	}
	want := []string{
		"hssgate_hss_requests_total{code=200,project=bj4} 2", "hssgate_hss_requests_total{code=429,project=bj4} 1",
		"hssgate_hss_requests_total{code=none,project=bj4} 1", "hssgate_hss_requests_total{code=other,project=bj4} 1",
	}
	if diff := cmp.Diff(want, gathered(t, registry)); diff != "" {
		t.Error(diff)
	}
}
