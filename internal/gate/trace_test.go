package gate_test

import (
	"fmt"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestEachImageThatIsLookedUpIsASpan(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")
	g, _ := newGate(t, strict("p"))
	ctx, above := tracer.Start(t.Context(), "decision")
	g.Decide(ctx, pod(swr+"clean:1", swr+"gone:1", swr+"stale:1", swr+"none:1"))
	above.End()
	got := map[string]string{}
	for _, s := range spans.GetSpans() {
		if s.Name != "image look-up" {
			continue
		}
		wantEqual(t, "parent", above.SpanContext().SpanID(), s.Parent.SpanID())
		attributes := map[string]string{}
		for _, a := range s.Attributes {
			attributes[string(a.Key)] = a.Value.String()
		}
		got[attributes["hssgate.image"]] = fmt.Sprint(attributes["hssgate.facts"], " ", attributes["hssgate.records"], attributes["hssgate.stale"], s.Status.Description)
	}
	want := map[string]string{
		swr + "clean:1": "found 1", swr + "gone:1": "unavailable 0HSS did not answer in time (2.9s)",
		swr + "stale:1": "found 1HSS did not answer in time (2.9s)", swr + "none:1": "not found 0",
	}
	wantEqual(t, "spans", want, got)
}
