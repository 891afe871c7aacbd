package tracing

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Name is the name of hssgate's instrumentation scope.
const Name = "github.com/hssgate/hssgate"

// Names of spans.
const (
	SpanReview   = "review"
	SpanDecision = "decision"
	SpanLookup   = "image look-up"
	SpanCall     = "HSS call"
)

// Start begins a span below that of the context. Without one that is recorded,
// it returns the context as it is, and a span that ignores everything.
func Start(ctx context.Context, name string) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, None()
	}
	return parent.TracerProvider().Tracer(Name).Start(ctx, name)
}

// Join returns base with the span of ctx, for work that goes on when ctx ends.
func Join(base, ctx context.Context) context.Context {
	span := trace.SpanFromContext(ctx)
	if !span.SpanContext().IsValid() {
		return base
	}
	return trace.ContextWithSpan(base, span)
}

// Link notes on the span of ctx that its work is done below another span.
func Link(ctx context.Context, to trace.SpanContext) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() && to.IsValid() && !to.Equal(span.SpanContext()) {
		span.AddLink(trace.Link{SpanContext: to})
	}
}

// Fail notes on a span what went wrong; nil is nothing.
func Fail(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		span.SetStatus(codes.Error, err.Error())
	}
}

// None is a span that ignores everything.
func None() trace.Span { return trace.SpanFromContext(nil) } //nolint:staticcheck // that of no context

// Observe counts a value with a span as its exemplar, if the span is recorded:
// one that names any other leads nowhere.
func Observe(s trace.SpanContext, in prometheus.Observer, value float64) {
	with, ok := in.(prometheus.ExemplarObserver)
	if !ok || !s.IsSampled() {
		in.Observe(value)
		return
	}
	with.ObserveWithExemplar(value, prometheus.Labels{"trace_id": s.TraceID().String(), "span_id": s.SpanID().String()})
}
