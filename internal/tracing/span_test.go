package tracing_test

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/internal/tracing"
)

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
		if err := histogram.Write(&m); err != nil {
			t.Fatal(err)
		}
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
