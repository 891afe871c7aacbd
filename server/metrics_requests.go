package server

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// requestMetrics count the requests to HSS one by one, retries and pages
// included, by what came of them.
type requestMetrics struct{ requests *prometheus.CounterVec }

func newRequestMetrics(registry prometheus.Registerer) *requestMetrics {
	m := &requestMetrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hssgate_hss_requests_total",
		Help: "Requests to HSS, each page, each retry and each look-up of the project ID being one, by HTTP status; none: there was no answer.",
	}, []string{"project", "code"})}
	registry.MustRegister(m.requests)
	return m
}

// wrap counts the requests of a project.
func (m *requestMetrics) wrap(project string, base http.RoundTripper) http.RoundTripper {
	return &countingTransport{metrics: m, project: project, base: base}
}

type countingTransport struct {
	metrics *requestMetrics
	project string
	base    http.RoundTripper
}

var _ http.RoundTripper = (*countingTransport)(nil)

// RoundTrip sends the request.
func (t *countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.base.RoundTrip(r)
	t.metrics.requests.WithLabelValues(t.project, codeOf(response, err)).Inc()
	return response, err
}

// CloseIdleConnections closes those of the transport that sends.
func (t *countingTransport) CloseIdleConnections() {
	(&http.Client{Transport: t.base}).CloseIdleConnections()
}

// codeOf is bounded, whatever answers.
func codeOf(response *http.Response, err error) string {
	const least, most = 100, 599
	switch {
	case err != nil:
		return "none"
	case response.StatusCode < least || response.StatusCode > most:
		return "other"
	default:
		return strconv.Itoa(response.StatusCode)
	}
}
