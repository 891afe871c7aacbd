package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/tracing/otlp/otlptest"
)

// testTracing follows a pod's review through a gate that traces all of them.
func testTracing(t *testing.T, f *fixture) {
	c := otlptest.NewCollector()
	t.Cleanup(c.Close)
	server := newHSS(t)
	g := newGate(t, f.cluster, setup{name: "traced", projects: map[string]*hsstest.Server{"main": server}, tracing: "endpoint: " + c.URL + ", samplingRatio: 1"})
	add(server, row("traced", high))
	s := g.newSpace(t)
	s.enforce(t, "p")
	s.denied(t, s.run(t, newPod("web", "main.example.com/prod/traced:1")), `pod "web"`, []string{highLine(s, "main.example.com/prod/traced:1")}, adviseRebuild)

	var review otlptest.Span
	eventually(t, func() (err error) {
		review, err = reviewOf(c.Spans(), "web")
		return err
	})
	spans := c.Spans()
	decision := only(t, review.Below(spans), "decision")
	lookup := only(t, decision.Below(spans), "image look-up")
	t.Log("each tells what it is about")
	tells(t, &review, map[string]string{"k8s.namespace.name": s.name, "hssgate.review.operation": "CREATE", "hssgate.review.allowed": "false"})
	tells(t, &decision, map[string]string{"hssgate.decision.outcome": "Denied", "hssgate.decision.images": "1", "hssgate.decision.policies": s.name + "-p"})
	tells(t, &lookup, map[string]string{"hssgate.image": "main.example.com/prod/traced:1", "hssgate.facts": "found", "hssgate.records": "1"})
	calls := lookup.Below(spans)
	if len(calls) == 0 {
		t.Fatal("no call to HSS is traced")
	}
	for _, call := range calls {
		if id := call.Attributes["hss.request_id"]; call.Kind != 3 || !regexp.MustCompile("^[0-9a-f]{32}$").MatchString(id) {
			t.Errorf("a call tells %v", call.Attributes)
		}
		tells(t, &call, map[string]string{"hss.project": "main", "http.response.status_code": "200"})
	}
	if name := review.Resource["service.name"]; name != "hssgate" {
		t.Errorf("the service is %q", name)
	}
	g.checkExemplars(t)
	checkTracesAreOptional(t, s, c)
}

// reviewOf is the span of a pod's review, once all below it has come.
func reviewOf(spans []otlptest.Span, pod string) (otlptest.Span, error) {
	for _, one := range spans {
		if one.Name == "review" && one.Attributes["hssgate.review.name"] == pod && one.Attributes["hssgate.review.dry_run"] == "false" {
			return one, nil
		}
	}
	return otlptest.Span{}, fmt.Errorf("none of %d spans is of the review", len(spans))
}

func only(t *testing.T, spans []otlptest.Span, name string) otlptest.Span {
	t.Helper()
	if len(spans) != 1 || spans[0].Name != name {
		t.Fatalf("below it are %+v, want one %s", spans, name)
	}
	return spans[0]
}

func tells(t *testing.T, span *otlptest.Span, want map[string]string) {
	t.Helper()
	for key, value := range want {
		if got := span.Attributes[key]; got != value {
			t.Errorf("%s: %s is %q, want %q", span.Name, key, got, value)
		}
	}
}

// checkExemplars looks for exemplars in what Prometheus would read.
func (g *gate) checkExemplars(t *testing.T) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.metrics+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	scraped, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hssgate_admission_duration_seconds", "hssgate_decision_duration_seconds", "hssgate_hss_lookup_duration_seconds"} {
		if !regexp.MustCompile(`(?m)^` + name + `_bucket\{.*\} \d+ # \{.*trace_id="[0-9a-f]{32}".*\}`).Match(scraped) {
			t.Errorf("%s has no exemplar", name)
		}
	}
}

// checkTracesAreOptional has the collector hang: reviews go on as before.
func checkTracesAreOptional(t *testing.T, s *space, c *otlptest.Collector) {
	t.Helper()
	hang, release := context.WithCancel(t.Context())
	defer release()
	c.Answer(func(http.ResponseWriter) { <-hang.Done() })
	for n := range 20 {
		if err := s.try(t, newPod(fmt.Sprintf("web-%d", n), "main.example.com/prod/traced:1")); err == nil || !strings.Contains(err.Error(), "severity High") {
			t.Fatalf("while the collector hangs: %v", err)
		}
	}
}
