package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that the file spells as Go does, such as 1m30s.
type Duration time.Duration

// UnmarshalText reads a Go duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("must be a duration such as 500ms, 30s or 24h, not %q", text)
	}
	*d = Duration(v)
	return nil
}

// String spells the duration without the units that are zero: 5m, not 5m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText spells the duration as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Bytes is a size in bytes that the file spells as a number or with one of
// the suffixes Ki, Mi and Gi.
type Bytes int64

func byteUnits() []struct {
	suffix string
	size   Bytes
} {
	return []struct {
		suffix string
		size   Bytes
	}{{"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10}}
}

// UnmarshalText reads a size such as 16Mi.
func (b *Bytes) UnmarshalText(text []byte) error {
	digits, unit := string(text), Bytes(1)
	for _, u := range byteUnits() {
		if rest, ok := strings.CutSuffix(digits, u.suffix); ok {
			digits, unit = rest, u.size
			break
		}
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || v < 0 || digits[0] == '+' || v > int64(math.MaxInt64/unit) {
		return fmt.Errorf("must be a size in bytes such as 65536, 64Ki or 16Mi, not %q", text)
	}
	*b = Bytes(v) * unit
	return nil
}

// String spells the size with the largest suffix that loses nothing.
func (b Bytes) String() string {
	for _, u := range byteUnits() {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText spells the size as String does.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }
