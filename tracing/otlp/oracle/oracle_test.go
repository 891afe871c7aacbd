package oracle_test

import (
	"context"
	"encoding/hex"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/hssgate/hssgate/tracing/otlp"
	"github.com/hssgate/hssgate/tracing/otlp/otlptest"
)

// record makes spans that tell everything that a span can. Their ids and times
// are made up anew each time.
func record(tracer, other trace.Tracer) {
	state, _ := trace.ParseTraceState("vendor=value")
	above := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{4, 5, 6}, TraceFlags: trace.FlagsSampled, TraceState: state, Remote: true,
	})
	ctx, first := tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), above), "review", trace.WithSpanKind(trace.SpanKindServer))
	first.SetAttributes(attribute.String("text", "grün"), attribute.String("empty", ""), attribute.Bool("no", false), attribute.Bool("yes", true),
		attribute.Int("negative", -1), attribute.Int64("large", 1<<62), attribute.Float64("part", 0.125), attribute.StringSlice("list", []string{"a", "", "b"}),
		attribute.StringSlice("none", nil))
	_, second := other.Start(ctx, "call", trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(trace.Link{SpanContext: above, Attributes: []attribute.KeyValue{attribute.Int("n", 1)}}))
	second.AddEvent("event", trace.WithAttributes(attribute.String("a", "b")), trace.WithTimestamp(time.Unix(1, 2)))
	second.SetStatus(codes.Error, "broken")
	second.End()
	_, third := tracer.Start(ctx, "well")
	third.SetStatus(codes.Ok, "")
	third.End()
	first.End()
}

func requestOf(t *testing.T, c *otlptest.Collector) *collectorpb.ExportTraceServiceRequest {
	t.Helper()
	all := &collectorpb.ExportTraceServiceRequest{}
	for _, body := range c.Bodies() {
		one := &collectorpb.ExportTraceServiceRequest{}
		if err := (proto.UnmarshalOptions{}).Unmarshal(body, one); err != nil {
			t.Fatal(err)
		}
		if n := len(one.ProtoReflect().GetUnknown()); n > 0 {
			t.Errorf("%d bytes are of unknown fields", n)
		}
		all.ResourceSpans = append(all.ResourceSpans, one.GetResourceSpans()...)
	}
	return all
}

// TestBothExportersSendTheSame sends the same spans by both exporters, each to a
// collector of its own.
func TestBothExportersSendTheSame(t *testing.T) {
	t.Parallel()
	ours, theirs := otlptest.NewCollector(), otlptest.NewCollector()
	defer ours.Close()
	defer theirs.Close()
	official, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(theirs.URL+"/v1/traces"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := otlp.NewExporter(otlp.Options{Endpoint: ours.URL, Timeout: 10 * time.Second, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	of := resource.NewWithAttributes("https://opentelemetry.io/schemas/1.0.0", attribute.String("service.name", "hssgate"))
	limits := sdktrace.NewSpanLimits()
	limits.AttributeCountLimit = 8 // one less than there are
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(official), sdktrace.WithBatcher(own), sdktrace.WithResource(of), sdktrace.WithRawSpanLimits(limits))
	record(provider.Tracer("one", trace.WithInstrumentationVersion("v1"), trace.WithSchemaURL("https://example.com/schema")), provider.Tracer("other"))
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	want, got := requestOf(t, theirs), requestOf(t, ours)
	if n := len(want.GetResourceSpans()); n != 1 {
		t.Fatalf("the official exporter sends %d resources", n)
	}
	sorted := protocmp.SortRepeated(func(a, b *tracepb.ScopeSpans) bool { return a.GetScope().GetName() < b.GetScope().GetName() })
	if diff := cmp.Diff(want, got, protocmp.Transform(), sorted); diff != "" {
		t.Errorf("-official +ours:\n%s", diff)
	}
	compareDecoded(t, got, ours.Spans())
}

// compareDecoded checks that the collector for tests reads what the official
// types read.
func compareDecoded(t *testing.T, request *collectorpb.ExportTraceServiceRequest, got []otlptest.Span) {
	t.Helper()
	var want []otlptest.Span
	for _, r := range request.GetResourceSpans() {
		for _, scope := range r.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				one := otlptest.Span{
					TraceID: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
					Name: s.GetName(), Kind: int(s.GetKind()), Start: s.GetStartTimeUnixNano(), End: s.GetEndTimeUnixNano(),
					Attributes: texts(s.GetAttributes()), Resource: texts(r.GetResource().GetAttributes()),
					Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR, Message: s.GetStatus().GetMessage(),
				}
				for _, l := range s.GetLinks() {
					one.Links = append(one.Links, hex.EncodeToString(l.GetSpanId()))
				}
				want = append(want, one)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the collector for tests reads something else:\n%s", diff)
	}
}

func texts(all []*commonpb.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range all {
		m[a.GetKey()] = text(a.GetValue())
	}
	return m
}

func text(v *commonpb.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	case *commonpb.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *commonpb.AnyValue_DoubleValue:
		return strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
	case *commonpb.AnyValue_ArrayValue:
		var all []string
		for _, one := range v.ArrayValue.GetValues() {
			all = append(all, text(one))
		}
		return strings.Join(all, ",")
	}
	return ""
}
