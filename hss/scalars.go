package hss

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The scalars of the API's JSON. The API sends numbers as strings and strings
// as numbers in places, so each accepts both. What cannot be read at all is an
// error, except for counts, for which there is "unknown".

// text is a string; a number or boolean is taken by its letters.
type text string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *text) UnmarshalJSON(data []byte) error {
	s, err := scalar(data)
	*t = text(s)
	return err
}

// flag is a boolean; "true" and 1 are true, nothing and null are false.
type flag bool

// UnmarshalJSON implements [json.Unmarshaler].
func (f *flag) UnmarshalJSON(data []byte) error {
	s, err := scalar(data)
	if err != nil || s == "" {
		*f = false
		return err
	}
	b, err := strconv.ParseBool(strings.ToLower(s))
	if err != nil {
		return fmt.Errorf("%s is neither true nor false", excerpt(data))
	}
	*f = flag(b)
	return nil
}

// count is a number of findings; nil stands for one that was not sent, is
// negative, or is no whole number: unknown, which is never 0.
type count struct{ n *int }

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (c *count) UnmarshalJSON(data []byte) error {
	c.n = nil
	s, err := scalar(data)
	if err != nil {
		return nil //nolint:nilerr // what is no number is an unknown count
	}
	n, ok := wholeNumber(s)
	if !ok || n < 0 || n > math.MaxInt {
		return nil
	}
	value := int(n)
	c.n = &value
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (c count) MarshalJSON() ([]byte, error) { return json.Marshal(c.n) }

// IsZero lets omitzero leave out an unknown count.
func (c count) IsZero() bool { return c.n == nil }

// millis is a time in milliseconds since the epoch; 0 and below mean none.
type millis struct{ at time.Time }

// UnmarshalJSON implements [json.Unmarshaler].
func (m *millis) UnmarshalJSON(data []byte) error {
	m.at = time.Time{}
	s, err := scalar(data)
	if err != nil || s == "" {
		return err
	}
	n, ok := wholeNumber(s)
	if !ok {
		return fmt.Errorf("%s is no time in milliseconds", excerpt(data))
	}
	if n > 0 {
		m.at = time.UnixMilli(n).UTC()
	}
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (m millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, m.at.UnixMilli(), 10), nil
}

// IsZero lets omitzero leave out a time that is not known.
func (m millis) IsZero() bool { return m.at.IsZero() }

// byteSize is a size in bytes; 0 stands for one that was not sent or that is
// not understood. The reference page's example has "1000 单位(Bytes)".
type byteSize int64

// UnmarshalJSON implements [json.Unmarshaler].
func (b *byteSize) UnmarshalJSON(data []byte) error {
	s, err := scalar(data)
	*b = byteSize(parseSize(s))
	return err
}

// identifier is an int64 by the API's model and a string in its own example.
// It marshals to a number where it is one, as the official SDK wants.
type identifier string

// UnmarshalJSON implements [json.Unmarshaler].
func (i *identifier) UnmarshalJSON(data []byte) error {
	s, err := scalar(data)
	*i = identifier(s)
	return err
}

// MarshalJSON implements [json.Marshaler].
func (i identifier) MarshalJSON() ([]byte, error) {
	n, err := strconv.ParseInt(string(i), 10, 64)
	if err == nil && strconv.FormatInt(n, 10) == string(i) {
		return []byte(i), nil
	}
	return json.Marshal(string(i))
}

// scalar returns the letters of a JSON string, number or boolean, and "" for null.
func scalar(data []byte) (string, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return "", errors.New("empty value")
	}
	switch data[0] {
	case '"':
		if plain := data[1 : len(data)-1]; utf8.Valid(plain) && bytes.IndexByte(plain, '\\') < 0 {
			return string(plain), nil // nothing to unescape, which is the rule
		}
		var s string
		err := json.Unmarshal(data, &s)
		return s, err
	case 'n':
		return "", nil
	case '{', '[':
		return "", fmt.Errorf("%s is no single value", excerpt(data))
	}
	return string(data), nil
}

// exactFloat is the largest float64 below which every whole number is exact.
const exactFloat = 1 << 53

// wholeNumber reads an int64, also one written as 1.7E12 or 3.0, as some
// encoders write them.
func wholeNumber(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Abs(f) >= exactFloat || f != math.Trunc(f) {
		return 0, false
	}
	return int64(f), true
}

// parseSize reads a number of bytes with or without a unit.
func parseSize(s string) int64 {
	s = strings.TrimSpace(s)
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(s)
	}
	number, err := strconv.ParseFloat(s[:end], 64)
	factor := sizeUnit(s[end:])
	if err != nil || factor == 0 || number*factor >= math.MaxInt64 {
		return 0
	}
	if n, err := strconv.ParseInt(s[:end], 10, 64); err == nil {
		return n * int64(factor)
	}
	return int64(number * factor)
}

// sizeUnit returns the bytes of a unit, 0 for one that is not known. "单位" is
// the word "unit" in the reference page's example.
func sizeUnit(s string) float64 {
	s = strings.ToLower(strings.Trim(strings.ReplaceAll(s, "单位", ""), " ()（）"))
	switch s {
	case "", "b", "byte", "bytes":
		return 1
	case "k", "kb", "kib":
		return 1 << 10
	case "m", "mb", "mib":
		return 1 << 20
	case "g", "gb", "gib":
		return 1 << 30
	}
	return 0
}

// excerptBytes bounds what of an unexpected value is shown in an error.
const excerptBytes = 80

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
