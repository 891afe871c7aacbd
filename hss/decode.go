package hss

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxTextBytes bounds one text of an answer that is kept. The API documents at most 256 characters.
	maxTextBytes = 1024
	// maxFields bounds the fields of one object. The API documents at most 29.
	maxFields = 200
	// excerptBytes bounds what an error shows of an unexpected value.
	excerptBytes = 80
)

// object is a JSON object of an answer. Its methods return the values of fields, and collect in problems which cannot
// be read. The API sends numbers as strings and strings as numbers in places, so the methods accept both. A field that
// is missing or null has the zero value. Names match exactly.
type object struct {
	fields []field
	// scrub removes secrets from a text of the answer.
	scrub    func(string) string
	problems []problem
}

// field is a field as it was sent.
type field struct {
	name  string
	value jsontext.Value // nil: the field is there twice, and which of the two counts is not known
}

// problem describes why a field cannot be read. Without a field it is the whole object.
type problem struct{ field, reason string }

// String describes the problem in one line.
func (p problem) String() string { return cmp.Or(p.field, "the row") + " " + p.reason }

// parse reads data, which must be one JSON object.
func parse(data []byte, scrub func(string) string) (*object, error) {
	d := newDecoder(data)
	raw, err := readValue(d, data)
	if err != nil {
		return nil, err
	}
	o := newObject(raw, scrub, nil)
	switch _, err = d.ReadToken(); {
	case err == nil:
		return nil, errors.New("the answer goes on after its end")
	case !errors.Is(err, io.EOF):
		return nil, err
	case len(o.problems) > 0:
		return nil, errors.New("the answer " + o.problems[0].reason)
	}
	return o, nil
}

func newDecoder(data []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// readValue returns the next value of data as a part of it.
func readValue(d *jsontext.Decoder, data []byte) (jsontext.Value, error) {
	value, err := d.ReadValue()
	end := int(d.InputOffset())
	return data[end-len(value) : end], err
}

// newObject reads one JSON value. If it is no object, or has too many fields, that is the object's only problem. The fields
// take the room of an object that is no longer needed, if one is given.
func newObject(raw jsontext.Value, scrub func(string) string, room []field) *object {
	o := &object{fields: room[:0], scrub: scrub}
	if raw.Kind() != '{' {
		o.problems = []problem{{reason: o.excerpt(raw) + ", not an object"}}
		return o
	}
	d := newDecoder(raw)
	_, _ = d.ReadToken() // errors are those of the first name
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		name := token.String()
		value, valueErr := readValue(d, raw)
		if err != nil || valueErr != nil {
			return &object{scrub: scrub, problems: []problem{{reason: "is not JSON"}}}
		}
		if i := o.find(name); i >= 0 {
			o.fields[i].value = nil
		} else if o.fields = append(o.fields, field{name, value}); len(o.fields) > maxFields {
			return &object{scrub: scrub, problems: []problem{{reason: fmt.Sprintf("has more than %d fields", maxFields)}}}
		}
	}
	return o
}

// unmarshal reads a row from memory. Every problem is an error.
func unmarshal[T any](data []byte, into *T, read func(*object) T) error {
	o, err := parse(data, func(s string) string { return s })
	if err != nil {
		return err
	}
	if *into = read(o); len(o.problems) > 0 {
		return errors.New(o.problems[0].String())
	}
	return nil
}

// optional returns the object without its problems, for fields that need not be readable.
func (o *object) optional() *object { return &object{fields: o.fields, scrub: o.scrub} }

// fail records a problem, the first of each field.
func (o *object) fail(field, reason string) {
	if !o.failed(field) {
		o.problems = append(o.problems, problem{field, reason})
	}
}

func (o *object) failed(field string) bool {
	return slices.ContainsFunc(o.problems, func(p problem) bool { return p.field == field })
}

// value returns a field as it was sent; nil: there is none.
func (o *object) value(name string) jsontext.Value {
	i := o.find(name)
	if i < 0 {
		return nil
	}
	if o.fields[i].value == nil {
		o.fail(name, "is there twice")
	}
	return o.fields[i].value
}

// find returns the place of a field, or -1. A map of each object would take most of the memory that reading a list takes.
func (o *object) find(name string) int {
	return slices.IndexFunc(o.fields, func(f field) bool { return f.name == name })
}

