package config

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
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

// Bytes is a size in bytes that the file spells as Kubernetes spells quantities,
// such as 65536 or 16Mi.
type Bytes int64

// UnmarshalText reads a quantity.
func (b *Bytes) UnmarshalText(text []byte) error {
	q, err := resource.ParseQuantity(string(text))
	v, whole := q.AsInt64()
	if err != nil || !whole || v < 0 {
		return fmt.Errorf("must be a size in bytes such as 65536, 64Ki or 16Mi, not %q", text)
	}
	*b = Bytes(v)
	return nil
}

// String spells the size with the largest suffix that loses nothing.
func (b Bytes) String() string { return resource.NewQuantity(int64(b), resource.BinarySI).String() }
