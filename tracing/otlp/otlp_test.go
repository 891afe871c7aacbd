package otlp_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/tracing"
	"github.com/hssgate/hssgate/tracing/otlp"
	"github.com/hssgate/hssgate/tracing/otlp/otlptest"
)

// log is a log that several goroutines may write.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// sending is a provider that sends to a collector, and what it says of it.
type sending struct {
	*otlp.Provider

	log      *log
	registry *prometheus.Registry
}

func newSending(t *testing.T, endpoint string, change ...func(*otlp.Options)) *sending {
	t.Helper()
	s := &sending{log: &log{}, registry: prometheus.NewPedanticRegistry()}
	o := otlp.Options{
		Endpoint: endpoint, SamplingRatio: 1, Timeout: 10 * time.Second, Delay: 10 * time.Millisecond, Version: "v1.2.3", Instance: "pod-1",
		Metrics: otlp.NewMetrics(s.registry), Log: slog.New(slog.NewTextHandler(s.log, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	if s.Provider, err = otlp.New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return s
}

// end sends what waits.
func (s *sending) end(t *testing.T) {
	t.Helper()
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// counted is how many spans were sent with an outcome.
func (s *sending) counted(t *testing.T, outcome string) float64 {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == outcome {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func collector(t *testing.T) *otlptest.Collector {
	t.Helper()
	c := otlptest.NewCollector()
	t.Cleanup(c.Close)
	return c
}

func TestACollectorGetsWhatASpanTells(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=hssgate-0")
	c := collector(t)
	s := newSending(t, c.URL+"/")
	ctx, first := s.Tracer().Start(t.Context(), "first", trace.WithSpanKind(trace.SpanKindServer))
	first.SetAttributes(attribute.String("text", "a\xffb"), attribute.Bool("yes", true), attribute.Int("many", -5), attribute.Float64("part", 0.25),
		attribute.StringSlice("list", []string{"a", "b"}), attribute.String("empty", ""), attribute.String("long", strings.Repeat("x", 5000)))
	_, second := tracing.Start(ctx, "second")
	second.AddLink(trace.Link{SpanContext: first.SpanContext()})
	second.AddEvent("event", trace.WithAttributes(attribute.String("a", "b")))
	second.SetStatus(codes.Error, "broken")
	second.End()
	first.End()
	s.end(t)

	id := func(of trace.Span) string { return of.SpanContext().SpanID().String() }
	resource := map[string]string{
		"service.name": "hssgate", "service.version": "v1.2.3", "service.instance.id": "pod-1", "k8s.pod.name": "hssgate-0",
		"telemetry.sdk.language": "go", "telemetry.sdk.name": "opentelemetry",
	}
	want := []otlptest.Span{
		{
			TraceID: first.SpanContext().TraceID().String(), ID: id(second), Parent: id(first), Name: "second", Kind: 1,
			Attributes: map[string]string{}, Links: []string{id(first)}, Failed: true, Message: "broken", Resource: resource,
		},
		{
			TraceID: first.SpanContext().TraceID().String(), ID: id(first), Name: "first", Kind: 2, Resource: resource,
			Attributes: map[string]string{
				"text": "a�b", "yes": "true", "many": "-5", "part": "0.25", "list": "a,b", "empty": "", "long": strings.Repeat("x", 4096),
			},
		},
	}
	got := c.Spans()
	ignored := cmpopts.IgnoreMapEntries(func(key, _ string) bool { return key == "telemetry.sdk.version" })
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(otlptest.Span{}, "Start", "End"), ignored); diff != "" {
		t.Error(diff)
	}
	for _, span := range got {
		if span.Start == 0 || span.End < span.Start {
			t.Errorf("%s lasts from %d to %d", span.Name, span.Start, span.End)
		}
	}
	if n := s.counted(t, "success"); n != 2 {
		t.Errorf("%v spans are counted, want 2", n)
	}
}

func TestWhoeverBeganATraceDecidesWhetherItIsRecorded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ratio float64
		flags trace.TraceFlags
		begun bool
		want  int
	}{
		"it begins here, and all are recorded":          {ratio: 1, want: 1},
		"it begins here, and none is recorded":          {ratio: 0, want: 0},
		"it is recorded elsewhere, though none is here": {ratio: 0, begun: true, flags: trace.FlagsSampled, want: 1},
		"it isn't recorded elsewhere, though all are":   {ratio: 1, begun: true, want: 0},
	} {
		c := collector(t)
		s := newSending(t, c.URL, func(o *otlp.Options) { o.SamplingRatio = tt.ratio })
		ctx := t.Context()
		if tt.begun {
			ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: tt.flags}))
		}
		_, span := s.Tracer().Start(ctx, "span")
		span.End()
		s.end(t)
		if got := len(c.Spans()); got != tt.want {
			t.Errorf("%s: %d spans, want %d", name, got, tt.want)
		}
	}
}

