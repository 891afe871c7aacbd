package gate

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// What the span of a look-up tells.
const (
	imageKey   = attribute.Key("hssgate.image")
	factsKey   = attribute.Key("hssgate.facts")
	recordsKey = attribute.Key("hssgate.records")
	staleKey   = attribute.Key("hssgate.stale")
)

// endLookup ends the span of a look-up with what came of it.
func endLookup(span trace.Span, ref *image.Reference, f *policy.Facts) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(imageKey.String(ref.String()), factsKey.String(stateName(f.State)), recordsKey.Int(len(f.Records)))
	if f.Stale {
		span.SetAttributes(staleKey.String(f.StaleReason))
	}
	if f.State == policy.StateUnavailable {
		span.SetStatus(codes.Error, f.Reason)
	}
	span.End()
}

func stateName(s policy.State) string {
	switch s {
	case policy.StateFound:
		return "found"
	case policy.StateNotFound:
		return "not found"
	default:
		return "unavailable"
	}
}
