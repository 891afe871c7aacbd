package config

import (
	"cmp"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation"
)

// fields checks the fields of a struct by their tags. Those of a list are for
// each item. A field without a default may be left out, unless it is required.
//
//	default    is what a field has that is left out, in YAML
//	required   must not be empty
//	unique     must hold no item twice
//	min, max   bound a number, a duration or a size
//	oneof      lists the allowed values
//	secret     may hold a key by mistake, so that no message repeats it
//	format     is name, address, or "address or 0"
//	maxLength  is how many characters a text may have
func (c *checker) fields(path string, v reflect.Value) {
	for i := range v.NumField() {
		f, value := v.Type().Field(i), v.Field(i)
		field := strings.TrimPrefix(path+"."+f.Tag.Get("yaml"), ".")
		_, hasDefault := f.Tag.Lookup("default")
		isList := value.Kind() == reflect.Slice
		switch empty := value.IsZero() || isList && value.Len() == 0; {
		case empty && f.Tag.Get("required") != "" && isList:
			c.failf(field, "must hold at least one %s", cmp.Or(strings.TrimPrefix(oneOf(f.Tag), "one "), "item"))
		case empty && f.Tag.Get("required") != "":
			c.failf(field, "must not be empty")
		case value.Kind() == reflect.Struct:
			c.fields(field, value)
		case isList:
			c.items(field, value, f.Tag)
		case !empty || hasDefault:
			c.value(field, value, f.Tag)
		}
	}
}

func (c *checker) items(field string, list reflect.Value, tag reflect.StructTag) {
	seen := map[any]int{}
	for i := range list.Len() {
		item, path := list.Index(i), fmt.Sprintf("%s[%d]", field, i)
		if item.Kind() == reflect.Struct {
			c.fields(path, item)
			continue
		}
		c.value(path, item, tag)
		if first, twice := seen[item.Interface()]; twice && tag.Get("unique") != "" {
			c.failf(path, "must differ from %s[%d], which is %q too", field, first, shorten(item.String()))
		}
		seen[item.Interface()] = i
	}
}

func (c *checker) value(field string, v reflect.Value, tag reflect.StructTag) {
	switch v.Kind() {
	case reflect.String:
		c.text(field, v.String(), tag)
	case reflect.Int, reflect.Int64, reflect.Float64:
		low, hasLow := bound(v.Type(), tag.Get("min"))
		high, hasHigh := bound(v.Type(), tag.Get("max"))
		switch n := number(v); {
		case hasLow && hasHigh && !(n >= low && n <= high): // as NaN isn't
			c.failf(field, "must be from %s to %s, not %v", tag.Get("min"), tag.Get("max"), v.Interface())
		case hasLow && n < low:
			c.failf(field, "must be at least %s, not %v", tag.Get("min"), v.Interface())
		}
	}
}

// bound returns the number that a tag gives for a type.
func bound(t reflect.Type, text string) (n float64, ok bool) {
	if text == "" {
		return 0, false
	}
	v := reflect.New(t).Elem()
	mustParse(text, v)
	return number(v), true
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

// oneOf names the allowed values.
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
