package webhook

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/tracing"
)

// startReview starts the span of a review, below that of the API server if it
// sends one. Without a tracer there are no spans.
func startReview(ctx context.Context, tracer trace.Tracer, r *http.Request) (context.Context, trace.Span) {
	if tracer == nil {
		return ctx, noop.Span{}
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	return tracer.Start(ctx, tracing.SpanReview, trace.WithSpanKind(trace.SpanKindServer))
}

// endReview ends the span of a review. A denial is no error.
func endReview(span trace.Span, req *request, a *response) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attribute.String("hssgate.review.uid", string(req.UID)), attribute.String("hssgate.review.operation", string(req.Operation)),
		attribute.String("hssgate.review.kind", req.Kind.Kind), attribute.String("k8s.namespace.name", req.Namespace),
		attribute.String("hssgate.review.name", displayName(req)), attribute.Bool("hssgate.review.dry_run", req.DryRun),
		attribute.Bool("hssgate.review.allowed", a.Allowed),
	)
	if !a.Allowed && a.Result.Code != http.StatusForbidden {
		span.SetStatus(codes.Error, a.Result.Message)
	}
}

func endDecision(span trace.Span, d *gate.Decision) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attribute.String("hssgate.decision.outcome", string(d.Outcome)), attribute.Int("hssgate.decision.images", d.Examined),
		attribute.StringSlice("hssgate.decision.policies", d.Policies),
	)
	if lines := d.Lines(); len(lines) > 0 {
		span.SetAttributes(attribute.StringSlice("hssgate.decision.violations", lines))
	}
}
