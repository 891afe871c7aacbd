package gate_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
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
		if s.Parent.SpanID() != above.SpanContext().SpanID() {
			t.Errorf("it is below %v", s.Parent)
		}
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
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
