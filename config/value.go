package config

import (
	"fmt"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
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

// value checks a single value by its field's tags.
func (c *checker) value(field string, v reflect.Value, tag reflect.StructTag) {
	if v.Kind() == reflect.String {
		c.text(field, v.String(), tag)
	}
	low, high := tag.Get("min"), tag.Get("max")
	if low == "" {
		return
	}
	if n := number(v); !(n >= bound(v.Type(), low) && n <= bound(v.Type(), high)) { // as NaN isn't
		c.failf(field, "must be from %s to %s, not %v", low, high, v.Interface())
	}
}

// bound returns the number that a tag gives for a type.
func bound(t reflect.Type, text string) float64 {
	v := reflect.New(t).Elem()
	mustParse(text, v)
	return number(v)
}

func number(v reflect.Value) float64 {
	if v.CanFloat() {
		return v.Float()
	}
	return float64(v.Int())
}

func (c *checker) text(field, text string, tag reflect.StructTag) {
	wrong := tag.Get("oneof") != "" && !slices.Contains(strings.Fields(tag.Get("oneof")), text)
	most, limited := strconv.Atoi(tag.Get("maxLength"))
	format := tag.Get("format")
	switch n := len([]rune(text)); {
	case wrong && tag.Get("secret") != "":
		c.failf(field, "must be %s", oneOf(tag))
	case wrong:
		c.failf(field, "must be %s, not %q", oneOf(tag), shorten(text))
	case limited == nil && n > most:
		c.failf(field, "must have at most %d characters, not %d", most, n)
	case limited == nil && strings.ContainsFunc(text, unicode.IsControl):
		c.failf(field, "must hold no control characters")
	case format == "name" && len(validation.IsDNS1123Label(text)) > 0:
		c.failf(field, "must have 1 to 63 lower-case letters, digits and dashes, and begin and end with a letter or digit, not %q", shorten(text))
	case strings.HasPrefix(format, "address") && !isAddress(text) && (text != "0" || format == "address"):
		c.failf(field, `must be host:port or :port with a port from 0 to 65535, such as ":9443", not %q`, shorten(text))
	}
}

func oneOf(tag reflect.StructTag) string {
	allowed := strings.Fields(tag.Get("oneof"))
	if len(allowed) < 2 {
		return tag.Get("oneof")
	}
	return "one of " + strings.Join(allowed, ", ")
}

// isAddress reports whether one can listen at a host:port; the host may be empty.
func isAddress(address string) bool {
	host, port, err := net.SplitHostPort(address)
	n, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && portErr == nil && strconv.FormatUint(n, 10) == port && !strings.ContainsAny(host, " /")
}
