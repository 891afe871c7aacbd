package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// tracesPath is where a collector takes spans, below its endpoint.
const tracesPath = "/v1/traces"

const (
	// maxAnswer bounds what is read of an answer, which nobody needs.
	maxAnswer = 64 << 10
	// attempts is how often spans are sent that a collector can't take now, and
	// firstWait how long it is given, which doubles.
	attempts  = 3
	firstWait = 500 * time.Millisecond
	maxWait   = 5 * time.Second
	// quiet is how long one log line stands for all that goes wrong.
	quiet = time.Minute
)

// exporter sends spans. Its methods are called by one goroutine at a time.
type exporter struct {
	url     string
	headers func() (http.Header, error)
	client  *http.Client
	timeout time.Duration
	metrics *Metrics
	log     *slog.Logger

	loggedAt time.Time
	unlogged int
}

var _ sdktrace.SpanExporter = (*exporter)(nil)

// ExportSpans sends spans, more than once if need be. What goes wrong is logged
// and counted here: the library knows only a handler that is the same for all.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	err := e.send(ctx, request(spans))
	e.metrics.sent(len(spans), err)
	e.report(len(spans), err)
	return nil
}

// Shutdown closes connections.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

func (e *exporter) report(spans int, err error) {
	if err == nil {
		return
	}
	e.unlogged += spans
	if now := time.Now(); now.Sub(e.loggedAt) >= quiet {
		e.log.Warn("spans were not sent to the OpenTelemetry collector", "endpoint", e.url, "spans", e.unlogged, "error", err)
		e.loggedAt, e.unlogged = now, 0
	}
}

// send sends a request, again for as long as there is time if the collector
// says that it may take it later.
func (e *exporter) send(ctx context.Context, body []byte) error {
	packed, err := pack(body)
	if err != nil {
		return err
	}
	wait := firstWait
	for attempt := 1; ; attempt++ {
		err := e.post(ctx, packed)
		var busy *busyError
		if err == nil || !errors.As(err, &busy) || attempt == attempts {
			return err
		}
		timer := time.NewTimer(max(wait, min(busy.after, maxWait)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		wait *= 2
	}
}

func pack(body []byte) ([]byte, error) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(body)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("pack the spans: %w", err)
	}
	return packed.Bytes(), nil
}

// busyError says that the collector may take the spans later.
type busyError struct {
	after time.Duration
	err   error
}

func (e *busyError) Error() string { return e.err.Error() }
func (e *busyError) Unwrap() error { return e.err }

func (e *exporter) post(ctx context.Context, body []byte) error {
	headers, err := e.headers()
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	r.Header = headers
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "gzip")
	response, err := e.client.Do(r)
	if err != nil {
		return &busyError{err: err}
	}
	defer func() { _ = response.Body.Close() }()
	// What isn't read keeps the connection from being used again.
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
	return judge(response)
}

// judge makes an error of a status, by the rules of OTLP.
func judge(response *http.Response) error {
	if response.StatusCode/100 == 2 {
		return nil
	}
	err := fmt.Errorf("the collector answers %s", response.Status)
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After")) // a date, or none, is 0
		return &busyError{after: time.Duration(min(max(seconds, 0), 3600)) * time.Second, err: err}
	}
	return err
}
