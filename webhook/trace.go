package webhook

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/tracing"
)

// What spans tell of a review and of a decision. OpenTelemetry has names of its
// own for the namespace and a pod.
const (
	uidKey       = attribute.Key("hssgate.review.uid")
	operationKey = attribute.Key("hssgate.review.operation")
	kindKey      = attribute.Key("hssgate.review.kind")
	nameKey      = attribute.Key("hssgate.review.name")
	dryRunKey    = attribute.Key("hssgate.review.dry_run")
	allowedKey   = attribute.Key("hssgate.review.allowed")
	namespaceKey = attribute.Key("k8s.namespace.name")

	outcomeKey    = attribute.Key("hssgate.decision.outcome")
	imagesKey     = attribute.Key("hssgate.decision.images")
	policiesKey   = attribute.Key("hssgate.decision.policies")
	violationsKey = attribute.Key("hssgate.decision.violations")
)

// startReview begins the span of a review, below that of the API server if it
// sends one. If nobody traces, it leaves the context alone, which has no timer
// until somebody asks it for anything.
func (h *Handler) startReview(ctx context.Context, r *http.Request) (context.Context, trace.Span) {
	if h.Tracer == nil {
		return ctx, tracing.None()
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	return h.Tracer.Start(ctx, tracing.SpanReview, trace.WithSpanKind(trace.SpanKindServer))
}

// endReview ends the span with what was answered. That an object is denied is no
// failure; that it can't be judged is one.
func endReview(span trace.Span, req *request, a *answer) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		uidKey.String(string(req.UID)), operationKey.String(string(req.Operation)), kindKey.String(req.Kind.Kind),
		namespaceKey.String(req.Namespace), nameKey.String(displayName(req)), dryRunKey.Bool(req.DryRun), allowedKey.Bool(a.allowed),
	)
	if !a.allowed && a.code != http.StatusForbidden {
		span.SetStatus(codes.Error, a.message)
	}
	span.End()
}

func (h *Handler) startDecision(ctx context.Context) (context.Context, trace.Span) {
	if h.Tracer == nil {
		return ctx, tracing.None()
	}
	return tracing.Start(ctx, tracing.SpanDecision)
}

func endDecision(span trace.Span, d *gate.Decision) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(outcomeKey.String(string(d.Outcome)), imagesKey.Int(d.Examined), policiesKey.StringSlice(d.Policies))
	if lines := d.Lines(); len(lines) > 0 {
		span.SetAttributes(violationsKey.StringSlice(lines))
	}
	span.End()
}
