package webhook_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/webhook"
)

// traced is a handler's options with a tracer, and the spans that it ended.
func traced() (func(*webhook.Options), *tracetest.InMemoryExporter) {
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))
	return func(o *webhook.Options) { o.Tracer = provider.Tracer("test") }, spans
}

// sendTraced posts a review as an API server that traces does.
func sendTraced(t *testing.T, h http.Handler, traceparent string, body []byte) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/validate?timeout=10s", bytes.NewReader(body))
	if traceparent != "" {
		r.Header.Set("Traceparent", traceparent)
	}
	h.ServeHTTP(httptest.NewRecorder(), r)
}

const (
	apiServerTrace = "0af7651916cd43dd8448eb211c80319c"
	apiServerSpan  = "b7ad6b7169203331"
)

func attributes(s *tracetest.SpanStub) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

func TestAReviewAndItsDecisionAreSpansOfTheAPIServersTrace(t *testing.T) {
	t.Parallel()
	with, spans := traced()
	var below trace.SpanContext
	d := &decider{}
	d.decide = func(ctx context.Context, r gate.Request) gate.Decision {
		below = trace.SpanContextFromContext(ctx)
		return (&decider{}).Decide(ctx, r)
	}
	sendTraced(t, newHandler(d, with), "00-"+apiServerTrace+"-"+apiServerSpan+"-01", reviewOf(t, admissionv1.Create, pod("bad"), nil))
	got := spans.GetSpans()
	if len(got) != 2 {
		t.Fatalf("%d spans, want 2", len(got))
	}
	decision, review := &got[0], &got[1]
	if review.SpanContext.TraceID().String() != apiServerTrace || review.Parent.SpanID().String() != apiServerSpan || review.SpanKind != trace.SpanKindServer {
		t.Errorf("the review is %v below %v", review.SpanContext, review.Parent)
	}
	if decision.Parent.SpanID() != review.SpanContext.SpanID() || !below.Equal(decision.SpanContext) {
		t.Errorf("the decision is below %v, and the decider below %v", decision.Parent, below)
	}
	want := map[string]string{
		"hssgate.review.uid": "705ab4f5", "hssgate.review.operation": "CREATE", "hssgate.review.kind": "Pod", "k8s.namespace.name": "prod",
		"hssgate.review.name": "web", "hssgate.review.dry_run": "false", "hssgate.review.allowed": "false",
	}
	equal(t, "the attributes of the review", want, attributes(review))
	want = map[string]string{
		"hssgate.decision.outcome": "Denied", "hssgate.decision.images": "0", "hssgate.decision.policies": `["p"]`,
		"hssgate.decision.violations": `["Deny: container \"c0\": bad — severity High, allowed Medium [policy p]"]`,
	}
	equal(t, "the attributes of the decision", want, attributes(decision))
	equal(t, "the status of a denial", codes.Unset, review.Status.Code)
}

func TestTheAPIServerDecidesWhatIsTraced(t *testing.T) {
	t.Parallel()
	const parent = "00-" + apiServerTrace + "-" + apiServerSpan
	// A header that can't be read counts as none: a trace begins here.
	for traceparent, spansOfGood := range map[string]int{parent + "-00": 0, "00-nonsense": 2, "": 2, parent + "-01": 2} {
		with, spans := traced()
		sendTraced(t, newHandler(&decider{}, with), traceparent, reviewOf(t, admissionv1.Create, pod("good"), nil))
		equal(t, "spans below "+traceparent, spansOfGood, len(spans.GetSpans()))
	}
	with, spans := traced()
	sendTraced(t, newHandler(&decider{}, with), "", []byte("{"))
	if got := spans.GetSpans(); len(got) != 1 || got[0].Status.Code != codes.Error || got[0].Parent.IsValid() {
		t.Errorf("of a review that could not be evaluated the spans are %+v", got)
	}
}
