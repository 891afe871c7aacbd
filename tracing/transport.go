package tracing

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Attributes of a call. Those that OpenTelemetry has names for are named so.
const (
	// RequestID is the answer's X-Request-Id.
	RequestID = attribute.Key("hss.request_id")
	// Project is the project's name in the configuration.
	Project = attribute.Key("hss.project")

	method     = attribute.Key("http.request.method")
	status     = attribute.Key("http.response.status_code")
	serverHost = attribute.Key("server.address")
	fullURL    = attribute.Key("url.full")
)

// Transport is an [http.RoundTripper] that makes a span of every call to HSS,
// below that of the request's context or, for what hssgate asks of itself, by
// itself. It sends HSS nothing of it. The span ends with the answer's body.
type Transport struct {
	Tracer trace.Tracer
	// Project is the name of the project that is asked.
	Project string
	// Base sends the request.
	Base http.RoundTripper
}

var _ http.RoundTripper = (*Transport)(nil)

// RoundTrip sends the request.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, span := t.Tracer.Start(r.Context(), SpanCall, trace.WithSpanKind(trace.SpanKindClient))
	if !span.IsRecording() {
		return t.Base.RoundTrip(r)
	}
	// What is secret of a request, its signature or token, is in its header.
	span.SetAttributes(Project.String(t.Project), method.String(r.Method), serverHost.String(r.URL.Hostname()), fullURL.String(r.URL.Redacted()))
	response, err := t.Base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		Fail(span, errors.New(withoutSecrets(r, err.Error())))
		span.End()
		return nil, err
	}
	span.SetAttributes(status.Int(response.StatusCode))
	if id := response.Header.Get("X-Request-Id"); id != "" {
		span.SetAttributes(RequestID.String(withoutSecrets(r, id)))
	}
	if response.StatusCode >= http.StatusBadRequest {
		span.SetStatus(codes.Error, "HTTP status "+strconv.Itoa(response.StatusCode))
	}
	response.Body = &body{ReadCloser: response.Body, request: r, span: span}
	return response, nil
}

// withoutSecrets returns a text that a server may have chosen, without the
// credentials of the request.
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

// body ends the span when it is closed.
type body struct {
	io.ReadCloser

	request *http.Request
	span    trace.Span
	once    sync.Once
}

// Read notes an answer that breaks off.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		Fail(b.span, errors.New(withoutSecrets(b.request, err.Error())))
	}
	return n, err
}

// Close closes the body.
func (b *body) Close() error {
	b.once.Do(func() { b.span.End() })
	return b.ReadCloser.Close()
}

// CloseIdleConnections closes those of Base.
func (t *Transport) CloseIdleConnections() {
	(&http.Client{Transport: t.Base}).CloseIdleConnections()
}
