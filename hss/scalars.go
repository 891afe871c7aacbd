package hss

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// The scalars of the API's JSON. The API sends numbers as strings and strings
// as numbers in places, so each accepts both.

// text is a string of at most maxTextBytes; a number or boolean is taken by its
// letters, null is empty.
type text string

func (t *text) read(d *decoder) error {
	s, err := d.scalar()
	if err == nil && len(s) > maxTextBytes {
		return &problem{reason: fmt.Sprintf("has %d bytes, at most %d are read", len(s), maxTextBytes)}
	}
	*t = text(s)
	return err
}

// prose is a text that is cut if it is longer.
type prose string

func (t *prose) read(d *decoder) error {
	s, err := d.scalar()
	if len(s) > maxTextBytes {
		s = strings.ToValidUTF8(s[:maxTextBytes], "")
	}
	*t = prose(s)
	return err
}

// flag is a boolean; "true" and 1 are true, nothing and null are false.
type flag bool

func (f *flag) read(d *decoder) error {
	raw, s, err := d.raw()
	if err != nil || s == "" {
		*f = false
		return err
	}
	b, err := strconv.ParseBool(strings.ToLower(s))
	if err != nil {
		return &problem{reason: d.excerpt(raw)}
	}
	*f = flag(b)
	return nil
}

// count is a number of findings; nil stands for one that was not sent, is
// negative, or is no whole number: unknown, which is never 0.
type count struct{ n **int }

func (c count) read(d *decoder) error {
	n, ok, err := d.number()
	if ok && n >= 0 && n <= math.MaxInt {
		*c.n = new(int(n))
	}
	return err
}

// lastMillisecond is the last one of the year 9999: no later time can be written.
const lastMillisecond = 253402300799999

// millis is a time in milliseconds since the epoch; 0 and below mean none.
type millis time.Time

func (m *millis) read(d *decoder) error {
	raw, s, err := d.raw()
	if err != nil || s == "" {
		return err
	}
	n, ok := wholeNumber(s)
	if !ok || n > lastMillisecond {
		return &problem{reason: d.excerpt(raw)}
	}
	if n > 0 {
		*m = millis(time.UnixMilli(n).UTC())
	}
	return nil
}

// number reads a whole number; false: it is none.
func (d *decoder) number() (int64, bool, error) {
	raw, err := d.json.ReadValue()
	if err != nil {
		return 0, false, err
	}
	n, ok := wholeNumber(letters(raw))
	return n, ok, nil
}

// scalar reads the letters of a string, number or boolean, without secrets; ""
// for null.
func (d *decoder) scalar() (string, error) {
	_, s, err := d.raw()
	return d.scrub(s), err
}

// raw reads the letters of a string, number or boolean, and the value itself,
// which is gone with the next.
func (d *decoder) raw() (jsontext.Value, string, error) {
	raw, err := d.json.ReadValue()
	if err != nil {
		return nil, "", err
	}
	if kind := raw.Kind(); kind == '{' || kind == '[' {
		return nil, "", &problem{reason: d.excerpt(raw)}
	}
	return raw, letters(raw), nil
}

// letters returns what is in a string, and any other value as it is written.
func letters(raw jsontext.Value) string {
	switch raw.Kind() {
	case 'n':
		return ""
	case '"':
		s, _ := jsontext.AppendUnquote(nil, raw) // it is known to be a string; what is no UTF-8 in it is replaced
		return string(s)
	}
	return string(raw)
}

// exactFloat is the largest float64 below which every whole number is exact.
const exactFloat = 1 << 53

// wholeNumber reads an int64, also one written as 1.7E12 or 3.0, as some
// encoders write them.
func wholeNumber(s string) (int64, bool) {
	const longest = 64
	s = strings.TrimSpace(s)
	if len(s) > longest {
		return 0, false
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Abs(f) >= exactFloat || f != math.Trunc(f) {
		return 0, false
	}
	return int64(f), true
}

// identifier is an int64 by the API's model and a string in its own example.
// It marshals to a number where it is one, as the official SDK wants.
type identifier string

// MarshalJSON implements [json.Marshaler].
func (i identifier) MarshalJSON() ([]byte, error) {
	n, err := strconv.ParseInt(string(i), 10, 64)
	if err == nil && strconv.FormatInt(n, 10) == string(i) {
		return []byte(i), nil
	}
	return jsontext.AppendQuote(nil, string(i))
}

// excerpt quotes the beginning of data for an error: one line, printable.
func excerpt(data []byte) string {
	if len(data) <= excerptBytes {
		return strconv.Quote(string(data))
	}
	cut := excerptBytes
	for cut > 0 && !utf8.RuneStart(data[cut]) {
		cut--
	}
	return strconv.Quote(string(data[:cut])) + "…"
}
