package otlp

import (
	"encoding/binary"
	"math"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protowire"
)

// message is a protobuf message in the making. The numbers of its fields are
// those of opentelemetry/proto/trace/v1/trace.proto and what that imports.
type message []byte

func (m *message) bytes(field protowire.Number, value []byte) {
	*m = protowire.AppendTag(*m, field, protowire.BytesType)
	*m = protowire.AppendBytes(*m, value)
}

// text leaves out the empty text, as protobuf does.
func (m *message) text(field protowire.Number, value string) {
	if value == "" {
		return
	}
	*m = protowire.AppendTag(*m, field, protowire.BytesType)
	// Protobuf's strings are UTF-8: a receiver refuses a request with another.
	*m = protowire.AppendString(*m, strings.ToValidUTF8(value, "�"))
}

// number leaves out 0.
func (m *message) number(field protowire.Number, value int) {
	if value <= 0 {
		return
	}
	*m = protowire.AppendTag(*m, field, protowire.VarintType)
	*m = protowire.AppendVarint(*m, uint64(value))
}

func (m *message) fixed32(field protowire.Number, value uint32) {
	*m = protowire.AppendTag(*m, field, protowire.Fixed32Type)
	*m = protowire.AppendFixed32(*m, value)
}

func (m *message) moment(field protowire.Number, at time.Time) {
	nanos := uint64(max(at.UnixNano(), 0))
	if nanos == 0 {
		return
	}
	*m = protowire.AppendTag(*m, field, protowire.Fixed64Type)
	*m = protowire.AppendFixed64(*m, nanos)
}

// request is the ExportTraceServiceRequest of spans: they stand by the
// resource and the scope that they have in common.
func request(spans []sdktrace.ReadOnlySpan) []byte {
	var all message
	for _, ofResource := range grouped(spans, func(s sdktrace.ReadOnlySpan) attribute.Distinct { return s.Resource().Equivalent() }) {
		var resource, of message
		resource.attributes(1, ofResource[0].Resource().Attributes())
		of.bytes(1, resource)
		for _, ofScope := range grouped(ofResource, sdktrace.ReadOnlySpan.InstrumentationScope) {
			of.bytes(2, scopeSpans(ofScope))
		}
		of.text(3, ofResource[0].Resource().SchemaURL())
		all.bytes(1, of)
	}
	return all
}

// grouped puts those together that have the same key, in their order.
func grouped[K comparable](spans []sdktrace.ReadOnlySpan, key func(sdktrace.ReadOnlySpan) K) [][]sdktrace.ReadOnlySpan {
	places := map[K]int{}
	var groups [][]sdktrace.ReadOnlySpan
	for _, s := range spans {
		k := key(s)
		place, ok := places[k]
		if !ok {
			place = len(groups)
			places[k], groups = place, append(groups, nil)
		}
		groups[place] = append(groups[place], s)
	}
	return groups
}

func scopeSpans(spans []sdktrace.ReadOnlySpan) message {
	var m message
	scope := spans[0].InstrumentationScope()
	m.bytes(1, encodeScope(&scope))
	for _, s := range spans {
		m.bytes(2, encodeSpan(s))
	}
	m.text(3, scope.SchemaURL)
	return m
}

func encodeScope(s *instrumentation.Scope) message {
	var m message
	m.text(1, s.Name)
	m.text(2, s.Version)
	m.attributes(3, s.Attributes.ToSlice())
	return m
}

func encodeSpan(s sdktrace.ReadOnlySpan) message {
	var m message
	m.context(1, s.SpanContext())
	m.text(3, s.SpanContext().TraceState().String())
	if parent := s.Parent().SpanID(); parent.IsValid() {
		m.bytes(4, parent[:])
	}
	m.text(5, s.Name())
	m.number(6, int(s.SpanKind()))
	m.moment(7, s.StartTime())
	m.moment(8, s.EndTime())
	m.attributes(9, s.Attributes())
	m.number(10, s.DroppedAttributes())
	for _, e := range s.Events() {
		m.bytes(11, encodeEvent(&e))
	}
	m.number(12, s.DroppedEvents())
	for _, l := range s.Links() {
		m.bytes(13, encodeLink(&l))
	}
	m.number(14, s.DroppedLinks())
	m.bytes(15, encodeStatus(s.Status()))
	m.fixed32(16, flags(s.SpanContext(), s.Parent()))
	return m
}

// context appends the ids of a trace and a span in it.
func (m *message) context(field protowire.Number, c trace.SpanContext) {
	traceID, spanID := c.TraceID(), c.SpanID()
	m.bytes(field, traceID[:])
	m.bytes(field+1, spanID[:])
}

// Bits of flags besides those of W3C: whether it is known if another process
// began the span above, and whether one did.
const (
	isRemoteKnown = 0x100
	isRemote      = 0x200
)

func flags(c, above trace.SpanContext) uint32 {
	f := uint32(c.TraceFlags()) | isRemoteKnown
	if above.IsRemote() {
		f |= isRemote
	}
	return f
}

func encodeEvent(e *sdktrace.Event) message {
	var m message
	m.moment(1, e.Time)
	m.text(2, e.Name)
	m.attributes(3, e.Attributes)
	m.number(4, e.DroppedAttributeCount)
	return m
}

func encodeLink(l *sdktrace.Link) message {
	var m message
	m.context(1, l.SpanContext)
	m.attributes(4, l.Attributes)
	m.number(5, l.DroppedAttributeCount)
	m.fixed32(6, flags(l.SpanContext, l.SpanContext))
	return m
}

// encodeStatus has numbers of its own: those of codes are in another order.
func encodeStatus(s sdktrace.Status) message {
	const ok, failed = 1, 2
	var m message
	m.text(2, s.Description)
	switch s.Code {
	case codes.Ok:
		m.number(3, ok)
	case codes.Error:
		m.number(3, failed)
	case codes.Unset:
	}
	return m
}

func (m *message) attributes(field protowire.Number, all []attribute.KeyValue) {
	for _, a := range all {
		var pair message
		pair.text(1, string(a.Key))
		pair.bytes(2, encodeValue(a.Value))
		m.bytes(field, pair)
	}
}

// encodeValue is an AnyValue, in which even what is empty is there.
func encodeValue(v attribute.Value) message {
	var m message
	switch v.Type() {
	case attribute.STRING:
		m.bytes(1, []byte(strings.ToValidUTF8(v.AsString(), "�")))
	case attribute.BOOL:
		m = protowire.AppendTag(m, 2, protowire.VarintType)
		m = protowire.AppendVarint(m, protowire.EncodeBool(v.AsBool()))
	case attribute.INT64:
		m = protowire.AppendTag(m, 3, protowire.VarintType)
		m = protowire.AppendVarint(m, uint64(v.AsInt64())) //nolint:gosec // protobuf's int64 is its two's complement
	case attribute.FLOAT64:
		m = protowire.AppendTag(m, 4, protowire.Fixed64Type)
		m = binary.LittleEndian.AppendUint64(m, math.Float64bits(v.AsFloat64()))
	case attribute.STRINGSLICE:
		m.array(v.AsStringSlice())
	default: // of the rest hssgate has none
		m.bytes(1, []byte(strings.ToValidUTF8(v.String(), "�")))
	}
	return m
}

// array appends an ArrayValue of texts.
func (m *message) array(texts []string) {
	var list message
	for _, text := range texts {
		list.bytes(1, encodeValue(attribute.StringValue(text)))
	}
	m.bytes(5, list)
}
