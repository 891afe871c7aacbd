package check

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	jsonexp "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	kjson "sigs.k8s.io/json"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/image"
)

// into reads a document's JSON as the API server reads a request: fields by
// their exact names, and none that it doesn't know.
func into(data []byte, v any) error {
	unknown, err := kjson.UnmarshalStrict(data, v)
	if err != nil {
		return unreadable{worded(err)}
	}
	errs := make([]error, len(unknown))
	for i, one := range unknown {
		errs[i] = unknownField(one, reflect.TypeOf(v))
	}
	return errors.Join(errs...)
}

// unreadable is the error of a value that the type of its field can't hold.
type unreadable struct{ error }

// Unwrap returns what says which value.
func (e unreadable) Unwrap() error { return e.error }

// unknownField adds to the error of a field what may have been meant.
func unknownField(err error, t reflect.Type) error {
	one, is := errors.AsType[kjson.FieldError](err)
	if !is || !strings.HasPrefix(err.Error(), "unknown field") {
		return err
	}
	path := strings.Split(one.FieldPath(), ".")
	last := len(path) - 1
	known := slices.Sorted(maps.Keys(fieldsAt(t, path[:last])))
	if near := config.Nearest(path[last], known); near != "" {
		return fmt.Errorf("%w; did you mean %q?", err, near)
	}
	if len(known) == 0 {
		return err
	}
	return fmt.Errorf("%w; allowed are %s", err, strings.Join(known, ", "))
}

// fieldsAt are the fields of what stands at a path in a type.
func fieldsAt(t reflect.Type, path []string) map[string]reflect.Type {
	t = element(t)
	if len(path) == 0 {
		return fieldsOf(t)
	}
	inner, known := fieldsOf(t)[regexp.MustCompile(`\[.*`).ReplaceAllString(path[0], "")]
	if !known {
		return nil
	}
	return fieldsAt(inner, path[1:])
}

// element is what pointers and lists are of.
func element(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

// fieldsOf are a struct's fields by their names in JSON.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	if t.Kind() != reflect.Struct {
		return fields
	}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "" && field.Anonymous: // its fields stand beside the others
			maps.Copy(fields, fieldsOf(element(field.Type)))
		case name != "" && name != "-":
			fields[name] = field.Type
		}
	}
	return fields
}

// worded says of a value of the wrong type what was expected in the terms of
// the file, not of the types in this program.
func worded(err error) error {
	wrong, is := errors.AsType[*json.UnmarshalTypeError](err)
	if !is {
		return err
	}
	return fmt.Errorf("%s must be %s, not %s", cmp.Or(wrong.Field, "it"), wanted(wrong.Type), given(wrong.Value))
}

// wanted names what a Go type holds.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a mapping of fields"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string (in quotes, if it reads as something else)"
	default:
		return "a number"
	}
}

// given names a value of JSON, for which the standard library has a word or two.
func given(value string) string {
	kind, _, _ := strings.Cut(value, " ")
	switch kind {
	case "object", "{":
		return "a mapping"
	case "array", "[":
		return "a list"
	case "bool", "true", "false":
		return "true or false"
	case "number":
		return "a number"
	default:
		return "a " + kind
	}
}

// fieldPath writes a JSON pointer as Kubernetes writes the path of a field.
func fieldPath(pointer jsontext.Pointer) string {
	var b strings.Builder
	for token := range pointer.Tokens() {
		switch {
		case token != "" && strings.Trim(token, "0123456789") == "":
			b.WriteString("[" + token + "]")
		case b.Len() > 0:
			b.WriteString("." + token)
		default:
			b.WriteString(token)
		}
	}
	return b.String()
}

// misread says of a field of a manifest what is wrong with it, in the terms of
// the file. What isn't of the wrong type says so in its own words.
func misread(err error) error {
	wrong, is := errors.AsType[*jsonexp.SemanticError](err)
	if !is || wrong.GoType == nil || wrong.JSONPointer == "" || errors.Is(err, image.ErrTooMany) {
		return err
	}
	field := fieldPath(wrong.JSONPointer)
	if wrong.JSONKind == 0 {
		return fmt.Errorf("%s must be %s", field, wanted(wrong.GoType))
	}
	return fmt.Errorf("%s must be %s, not %s", field, wanted(wrong.GoType), given(wrong.JSONKind.String()))
}
