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

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// golden compares got with a file that -update writes.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o600))
		return
	}
	want, err := os.ReadFile(path)
	must(t, err)
	equal(t, path+" (go test ./config -update writes it anew)", string(want), got)
}

// equal checks that nothing differs.
func equal[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestTheReferenceIsUpToDate(t *testing.T) {
	t.Parallel()
	r := reference{t: t, docs: docComments(t)}
	r.printf("<!-- Generated from the types in this folder; `go test ./config -update` writes it anew. -->\n\n# The configuration file\n\n")
	r.printf("hssgate %s\n", strings.TrimSpace(strings.TrimPrefix(r.docs["package"], "Package config ")))
	r.section("", reflect.TypeFor[config.Configuration]())
	golden(t, "reference.md", r.b.String())
}

// reference renders the fields of the configuration with their comments, types
// and defaults.
type reference struct {
	t    *testing.T
	b    strings.Builder
	docs map[string]string
}

func (r *reference) printf(format string, args ...any) { fmt.Fprintf(&r.b, format, args...) }

// section renders one struct, then those that it holds.
func (r *reference) section(path string, t reflect.Type) {
	title := "`" + path + "`"
	if path == "" {
		title = "The file"
	}
	r.printf("\n## %s\n\n%s\n\n| field | type | default | allowed | meaning |\n|---|---|---|---|---|\n", title, r.docs[t.Name()])
	var nested []func()
	for field := range t.Fields() {
		name := field.Tag.Get("yaml")
		doc := strings.Replace(r.docs[t.Name()+"."+field.Name], field.Name, name, 1)
		if doc == "" || name == "" {
			r.t.Errorf("%s.%s lacks a doc comment or a name in the file", t.Name(), field.Name)
		}
		fallback := ""
		if text, has := field.Tag.Lookup("default"); has {
			fallback = "`" + strings.Trim(text, "'") + "`"
		}
		r.printf("| `%s` | %s | %s | %s | %s |\n", name, typeName(field.Type), fallback, allowed(field.Tag), strings.ReplaceAll(doc, "|", `\|`))
		inner, below := field.Type, strings.TrimPrefix(path+"."+name, ".")
		if inner.Kind() == reflect.Slice {
			inner, below = inner.Elem(), below+"[]"
		}
		if inner.Kind() == reflect.Struct {
			nested = append(nested, func() { r.section(below, inner) })
		}
	}
	for _, f := range nested {
		f()
	}
}

// allowed returns what the tags of a field allow.
func allowed(tag reflect.StructTag) string {
	var all []string
	add := func(key, format string) {
		if text := tag.Get(key); text != "" {
			all = append(all, fmt.Sprintf(format, text))
		}
	}
	if tag.Get("required") != "" {
		all = append(all, "not empty")
	}
	if unique := tag.Get("unique"); unique != "" {
		all = append(all, map[string]string{"true": "none twice", "name": "no name twice"}[unique])
	}
	add("min", "at least %s")
	add("max", "at most %s")
	add("maxLength", "up to %s characters")
	if values := tag.Get("oneof"); values != "" {
		all = append(all, strings.Join(strings.Fields(values), ", "))
	}
	switch format := tag.Get("format"); format {
	case "name":
		all = append(all, "1 to 63 lower-case letters, digits and dashes")
	case "address", "address or 0":
		all = append(all, strings.Replace(format, "address", "host:port", 1))
	}
	return strings.Join(all, "; ")
}

func typeName(t reflect.Type) string {
	names := map[string]string{
		"time.Duration": "duration", "config.Bytes": "size", "[]string": "list of strings", "float64": "number", "int": "whole number",
	}
	switch name := names[t.String()]; {
	case name != "":
		return name
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.Struct:
		return "mapping"
	}
	return t.String()
}

// docComments returns the doc comments of the package, its types ("Cache") and
// their fields ("Cache.FreshFor"), each as one line.
func docComments(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		must(t, err)
		docs["package"] += file.Doc.Text()
		comment, owner := "", ""
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GenDecl:
				comment = oneLine(n.Doc)
			case *ast.TypeSpec:
				owner = n.Name.Name
				docs[owner] = comment
			case *ast.Field:
				for _, field := range n.Names {
					docs[owner+"."+field.Name] = oneLine(n.Doc)
				}
			case *ast.FuncDecl:
				return false
			}
			return true
		})
	}
	return docs
}

func oneLine(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
