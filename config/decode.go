package config

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decode copies n into v. A null counts as left out, so v keeps its default.
func (c *checker) decode(field string, n *yaml.Node, v reflect.Value) {
	c.lines[field] = n.Line
	text, isText := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		c.failf(field, "anchors and aliases are not allowed: write the value out")
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
	case n.Kind == yaml.ScalarNode && isText:
		if err := text.UnmarshalText([]byte(n.Value)); err != nil {
			c.failf(field, "%s", err.Error())
		}
	case n.Kind == yaml.MappingNode && v.Kind() == reflect.Struct:
		c.mapping(field, n, v)
	case n.Kind == yaml.SequenceNode && v.Kind() == reflect.Slice:
		c.sequence(field, n, v)
	case n.Kind == yaml.ScalarNode && fits(n.ShortTag(), v.Kind()):
		if err := n.Decode(v.Addr().Interface()); err != nil {
			c.failf(field, "must be %s, and %s is out of range", wanted(v.Kind()), shorten(n.Value))
		}
	default:
		c.failf(field, "must be %s, not %s", wanted(v.Kind()), kindOf(n))
	}
}

func (c *checker) mapping(field string, n *yaml.Node, v reflect.Value) {
	indices := map[string]int{}
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("yaml"); name != "-" {
			indices[name] = i
		}
	}
	first := map[string]int{} // the line where a field is given
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		path := strings.TrimPrefix(field+"."+shorten(key.Value), ".")
		index, known := indices[key.Value]
		switch line, twice := first[key.Value]; {
		case twice:
			c.lines[path] = key.Line
			c.failf(path, "must be given once, and is in line %d already", line)
		case !known:
			c.lines[path] = key.Line
			c.failf(path, "%s", unknownField(key.Value, v.Type(), indices))
		default:
			c.decode(path, value, v.Field(index))
		}
		first[key.Value] = key.Line
	}
}

func (c *checker) sequence(field string, n *yaml.Node, v reflect.Value) {
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		setDefaults(v.Index(i))
		c.decode(fmt.Sprintf("%s[%d]", field, i), item, v.Index(i))
	}
}

// setDefaults sets the fields of a struct to their defaults; nothing else has any.
func setDefaults(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		setDefaults(v.Field(i))
		if text, has := v.Type().Field(i).Tag.Lookup("default"); has {
			mustParse(text, v.Field(i))
		}
	}
}

// mustParse reads a value of a tag, which is YAML.
func mustParse(text string, v reflect.Value) {
	if err := yaml.Unmarshal([]byte(text), v.Addr().Interface()); err != nil {
		panic(fmt.Sprintf("tag %q: %v", text, err))
	}
}

// fits reports whether a scalar may be decoded. A string may look like a number, as
// identifiers often do: its text is kept.
func fits(tag string, kind reflect.Kind) bool {
	switch kind {
	case reflect.String:
		return tag != "!!bool"
	case reflect.Bool:
		return tag == "!!bool"
	case reflect.Int:
		return tag == "!!int"
	case reflect.Float64:
		return tag == "!!int" || tag == "!!float"
	default:
		return false
	}
}

func wanted(kind reflect.Kind) string {
	return cmp.Or(map[reflect.Kind]string{
		reflect.Struct: "a mapping of fields", reflect.Slice: "a list", reflect.Bool: "true or false", reflect.Int: "a whole number",
		reflect.Float64: "a number", reflect.String: "a string (in quotes, if it reads as something else)",
	}[kind], "a single value")
}

// kindOf names what a node holds without its value, which may be a secret.
func kindOf(n *yaml.Node) string {
	return cmp.Or(map[string]string{
		"!!map": "a mapping", "!!seq": "a list", "!!int": "a number", "!!float": "a number", "!!bool": "true or false", "!!null": "nothing",
	}[n.ShortTag()], "a string")
}
