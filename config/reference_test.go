package config_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/config"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// golden compares got with a file that -update writes.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s is out of date; go test ./config -update writes it anew\n%s", path, d)
	}
}

func TestTheReferenceIsUpToDate(t *testing.T) {
	t.Parallel()
	r := reference{docs: docComments(t)}
	r.printf("# The configuration file\n\n")
	r.printf("Generated from the types in this folder; `go test ./config -update` writes it anew.\n\n")
	r.printf("This package %s\n", strings.TrimSpace(strings.TrimPrefix(r.docs["package"], "Package config ")))
	r.section("", reflect.ValueOf(*config.Default()))
	golden(t, "reference.md", r.b.String())
}

// reference renders the fields of the configuration with their comments, types
// and defaults.
type reference struct {
	b    strings.Builder
	docs map[string]string
}

func (r *reference) printf(format string, args ...any) { fmt.Fprintf(&r.b, format, args...) }

// section renders one struct, then those that it holds.
func (r *reference) section(path string, v reflect.Value) {
	t := v.Type()
	title := "`" + path + "`"
	if path == "" {
		title = "The file"
	}
	r.printf("\n## %s\n\n%s\n\n| field | type | default | meaning |\n|---|---|---|---|\n", title, r.docs[t.Name()])
	var nested []func()
	for i := range t.NumField() {
		field := t.Field(i)
		name := field.Tag.Get("yaml")
		doc := strings.Replace(r.docs[t.Name()+"."+field.Name], field.Name, name, 1)
		r.printf("| `%s` | %s | %s | %s |\n", name, typeName(field.Type), defaultOf(v.Field(i)), strings.ReplaceAll(doc, "|", `\|`))
		inner, below := elementOf(v.Field(i)), strings.TrimPrefix(path+"."+name, ".")
		if field.Type.Kind() == reflect.Slice {
			below += "[]"
		}
		if inner.Kind() == reflect.Struct {
			nested = append(nested, func() { r.section(below, inner) })
		}
	}
	for _, f := range nested {
		f()
	}
}

// elementOf returns what a list of structs holds, with its defaults.
func elementOf(v reflect.Value) reflect.Value {
	switch v.Type() {
	case reflect.TypeFor[[]config.Project]():
		return reflect.ValueOf(config.DefaultProject())
	case reflect.TypeFor[[]config.Registry]():
		return reflect.ValueOf(config.DefaultRegistry())
	}
	return v
}

func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[config.Duration]():
		return "duration"
	case t == reflect.TypeFor[config.Bytes]():
		return "size"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return "list"
	case t.Kind() == reflect.Slice:
		return "list of strings"
	case t.Kind() == reflect.Struct:
		return "mapping"
	case t.Kind() == reflect.Float64:
		return "number"
	case t.Kind() == reflect.Int:
		return "whole number"
	default:
		return t.String()
	}
}

func defaultOf(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.Struct, v.Kind() == reflect.Slice && v.Len() == 0, v.Kind() == reflect.String && v.Len() == 0:
		return ""
	case v.Kind() == reflect.Slice:
		return "`[" + strings.Join(v.Interface().([]string), ", ") + "]`"
	default:
		return fmt.Sprintf("`%v`", v.Interface())
	}
}

// docComments returns the doc comments of the package, its types ("Cache") and
// their fields ("Cache.FreshFor"), each as one line.
func docComments(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if file.Doc != nil {
			docs["package"] = file.Doc.Text()
		}
		for _, decl := range file.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE {
				typeDocs(docs, d)
			}
		}
	}
	return docs
}

func typeDocs(docs map[string]string, d *ast.GenDecl) {
	for _, s := range d.Specs {
		spec, ok := s.(*ast.TypeSpec)
		if !ok {
			continue
		}
		docs[spec.Name.Name] = oneLine(d.Doc)
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range fields.Fields.List {
			for _, name := range f.Names {
				docs[spec.Name.Name+"."+name.Name] = oneLine(f.Doc)
			}
		}
	}
}

func oneLine(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

func TestEveryFieldIsDocumented(t *testing.T) {
	t.Parallel()
	docs := docComments(t)
	for _, v := range []any{config.Configuration{}, config.Project{}, config.Sync{}, config.Credentials{}, config.Registry{}, config.Cache{}, config.Webhook{}, config.Exceptions{}, config.Audit{}, config.Logging{}, config.Tracing{}} {
		typ := reflect.TypeOf(v)
		for field := range typ.Fields() {
			if key := typ.Name() + "." + field.Name; docs[key] == "" || field.Tag.Get("yaml") == "" {
				t.Errorf("%s lacks a doc comment or a name in the file", key)
			}
		}
	}
}
