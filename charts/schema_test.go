package charts_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the part of values.schema.json that follows from package config")

// fromChart are the fields of the configuration file that the chart fills in
// from other values.
func fromChart() map[string][]string {
	return map[string][]string{
		"Configuration": {"apiVersion", "kind", "dryRun", "exemptNamespaces", "healthBindAddress", "metricsBindAddress", "scanClaimsConfigMap"},
		"Webhook": {
			"bindAddress", "certDir", "tlsCertFile", "tlsKeyFile", "hosts", "configurationName", "mutatingConfigurationName",
			"authoritySecret", "authorityLifetime", "clientCAFile", "clientNames",
		},
	}
}

// TestSchemaFollowsTheConfigurationFile keeps the schema of values below config
// in step with the types that hssgate reads.
func TestSchemaFollowsTheConfigurationFile(t *testing.T) {
	t.Parallel()
	const path = chart + "/values.schema.json"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	properties := schema["properties"].(map[string]any)
	want := jsonRoundTrip(t, (&schemaMaker{t: t, structs: configStructs(t)}).object("Configuration"))
	if *update {
		properties["config"] = want
		writeJSON(t, path, schema)
		return
	}
	if diff := cmp.Diff(want, properties["config"]); diff != "" {
		t.Errorf("values.schema.json doesn't fit package config: run go test ./charts -update\n-want +got:\n%s", diff)
	}
}

// schemaMaker turns struct types into JSON schemas.
type schemaMaker struct {
	t       *testing.T
	structs map[string]*ast.StructType
}

func (m *schemaMaker) object(name string) map[string]any {
	m.t.Helper()
	properties := map[string]any{}
	for _, field := range m.structs[name].Fields.List {
		key, _, _ := strings.Cut(reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("yaml"), ",")
		if key == "" || slices.Contains(fromChart()[name], key) {
			continue
		}
		schema := m.schema(field.Type)
		if schema["$ref"] == nil {
			schema["description"] = strings.Join(strings.Fields(field.Doc.Text()), " ")
		}
		properties[key] = schema
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}

func (m *schemaMaker) schema(of ast.Expr) map[string]any {
	m.t.Helper()
	switch of := of.(type) {
	case *ast.ArrayType:
		return map[string]any{"type": "array", "items": m.schema(of.Elt)}
	case *ast.StarExpr:
		return m.schema(of.X)
	case *ast.Ident:
		switch of.Name {
		case "string":
			return map[string]any{"type": "string"}
		case "bool":
			return map[string]any{"type": "boolean"}
		case "int", "int32", "int64":
			return map[string]any{"type": "integer"}
		case "float64":
			// Helm's --set makes a text of a number with a point.
			return map[string]any{"type": []string{"number", "string"}, "pattern": `^[0-9]+(\.[0-9]+)?$`}
		case "Duration", "Bytes":
			return map[string]any{"$ref": "#/$defs/" + strings.ToLower(of.Name)}
		}
		if m.structs[of.Name] != nil {
			return m.object(of.Name)
		}
	}
	m.t.Fatalf("no JSON schema is known for %#v", of)
	return nil
}

// configStructs returns the struct types of package config by name.
func configStructs(t *testing.T) map[string]*ast.StructType {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "config", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]*ast.StructType{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if body, ok := spec.Type.(*ast.StructType); ok {
					structs[spec.Name.Name] = body
				}
			}
			return true
		})
	}
	return structs
}

func jsonRoundTrip(t *testing.T, v any) (out any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func writeJSON(t *testing.T, path string, v any) {
	t.Helper()
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
