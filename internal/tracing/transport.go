package tracing

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

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
	if err != nil {
		return nil, &safeError{err, withoutSecrets(r, err.Error())}
	}
	if id := response.Header.Get("X-Request-Id"); id != "" {
		span.SetAttributes(attribute.String("hss.request_id", withoutSecrets(r, id)))
	}
	return response, nil
}

// safeError is an error whose text a server may have chosen, without secrets.
type safeError struct {
	error

	text string
}

func (e *safeError) Error() string { return e.text }

// Unwrap returns the error itself.
func (e *safeError) Unwrap() error { return e.error }

// withoutSecrets returns a text without the credentials of the request, which a server may have repeated.
func withoutSecrets(r *http.Request, text string) string {
	for _, name := range []string{"X-Auth-Token", "X-Security-Token"} {
		secret := r.Header.Get(name)
		for _, form := range []string{secret, url.QueryEscape(secret), strings.Trim(strconv.Quote(secret), `"`)} {
			if secret != "" {
				text = strings.ReplaceAll(text, form, "[redacted]")
			}
		}
	}
	return text
}
