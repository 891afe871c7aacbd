package tracing

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Transport is an [http.RoundTripper] that records a span of every call to HSS. The span ends with the
// response's body. Nothing of it is sent to HSS.
type Transport struct {
	Tracer trace.Tracer
	// Project is the project's name in the configuration.
	Project string
	// Base sends the request.
	Base http.RoundTripper
}

// RoundTrip sends the request.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, span := t.Tracer.Start(r.Context(), SpanCall, trace.WithSpanKind(trace.SpanKindClient))
	if !span.IsRecording() {
		return t.Base.RoundTrip(r)
	}
	span.SetAttributes(
		attribute.String("hss.project", t.Project), attribute.String("http.request.method", r.Method),
		attribute.String("server.address", r.URL.Hostname()), attribute.String("url.full", r.URL.Redacted()),
	)
	response, err := t.Base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		span.SetStatus(codes.Error, withoutSecrets(r, err.Error()))
		span.End()
		return nil, err
	}
	span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
	if id := response.Header.Get("X-Request-Id"); id != "" {
		span.SetAttributes(attribute.String("hss.request_id", withoutSecrets(r, id)))
	}
	if response.StatusCode >= http.StatusBadRequest {
		span.SetStatus(codes.Error, "HTTP status "+strconv.Itoa(response.StatusCode))
	}
	response.Body = &body{ReadCloser: response.Body, request: r, span: span}
	return response, nil
}

// CloseIdleConnections closes the idle connections of Base.
func (t *Transport) CloseIdleConnections() {
	(&http.Client{Transport: t.Base}).CloseIdleConnections()
}

// withoutSecrets returns a text that a server may have chosen, without the credentials of the request.
func withoutSecrets(r *http.Request, text string) string {
	for _, name := range []string{"X-Auth-Token", "X-Security-Token"} {
		secret := r.Header.Get(name)
		text = redact(text, secret, url.QueryEscape(secret), strings.Trim(strconv.Quote(secret), `"`))
	}
	return text
}

func redact(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return text
}

// body ends the span when it is closed.
type body struct {
	io.ReadCloser

	request *http.Request
	span    trace.Span
}

// Read records a response that breaks off.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.span.SetStatus(codes.Error, withoutSecrets(b.request, err.Error()))
	}
	return n, err
}

// Close closes the body.
func (b *body) Close() error {
	b.span.End() // a second one does nothing
	return b.ReadCloser.Close()
}
