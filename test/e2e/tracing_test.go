package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// collector is an OpenTelemetry collector that keeps spans.
type collector struct {
	mu    sync.Mutex
	spans []*tracev1.Span
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collectorv1.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &request) != nil {
		http.Error(w, "not OTLP in protobuf", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range request.GetResourceSpans() {
		if attributes := attributesOf(of.GetResource().GetAttributes()); !strings.Contains(attributes, " service.name=hssgate ") {
			continue
		}
		for _, scope := range of.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
}

// attributesOf returns attributes as one text, " KEY=VALUE KEY=VALUE ".
func attributesOf(list []*commonv1.KeyValue) string {
	text := " "
	for _, a := range list {
		value := a.GetValue().String()
		if array := a.GetValue().GetArrayValue(); array != nil {
			value = fmt.Sprint(array.GetValues())
		}
		_, value, _ = strings.Cut(value, ":")
		text += a.GetKey() + "=" + strings.Trim(value, `"]`) + " "
	}
	return text
}

// below returns the spans whose parent has an ID, and those below them, each as a
// name with its attributes, the outer ones first.
func (c *collector) below(parent []byte) []string {
	c.mu.Lock()
	spans := slices.Clone(c.spans)
	c.mu.Unlock()
	var texts []string
	for _, s := range spans {
		if slices.Equal(s.GetParentSpanId(), parent) {
			texts = append(texts, s.GetName()+":"+attributesOf(s.GetAttributes()))
			texts = append(texts, c.below(s.GetSpanId())...)
		}
	}
	return texts
}

// reviewOf returns the span of a pod's review, once it and all below it have come.
func (c *collector) reviewOf(t *testing.T, pod string) (review *tracev1.Span) {
	t.Helper()
	eventually(t, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, review = range c.spans {
			attributes := attributesOf(review.GetAttributes())
			if review.GetName() == "review" && strings.Contains(attributes, " hssgate.review.name="+pod+" ") && strings.Contains(attributes, " hssgate.review.dry_run=false ") {
				return nil
			}
		}
		return fmt.Errorf("none of %d spans is of the review", len(c.spans))
	})
	return review
}

// testTracing follows a pod's review through a gate that traces all of them.
func testTracing(t *testing.T, f *fixture) {
	c := &collector{}
	collecting := httptest.NewServer(c)
	t.Cleanup(collecting.Close)
	server := newHSS(t)
	g := newGate(t, f.cluster, setup{name: "traced", projects: map[string]*hsstest.Server{"main": server}, environment: []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + collecting.URL, "OTEL_EXPORTER_OTLP_HEADERS=authorization=" + secretKey, "OTEL_BSP_SCHEDULE_DELAY=200",
	}})
	const image = "main.example.com/prod/traced:1"
	add(server, row("traced", high))
	s := g.newSpace(t)
	s.enforce(t, "p")
	s.denied(t, s.run(t, newPod("web", image)), `pod "web"`, []string{highLine(s, image)}, adviseRebuild)

	review := c.reviewOf(t, "web")
	got := append([]string{"review:" + attributesOf(review.GetAttributes())}, c.below(review.GetSpanId())...)
	for i, want := range [][]string{
		{"review:", " k8s.namespace.name=" + s.name + " ", " hssgate.review.operation=CREATE ", " hssgate.review.allowed=false "},
		{"decision:", " hssgate.decision.outcome=Denied ", " hssgate.decision.images=1 ", s.name + "-p"},
		{"image look-up:", " hssgate.image=" + image + " ", " hssgate.facts=found ", " hssgate.records=1 "},
		{"", " hss.project=main ", " http.response.status_code=200 ", " hss.request_id="}, // a call
	} {
		for _, text := range want {
			if len(got) <= i || !strings.Contains(got[i], text) {
				t.Fatalf("got spans\n%s\nwant in number %d: %s", strings.Join(got, "\n"), i, text)
			}
		}
	}
}
