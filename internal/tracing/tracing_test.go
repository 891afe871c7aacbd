package tracing_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/internal/tracing"
)

// answering is a transport that answers what it is told to, and keeps the request.
type answering struct {
	response *http.Response
	err      error
	request  *http.Request
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.request = r
	return a.response, a.err
}

func answer(status int, body io.Reader) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"X-Request-Id": {"abc-123"}}, Body: io.NopCloser(body)}
}

func TestACallToHSSIsASpan(t *testing.T) {
	t.Parallel()
	//nolint:bodyclose // each is closed below
	for name, tt := range map[string]struct {
		answering
		status string // of the span
		has    map[string]string
	}{
		"a list":                {answering{response: answer(200, strings.NewReader("{}"))}, "", map[string]string{"hss.request_id": "abc-123", "http.response.status_code": "200"}},
		"a refusal":             {answering{response: answer(401, strings.NewReader("{}"))}, "401", map[string]string{"hss.request_id": "abc-123", "http.response.status_code": "401"}},
		"an answer that breaks": {answering{response: answer(200, iotest.ErrReader(errors.New("connection reset")))}, "connection reset", map[string]string{"hss.request_id": "abc-123"}},
		"no answer":             {answering{err: errors.New("no such host")}, "no such host", map[string]string{}},
		"an echo":               {answering{err: errors.New(`malformed HTTP response "secret-token"`)}, `malformed HTTP response "[redacted]"`, map[string]string{}},
		"an echoed id":          {answering{response: &http.Response{StatusCode: 200, Header: http.Header{"X-Request-Id": {"secret-token"}}, Body: http.NoBody}}, "", map[string]string{"hss.request_id": "[redacted]"}},
	} {
		spans := tracetest.NewInMemoryExporter()
		transport := tracing.NewTransport(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), "main", &tt.answering)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://hss.example.com/v5/p/image?image_name=app", http.NoBody)
		must(t, err)
		r.Header.Set("Authorization", "SDK-HMAC-SHA256 secret")
		r.Header.Set("X-Auth-Token", "secret-token")
		before := r.Header.Clone()
		response, err := transport.RoundTrip(r)
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: error %v", name, err)
		}
		if response != nil {
			if n := len(spans.GetSpans()); n > 0 {
				t.Errorf("%s: the span has ended before the body", name)
			}
			_, _ = io.ReadAll(response.Body)
			_, _ = response.Body.Close(), response.Body.Close()
		}
		if diff := cmp.Diff(before, tt.request.Header); diff != "" {
			t.Errorf("%s: HSS is told more:\n%s", name, diff)
		}
		tt.has["hss.project"], tt.has["server.address"], tt.has["http.request.method"] = "main", "hss.example.com", "GET"
		tt.has["url.full"] = "https://hss.example.com/v5/p/image?image_name=app"
		if n := len(spans.GetSpans()); n != 1 {
			t.Fatalf("%s: %d spans, want 1", name, n)
		}
		span, told := spans.GetSpans()[0], map[string]string{}
		for _, a := range span.Attributes {
			if told[string(a.Key)] = a.Value.String(); strings.Contains(a.Value.String(), "secret") {
				t.Errorf("%s: a secret is told: %s", name, a.Value.String())
			}
		}
		for key, want := range tt.has {
			if told[key] != want {
				t.Errorf("%s: %s is %q, want %q", name, key, told[key], want)
			}
		}
		if s := span.Status; s.Description != strings.TrimPrefix(tt.status, "401") || (s.Code == codes.Error) != (tt.status != "") {
			t.Errorf("%s: the status is %+v, want %q", name, s, tt.status)
		}
	}
}

// recorded is a tracer and the spans that it has ended.
func recorded(t *testing.T, sampler sdktrace.Sampler) (trace.Tracer, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sampler))
	return provider.Tracer(tracing.Name), spans
}

func TestWhereThereIsNoTraceNothingIsTraced(t *testing.T) {
	t.Parallel()
	never, spans := recorded(t, sdktrace.NeverSample())
	unsampled, first := never.Start(t.Context(), "first")
	first.End()
	remote := trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	}))
	for name, ctx := range map[string]context.Context{"no span": t.Context(), "one that isn't recorded": unsampled, "only one elsewhere": remote} {
		got, span := tracing.Start(ctx, "second")
		tracing.Link(ctx, trace.SpanContext{})
		span.End()
		if got != ctx || span.IsRecording() || span.SpanContext().IsValid() {
			t.Errorf("%s: there is a span: %v", name, span.SpanContext())
		}
	}
	if n := len(spans.GetSpans()); n > 0 {
		t.Errorf("%d spans are recorded", n)
	}
}

func TestAnExemplarNamesTheTrace(t *testing.T) {
	t.Parallel()
	always, _ := recorded(t, sdktrace.AlwaysSample())
	never, _ := recorded(t, sdktrace.NeverSample())
	_, sampled := always.Start(t.Context(), "span")
	_, unsampled := never.Start(t.Context(), "span")
	for name, tt := range map[string]struct {
		span trace.SpanContext
		want string
	}{
		"a span that is recorded": {sampled.SpanContext(), sampled.SpanContext().TraceID().String()},
		"one that is not":         {unsampled.SpanContext(), ""},
		"none":                    {},
	} {
		histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", Buckets: []float64{1}})
		tracing.Observe(tt.span, histogram, 0.5)
		var m dto.Metric
		must(t, histogram.Write(&m))
		bucket, got := m.GetHistogram().GetBucket()[0], ""
		for _, label := range bucket.GetExemplar().GetLabel() {
			if label.GetName() == "trace_id" {
				got = label.GetValue()
			}
		}
		if got != tt.want || bucket.GetCumulativeCount() != 1 {
			t.Errorf("%s: the exemplar is %q in %v, want %q", name, got, bucket, tt.want)
		}
	}
}
