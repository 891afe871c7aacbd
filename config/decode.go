package config

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// visit copies n, the value of a field that is given, into v, and checks what v holds
// by the field's tags; those of a list are for each item. A null counts as left out,
// so v keeps its default. A field without a default may be left out, unless it is
// required.
//
//	default    is what a field has that is left out, in YAML
//	required   must not be empty
//	unique     must hold no item twice or, if it is "name", no two of one name
//	min, max   bound a number, a duration or a size
//	oneof      lists the allowed values
//	secret     may hold a key by mistake, so that no message repeats it
//	format     is name, address, or "address or 0"
//	maxLength  is how many characters a text may have
func (c *checker) visit(field string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if n != nil {
		c.lines[field] = n.Line
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
			n = nil
		} else if problem := decode(n, v); problem != "" {
			c.failf(field, "%s", problem)
			return
		}
	}
	_, hasDefault := tag.Lookup("default")
	switch {
	case v.Kind() == reflect.Struct:
		c.mapping(field, n, v)
	case v.Kind() == reflect.Slice:
		c.sequence(field, n, v, tag)
	case v.IsZero() && tag.Get("required") != "":
		c.failf(field, "must not be empty")
	case !v.IsZero() || hasDefault:
		c.value(field, v, tag)
	}
}

// mapping visits the fields of a struct, given or not.
func (c *checker) mapping(path string, n *yaml.Node, v reflect.Value) {
	var names []string
	for i := range v.NumField() {
		names = append(names, v.Type().Field(i).Tag.Get("yaml"))
	}
	below := func(name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	given := map[string]int{} // the places of keys in n
	for i := 0; n != nil && i+1 < len(n.Content); i += 2 {
		key, field := n.Content[i], below(shorten(n.Content[i].Value))
		first, twice := given[key.Value]
		switch known := slices.Contains(names, key.Value); {
		case twice:
			c.lines[field] = key.Line
			c.failf(field, "must be given once, and is in line %d already", n.Content[first].Line)
		case known:
			given[key.Value] = i
		default:
			c.lines[field] = key.Line
			c.failf(field, "%s", unknownField(v.Type(), names))
		}
	}
	for i, name := range names {
		var value *yaml.Node
		if at, ok := given[name]; ok {
			value = n.Content[at+1]
		}
		c.visit(below(name), value, v.Field(i), v.Type().Field(i).Tag)
	}
}

func unknownField(t reflect.Type, known []string) string {
	message := "unknown field; allowed are " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
	if t == reflect.TypeFor[Credentials]() {
		message += "; keys and tokens must not stand in the file: name files that hold them, or use source Environment"
	}
	return message
}

func (c *checker) sequence(field string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if n != nil {
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	}
	if v.Len() == 0 && tag.Get("required") != "" {
		c.failf(field, "must hold at least one %s", cmp.Or(strings.TrimPrefix(oneOf(tag), "one "), "item"))
	}
	seen := map[string]int{}
	for i := range v.Len() {
		path, item, name := fmt.Sprintf("%s[%d]", field, i), v.Index(i), ""
		var value *yaml.Node
		if n != nil {
			value = n.Content[i]
			setDefaults(item)
		}
		c.visit(path, value, item, tag)
		if tag.Get("unique") == "" {
			continue
		}
		if item.Kind() == reflect.Struct {
			item, name = item.FieldByName("Name"), ".name"
		}
		if first, twice := seen[item.String()]; twice {
			c.failf(path+name, "must differ from %s[%d]%s, which is %q too", field, first, name, shorten(item.String()))
		}
		seen[item.String()] = i
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

// decode copies a single value into v, and returns what is wrong with a node of any
// kind. No message repeats a value that may be a secret.
func decode(n *yaml.Node, v reflect.Value) (problem string) {
	text, isText := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	name, tags := wanted(v.Kind())
	single := n.Kind == yaml.ScalarNode
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return "anchors and aliases are not allowed: write the value out"
	case single && isText:
		if err := text.UnmarshalText([]byte(n.Value)); err != nil {
			return err.Error()
		}
	case single && v.Type() == reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(n.Value)
		if err != nil {
			return fmt.Sprintf("must be a duration such as 500ms, 30s or 24h, not %q", n.Value)
		}
		v.SetInt(int64(d))
	case !slices.Contains(strings.Fields(tags), tagOf(n)):
		return fmt.Sprintf("must be %s, not %s", name, cmp.Or(map[string]string{
			"!!map": "a mapping", "!!seq": "a list", "!!int": "a number", "!!float": "a number", "!!bool": "true or false", "!!null": "nothing",
		}[tagOf(n)], "a string"))
	case single:
		if err := n.Decode(v.Addr().Interface()); err != nil {
			return fmt.Sprintf("must be %s, and %s is out of range", name, shorten(n.Value))
		}
	}
	return ""
}

// tagOf returns what a node is, also if the file gives it another tag.
func tagOf(n *yaml.Node) string {
	return cmp.Or(map[yaml.Kind]string{yaml.MappingNode: "!!map", yaml.SequenceNode: "!!seq"}[n.Kind], n.ShortTag())
}

// wanted names what a field of a kind takes, and the YAML tags of that. A string may
// look like a number, as identifiers often do: its text is kept.
func wanted(kind reflect.Kind) (name, tags string) {
	switch kind {
	case reflect.Struct:
		return "a mapping of fields", "!!map"
	case reflect.Slice:
		return "a list", "!!seq"
	case reflect.Bool:
		return "true or false", "!!bool"
	case reflect.Int:
		return "a whole number", "!!int"
	case reflect.Float64:
		return "a number", "!!int !!float"
	case reflect.String:
		return "a string (in quotes, if it reads as something else)", "!!str !!int !!float !!timestamp"
	}
	return "a single value", ""
}
