package webhook_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/hssgate/hssgate/gate"
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

func told(s *tracetest.SpanStub) map[string]string {
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
		t.Errorf("the decision is below %v, and who decides below %v", decision.Parent, below)
	}
	want := map[string]string{
		"hssgate.review.uid": "705ab4f5", "hssgate.review.operation": "CREATE", "hssgate.review.kind": "Pod", "k8s.namespace.name": "prod",
		"hssgate.review.name": "web", "hssgate.review.dry_run": "false", "hssgate.review.allowed": "false",
	}
	if diff := cmp.Diff(want, told(review)); diff != "" {
		t.Errorf("the review tells something else:\n%s", diff)
	}
	want = map[string]string{
		"hssgate.decision.outcome": "Denied", "hssgate.decision.images": "0", "hssgate.decision.policies": `["p"]`,
		"hssgate.decision.violations": `["Deny: container \"c0\": bad — severity High, allowed Medium [policy p]"]`,
	}
	if diff := cmp.Diff(want, told(decision)); diff != "" {
		t.Errorf("the decision tells something else:\n%s", diff)
	}
	if review.Status.Code != codes.Unset {
		t.Errorf("a denial is a failure: %v", review.Status)
	}
}

func TestAReviewThatCannotBeJudgedIsASpanThatFailed(t *testing.T) {
	t.Parallel()
	with, spans := traced()
	sendTraced(t, newHandler(&decider{}, with), "", []byte("{"))
	got := spans.GetSpans()
	if len(got) != 1 || got[0].Status.Code != codes.Error || got[0].Parent.IsValid() {
		t.Errorf("the spans are %+v", got)
	}
}

func TestTheAPIServerDecidesWhatIsTraced(t *testing.T) {
	t.Parallel()
	with, spans := traced()
	h := newHandler(&decider{}, with)
	body := reviewOf(t, admissionv1.Create, pod("good"), nil)
	for _, traceparent := range []string{"00-" + apiServerTrace + "-" + apiServerSpan + "-00", "00-nonsense", "", "00-" + apiServerTrace + "-" + apiServerSpan + "-01"} {
		sendTraced(t, h, traceparent, body)
	}
	// What can't be read counts as no trace, which is begun here.
	if n := len(spans.GetSpans()); n != 2*3 {
		t.Errorf("%d spans, want a review and a decision of three", n)
	}
}

func TestLatenciesNameTheTraceAsTheirExemplar(t *testing.T) {
	t.Parallel()
	with, _ := traced()
	registry := prometheus.NewRegistry()
	h := newHandler(&decider{}, with, func(o *webhook.Options) { o.Metrics = webhook.NewMetrics(registry) })
	sendTraced(t, h, "00-"+apiServerTrace+"-"+apiServerSpan+"-01", reviewOf(t, admissionv1.Create, pod("good"), nil))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, b := range m.GetHistogram().GetBucket() {
				for _, l := range b.GetExemplar().GetLabel() {
					got[f.GetName()+" "+l.GetName()] = l.GetValue()
				}
			}
		}
	}
	for _, name := range []string{"hssgate_admission_duration_seconds", "hssgate_decision_duration_seconds"} {
		if got[name+" trace_id"] != apiServerTrace || len(got[name+" span_id"]) != 16 {
			t.Errorf("the exemplars are %v", got)
		}
	}
}
