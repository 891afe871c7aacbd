package tracing

import (
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// NewTransport returns base with a span of every call to HSS for a project. The span ends with the response's
// body. Nothing of it is sent to HSS.
func NewTransport(provider trace.TracerProvider, project string, base http.RoundTripper) http.RoundTripper {
	return otelhttp.NewTransport(&call{base, project},
		otelhttp.WithTracerProvider(provider),
		otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator()),
		otelhttp.WithSpanNameFormatter(func(string, *http.Request) string { return SpanCall }),
	)
}

// call adds to a span what only calls to HSS have.
type call struct {
	http.RoundTripper

	project string
}

// RoundTrip sends the request.
func (c *call) RoundTrip(r *http.Request) (*http.Response, error) {
	span := trace.SpanFromContext(r.Context())
	span.SetAttributes(attribute.String("hss.project", c.project))
	response, err := c.RoundTripper.RoundTrip(r)
	if err == nil {
		span.SetAttributes(attribute.String("hss.request_id", response.Header.Get("X-Request-Id")))
	}
	return response, err
}
