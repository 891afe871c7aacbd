package otlptest

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Span is what tests want to know of a span.
type Span struct {
	// TraceID, ID and Parent are in hexadecimal; Parent is empty for the first.
	TraceID, ID, Parent string
	Name                string
	// Kind is 1 internal, 2 server, 3 client.
	Kind int
	// Start and End are in nanoseconds since 1970.
	Start, End uint64
	// Attributes are in their usual spelling, lists with commas.
	Attributes map[string]string
	// Links are the spans that it is linked with, in hexadecimal.
	Links []string
	// Failed says that the status is an error; Message says which.
	Failed  bool
	Message string
	// Resource says who sends the span.
	Resource map[string]string
}

// Below are the spans that have s as their parent, in the order of their start.
func (s *Span) Below(all []Span) []Span {
	var below []Span
	for _, other := range all {
		if other.TraceID == s.TraceID && other.Parent == s.ID {
			below = append(below, other)
		}
	}
	slices.SortFunc(below, func(a, b Span) int { return int(int64(a.Start) - int64(b.Start)) }) //nolint:gosec // differences of times
	return below
}

// Decode reads an ExportTraceServiceRequest.
func Decode(data []byte) ([]Span, error) {
	var spans []Span
	err := each(data, func(n protowire.Number, resourceSpans field) error {
		if n != 1 {
			return nil
		}
		resource := map[string]string{}
		return each(resourceSpans.bytes, func(n protowire.Number, f field) error {
			switch n {
			case 1:
				return each(f.bytes, func(n protowire.Number, f field) error { return attributeInto(resource, n == 1, f) })
			case 2:
				return each(f.bytes, func(n protowire.Number, f field) error {
					if n != 2 {
						return nil
					}
					s := Span{Attributes: map[string]string{}, Resource: resource}
					err := each(f.bytes, s.set)
					spans = append(spans, s)
					return err
				})
			}
			return nil
		})
	})
	return spans, err
}

// set takes one field of a span.
func (s *Span) set(n protowire.Number, f field) error {
	switch n {
	case 1:
		s.TraceID = hex.EncodeToString(f.bytes)
	case 2:
		s.ID = hex.EncodeToString(f.bytes)
	case 4:
		s.Parent = hex.EncodeToString(f.bytes)
	case 5:
		s.Name = string(f.bytes)
	case 6:
		s.Kind = int(f.number) //nolint:gosec // small
	case 7:
		s.Start = f.number
	case 8:
		s.End = f.number
	case 9:
		return attributeInto(s.Attributes, true, f)
	case 13:
		return each(f.bytes, func(n protowire.Number, f field) error {
			if n == 2 {
				s.Links = append(s.Links, hex.EncodeToString(f.bytes))
			}
			return nil
		})
	case 15:
		return each(f.bytes, func(n protowire.Number, f field) error {
			switch n {
			case 2:
				s.Message = string(f.bytes)
			case 3:
				s.Failed = f.number == 2
			}
			return nil
		})
	}
	return nil
}

// attributeInto adds a KeyValue to a map, if it is one.
func attributeInto(all map[string]string, is bool, f field) error {
	if !is {
		return nil
	}
	var key, value string
	err := each(f.bytes, func(n protowire.Number, f field) (err error) {
		if n == 1 {
			key = string(f.bytes)
			return nil
		}
		value, err = valueOf(f.bytes)
		return err
	})
	all[key] = value
	return err
}

// valueOf is an AnyValue as a text.
func valueOf(data []byte) (text string, err error) {
	err = each(data, func(n protowire.Number, f field) error {
		switch n {
		case 1:
			text = string(f.bytes)
		case 2:
			text = strconv.FormatBool(f.number != 0)
		case 3:
			text = strconv.FormatInt(int64(f.number), 10) //nolint:gosec // two's complement
		case 4:
			text = strconv.FormatFloat(math.Float64frombits(f.number), 'g', -1, 64)
		case 5:
			var texts []string
			err := each(f.bytes, func(_ protowire.Number, f field) error {
				one, err := valueOf(f.bytes)
				texts = append(texts, one)
				return err
			})
			text = strings.Join(texts, ",")
			return err
		}
		return nil
	})
	return text, err
}

// field is the content of a field, of whichever type it is.
type field struct {
	bytes  []byte
	number uint64
}

// each calls f for each field of a message.
func each(data []byte, f func(protowire.Number, field) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fmt.Errorf("decode a tag: %w", protowire.ParseError(n))
		}
		data = data[n:]
		var one field
		switch kind {
		case protowire.BytesType:
			one.bytes, n = protowire.ConsumeBytes(data)
		case protowire.VarintType:
			one.number, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			one.number, n = protowire.ConsumeFixed64(data)
		default:
			n = protowire.ConsumeFieldValue(number, kind, data)
		}
		if n < 0 {
			return fmt.Errorf("decode field %d: %w", number, protowire.ParseError(n))
		}
		data = data[n:]
		if err := f(number, one); err != nil {
			return err
		}
	}
	return nil
}
