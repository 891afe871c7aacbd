package config

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
)

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