// one sends one span.
func (s *sending) one(t *testing.T) {
	t.Helper()
	_, span := s.Tracer().Start(t.Context(), "span")
	span.End()
}

func TestACollectorThatIsBusyIsAskedAgain(t *testing.T) {
	t.Parallel()
	c := collector(t)
	c.Answer(func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusServiceUnavailable)
		c.Answer(nil)
	})
	s := newSending(t, c.URL)
	s.one(t)
	s.end(t)
	if len(c.Spans()) != 1 || len(c.Headers()) != 2 || s.log.String() != "" {
		t.Errorf("%d spans in %d requests; the log says %q", len(c.Spans()), len(c.Headers()), s.log)
	}
}

func TestWhatACollectorRefusesIsDroppedWithAWord(t *testing.T) {
	t.Parallel()
	c := collector(t)
	c.Answer(func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) })
	s := newSending(t, c.URL)
	for range 3 {
		s.one(t)
		<-c.Arrived()
	}
	s.end(t)
	if n := len(c.Headers()); n != 3 {
		t.Errorf("%d requests, want 3: none again", n)
	}
	logged := s.log.String()
	if strings.Count(logged, "\n") != 1 || !strings.Contains(logged, "the collector answers 401 Unauthorized") || !strings.Contains(logged, "level=WARN") {
		t.Errorf("the log says %q", logged)
	}
	if n := s.counted(t, "failure"); n != 3 {
		t.Errorf("%v spans are counted as lost, want 3", n)
	}
}

func TestNobodyWaitsForACollector(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	c := collector(t)
	c.Answer(func(http.ResponseWriter) { <-hang })
	defer close(hang)
	s := newSending(t, c.URL)
	// Were anything to wait for the collector, this would not come to its end.
	for range 20000 {
		s.one(t)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); err == nil {
		t.Error("what was not sent is not told of in the end")
	}
}

func TestHeadersComeFromAFileAndGoNowhereElse(t *testing.T) {
	t.Parallel()
	c := otlptest.NewTLSCollector()
	defer c.Close()
	elsewhere := collector(t)
	dir := t.TempDir()
	headers, authority := filepath.Join(dir, "headers"), filepath.Join(dir, "ca.crt")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(headers, "# the collector's\n\nAuthorization: Bearer first\nX-Scope-OrgID:  tenant:1 \n")
	write(authority, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})))
	s := newSending(t, c.URL, func(o *otlp.Options) { o.HeadersFile, o.CAFile = headers, authority })
	s.one(t)
	<-c.Arrived()
	write(headers, "Authorization: Bearer second")
	c.Answer(func(w http.ResponseWriter) {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	s.one(t)
	<-c.Arrived()
	write(headers, "Bearer second")
	s.one(t)
	s.end(t)
	all := c.Headers()
	if len(all) != 2 || all[0].Get("Authorization") != "Bearer first" || all[0].Get("X-Scope-Orgid") != "tenant:1" || all[1].Get("Authorization") != "Bearer second" {
		t.Errorf("the headers are %v", all)
	}
	if n := len(elsewhere.Headers()); n > 0 {
		t.Errorf("%d requests followed a redirect", n)
	}
	if strings.Contains(s.log.String(), "second") {
		t.Errorf("the log has a secret: %s", s.log)
	}
	if n := s.counted(t, "failure"); n != 2 {
		t.Errorf("%v spans are lost, want 2", n)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty, bad := filepath.Join(dir, "empty"), filepath.Join(dir, "bad")
	for path, text := range map[string]string{empty: "", bad: "Fine: 1\nAuthorization Bearer s3cret\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		change func(*otlp.Options)
		want   string
	}{
		"no file of headers":     {func(o *otlp.Options) { o.HeadersFile = filepath.Join(dir, "none") }, "read headersFile"},
		"a line that is none":    {func(o *otlp.Options) { o.HeadersFile = bad }, "line 2: it must be a header"},
		"no file of authorities": {func(o *otlp.Options) { o.CAFile = filepath.Join(dir, "none") }, "read caFile"},
		"no certificate in it":   {func(o *otlp.Options) { o.CAFile = empty }, "holds no PEM certificate"},
		"no address":             {func(o *otlp.Options) { o.Endpoint = "http://[" }, "endpoint"},
	} {
		o := otlp.Options{Endpoint: "https://collector.example.com", Log: slog.New(slog.DiscardHandler)}
		tt.change(&o)
		_, err := otlp.New(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
	}
}