// letters returns what is in a string, and any other scalar as written; "" for null.
func (o *object) letters(name string) string {
	raw := o.value(name)
	if kind := raw.Kind(); kind == '{' || kind == '[' {
		o.fail(name, o.excerpt(raw))
		return ""
	}
	return letters(raw)
}

// text returns a text of at most maxTextBytes.
func (o *object) text(name string) string {
	s := o.letters(name)
	if len(s) > maxTextBytes {
		o.fail(name, fmt.Sprintf("has %d bytes, at most %d are read", len(s), maxTextBytes))
		return ""
	}
	return o.scrub(s)
}

// prose returns a text that is cut if it is longer.
func (o *object) prose(name string) string {
	s := o.scrub(o.letters(name))
	if len(s) > maxTextBytes {
		s = strings.ToValidUTF8(s[:maxTextBytes], "")
	}
	return s
}

// flag returns a boolean; "true" and 1 are true.
func (o *object) flag(name string) bool {
	s := o.letters(name)
	if s == "" {
		return false
	}
	b, err := strconv.ParseBool(strings.ToLower(s))
	if err != nil {
		o.fail(name, o.excerpt(o.value(name)))
	}
	return b
}

// count returns a number of findings; nil stands for one that was not sent, is negative, or is no whole number:
// unknown, which is never 0.
func (o *object) count(name string) *int {
	if n, ok := wholeNumber(letters(o.value(name))); ok && n >= 0 && n <= math.MaxInt {
		return new(int(n))
	}
	return nil
}

// score returns a CVSS score; nil stands for one that was not sent or is none: unknown, which is never 0.
func (o *object) score(name string) *float64 {
	const highest = 10
	s, err := strconv.ParseFloat(strings.TrimSpace(letters(o.value(name))), 64)
	if err != nil || !(s > 0 && s <= highest) {
		return nil
	}
	return &s
}

// time returns a time in milliseconds since the epoch; 0 and below mean none.
func (o *object) time(name string) time.Time {
	const last = 253402300799999 // of the year 9999: no later time can be written
	s := o.letters(name)
	if s == "" {
		return time.Time{}
	}
	n, ok := wholeNumber(s)
	if !ok || n > last {
		o.fail(name, o.excerpt(o.value(name)))
	}
	if !ok || n > last || n <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// list returns the elements of an array of at most most; nil: there is none.
func (o *object) list(name string, most int) []jsontext.Value {
	raw := o.value(name)
	switch raw.Kind() {
	case '[':
	case 'n', jsontext.KindInvalid:
		return nil
	default:
		o.fail(name, o.excerpt(raw))
		return nil
	}
	elements := []jsontext.Value{}
	d := newDecoder(raw)
	_, _ = d.ReadToken()
	for d.PeekKind() != ']' {
		element, err := readValue(d, raw)
		if err != nil || len(elements) == most {
			o.fail(name, fmt.Sprintf("has more than %d elements", most))
			return elements
		}
		elements = append(elements, element)
	}
	return elements
}

// excerpt describes a value that a field cannot hold: a text by its beginning, without secrets, and objects and lists
// without their content.
func (o *object) excerpt(raw jsontext.Value) string {
	switch raw.Kind() {
	case '{':
		return "is an object"
	case '[':
		return "is a list"
	case '"':
		text := letters(raw)
		return "is " + excerpt(o.scrub(text[:min(len(text), maxErrorBytes)]))
	}
	return "is " + string(raw[:min(len(raw), excerptBytes)])
}

// letters returns what is in a string, "" for null and for nothing, and any other value as written.
func letters(raw jsontext.Value) string {
	switch raw.Kind() {
	case 'n':
		return ""
	case '"':
		var short [128]byte
		s, _ := jsontext.AppendUnquote(short[:0], raw) // invalid UTF-8 in it is replaced
		return string(s)
	}
	return string(raw)
}

// wholeNumber reads an int64, also one written as 1.7E12 or 3.0.
func wholeNumber(s string) (int64, bool) {
	const (
		longest = 64
		exact   = 1 << 53 // below it float64 holds every whole number
	)
	s = strings.TrimSpace(s)
	if len(s) > longest {
		return 0, false
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Abs(f) >= exact || f != math.Trunc(f) {
		return 0, false
	}
	return int64(f), true
}

// excerpt quotes the beginning of a text for an error: one line, printable.
func excerpt(text string) string {
	if len(text) <= excerptBytes {
		return strconv.Quote(text)
	}
	return strconv.Quote(strings.ToValidUTF8(text[:excerptBytes], "")) + "…"
}
