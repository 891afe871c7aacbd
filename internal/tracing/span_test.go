package tracing_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// tree is each span's name below that of its parent.
func tree(spans *tracetest.InMemoryExporter) map[string]string {
	names, below := map[trace.SpanID]string{}, map[string]string{}
	for _, s := range spans.GetSpans() {
		names[s.SpanContext.SpanID()] = s.Name
	}
	for _, s := range spans.GetSpans() {
		below[s.Name] = names[s.Parent.SpanID()]
	}
	return below
}

func TestASpanIsBegunBelowThatOfTheContext(t *testing.T) {
	t.Parallel()
	tracer, spans := recorded(t, sdktrace.AlwaysSample())
	ctx, first := tracer.Start(t.Context(), "first")
	ctx, second := tracing.Start(ctx, "second")
	_, third := tracing.Start(ctx, "third")
	for _, s := range []trace.Span{third, second, first} {
		s.End()
	}
	if diff := cmp.Diff(map[string]string{"first": "", "second": "first", "third": "second"}, tree(spans)); diff != "" {
		t.Error(diff)
	}
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

func TestWorkThatGoesOnKeepsTheTraceButNotTheEnd(t *testing.T) {
	t.Parallel()
	tracer, _ := recorded(t, sdktrace.AlwaysSample())
	ctx, cancel := context.WithCancel(t.Context())
	ctx, first := tracer.Start(ctx, "first")
	later := tracing.Join(context.Background(), ctx)
	cancel()
	first.End()
	if later.Err() != nil {
		t.Errorf("it ended: %v", later.Err())
	}
	if got := trace.SpanContextFromContext(later); !got.Equal(first.SpanContext()) {
		t.Errorf("the span is %v, want %v", got, first.SpanContext())
	}
}

func TestALinkNamesTheSpanThatDoesTheWork(t *testing.T) {
	t.Parallel()
	tracer, spans := recorded(t, sdktrace.AlwaysSample())
	_, worker := tracer.Start(t.Context(), "worker")
	ctx, waiter := tracer.Start(t.Context(), "waiter")
	tracing.Link(ctx, worker.SpanContext())
	tracing.Link(ctx, waiter.SpanContext()) // itself
	waiter.End()
	got := spans.GetSpans()[0]
	if len(got.Links) != 1 || !got.Links[0].SpanContext.Equal(worker.SpanContext()) {
		t.Errorf("the links are %v", got.Links)
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
