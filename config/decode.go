package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder copies YAML nodes into a configuration, notes where each field
// stands, and collects problems instead of stopping at the first.
type decoder struct {
	lines    map[string]int
	problems []Problem
}

func (d *decoder) failf(n *yaml.Node, field, format string, args ...any) {
	d.problems = append(d.problems, Problem{Line: n.Line, Field: field, Message: fmt.Sprintf(format, args...)})
}

// decode copies n into v. A null counts as left out, so v keeps its default.
func (d *decoder) decode(field string, n *yaml.Node, v reflect.Value) {
	d.lines[field] = n.Line
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.failf(n, field, "anchors and aliases are not allowed: write the value out")
		return
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	switch {
	case isText(v):
		d.text(field, n, v)
	case v.Kind() == reflect.Struct:
		d.mapping(field, n, v)
	case v.Kind() == reflect.Slice:
		d.sequence(field, n, v)
	default:
		d.scalar(field, n, v)
	}
}

func isText(v reflect.Value) bool {
	_, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	return ok
}

// text decodes a value that has a spelling of its own.
func (d *decoder) text(field string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.failf(n, field, "must be a single value, not %s", kindOf(n))
		return
	}
	u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	if !ok {
		return
	}
	if err := u.UnmarshalText([]byte(n.Value)); err != nil {
		d.failf(n, field, "%s", err.Error())
	}
}

func (d *decoder) mapping(field string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.failf(n, field, "must be a mapping of fields, not %s", kindOf(n))
		return
	}
	fields := fieldsOf(v.Type())
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if line, twice := seen[key.Value]; twice {
			d.failf(key, field, "field %q is given twice, first in line %d", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		index, known := fields[key.Value]
		if !known {
			d.failf(key, "", "%s", unknownField(key.Value, field, v.Type(), fields))
			continue
		}
		d.decode(join(field, key.Value), value, v.Field(index))
	}
}

// fieldsOf maps the names of a struct's fields in the file to their indices.
func fieldsOf(t reflect.Type) map[string]int {
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		fields[t.Field(i).Tag.Get("yaml")] = i
	}
	return fields
}

// defaulter is what has defaults inside a list.
type defaulter interface{ setDefaults() }

func (d *decoder) sequence(field string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.failf(n, field, "must be a list, not %s", kindOf(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		if p, ok := reflect.TypeAssert[defaulter](v.Index(i).Addr()); ok {
			p.setDefaults()
		}
		d.decode(field+"["+strconv.Itoa(i)+"]", item, v.Index(i))
	}
}

// scalar decodes strings, booleans and numbers. A string may look like a
// number, since identifiers often do; its text is kept as it stands.
func (d *decoder) scalar(field string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.failf(n, field, "must be %s, not %s", wanted(v), kindOf(n))
		return
	}
	var err error
	tag := n.ShortTag()
	switch {
	case v.Kind() == reflect.String && tag != "!!bool":
		v.SetString(n.Value)
	case v.Kind() == reflect.Bool && tag == "!!bool",
		v.Kind() == reflect.Int && tag == "!!int",
		v.Kind() == reflect.Float64 && (tag == "!!int" || tag == "!!float"):
		err = n.Decode(v.Addr().Interface())
	default:
		d.failf(n, field, "must be %s, not %s", wanted(v), kindOf(n))
	}
	if err != nil {
		d.failf(n, field, "must be %s, and %s is out of range", wanted(v), n.Value)
	}
}

func wanted(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return "a string (in quotes, if it reads as something else)"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	default:
		return "a number"
	}
}

// kindOf names what a node holds without repeating it: it may be a secret
// that stands in the wrong place.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	default:
		return "a string"
	}
}

func join(field, name string) string {
	return strings.TrimPrefix(field+"."+name, ".")
}
