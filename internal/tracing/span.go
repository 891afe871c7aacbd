// Package tracing follows a review through hssgate by OpenTelemetry: spans for the review, the decision,
// each image that is looked up, and each call to HSS with its request ID. It keeps no global tracer: a span
// starts below the one in the context, and without one nothing is recorded.
package tracing

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
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

// Start begins a span below the one in the context. Without a recorded one it returns the context
// unchanged, and a span that does nothing.
func Start(ctx context.Context, name string) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, noop.Span{}
	}
	return parent.TracerProvider().Tracer(Name).Start(ctx, name)
}

// Join returns base with the span of ctx, for work that outlives ctx.
func Join(base, ctx context.Context) context.Context {
	return trace.ContextWithSpan(base, trace.SpanFromContext(ctx))
}

// Link records on the span of ctx that another span covers its work.
func Link(ctx context.Context, to trace.SpanContext) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() && to.IsValid() && !to.Equal(span.SpanContext()) {
		span.AddLink(trace.Link{SpanContext: to})
	}
}

// Observe records a value with a sampled span as its exemplar.
func Observe(s trace.SpanContext, in prometheus.Observer, value float64) {
	with, ok := in.(prometheus.ExemplarObserver)
	if !ok || !s.IsSampled() {
		in.Observe(value)
		return
	}
	with.ObserveWithExemplar(value, prometheus.Labels{"trace_id": s.TraceID().String(), "span_id": s.SpanID().String()})
}
