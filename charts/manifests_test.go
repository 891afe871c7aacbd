package charts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/openapi"
)

// testManifests checks what every values file renders: with kubeconform by the
// API server's own schemas, and by the API server itself, which also compiles
// expressions and applies its defaults, in a dry run.
func testManifests(t *testing.T, c *cluster) {
	c.kubectl(t, "apply", "-f", "testdata/crds", "--server-side")
	c.kubectl(t, "wait", "--for=condition=Established", "-f", "testdata/crds", "--timeout=60s")
	schemas := c.schemas(t)
	for _, file := range valuesFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			manifests, err := template(t, "--values", file)
			if err != nil {
				t.Fatal(err)
			}
			rendered := filepath.Join(t.TempDir(), "rendered.yaml")
			if err := os.WriteFile(rendered, []byte(manifests), 0o600); err != nil {
				t.Fatal(err)
			}
			kubeconform := exec.CommandContext(t.Context(), tool(t, "kubeconform"), "-strict", "-summary",
				"-schema-location", filepath.Join(schemas, "{{.ResourceKind}}{{.KindSuffix}}.json"), rendered)
			if out, stderr, err := run(t, kubeconform); err != nil {
				t.Errorf("kubeconform: %v\n%s%s", err, out, stderr)
			}
			c.kubectl(t, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", rendered)
		})
	}
	t.Run("a misspelt field doesn't pass", func(t *testing.T) {
		bad := filepath.Join(t.TempDir(), "bad.yaml")
		manifest := "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a\nautomountServiceaccountToken: false\n"
		if err := os.WriteFile(bad, []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		kubeconform := exec.CommandContext(t.Context(), tool(t, "kubeconform"), "-strict",
			"-schema-location", filepath.Join(schemas, "{{.ResourceKind}}{{.KindSuffix}}.json"), bad)
		if out, _, err := run(t, kubeconform); err == nil || !strings.Contains(out, "automountServiceaccountToken") {
			t.Errorf("got %v and %q, want a complaint about automountServiceaccountToken", err, out)
		}
	})
}

// schemas writes the API server's OpenAPI as the JSON schemas that kubeconform
// reads, one file for each kind, once it tells of all the kinds that are needed.
func (c *cluster) schemas(t *testing.T) string {
	t.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	needed := []string{"imagescanpolicy-hssgate-v1alpha1", "certificate-cert-manager-v1", "issuer-cert-manager-v1", "prometheusrule-monitoring-v1"}
	eventually(t, func(context.Context) string {
		paths, err := client.OpenAPIV3().Paths()
		if err != nil {
			return err.Error()
		}
		for path, group := range paths {
			if strings.HasPrefix(path, "api") {
				writeSchemas(t, dir, group)
			}
		}
		for _, name := range needed {
			if _, err := os.Stat(filepath.Join(dir, name+".json")); err != nil {
				return err.Error()
			}
		}
		return ""
	})
	return dir
}

// writeSchemas writes those of one group and version.
func writeSchemas(t *testing.T, dir string, group openapi.GroupVersion) {
	t.Helper()
	data, err := group.Schema("application/json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Components struct {
			Schemas map[string]map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	for name, schema := range document.Components.Schemas {
		strict(schema)
		kinds, _ := schema["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue // DeleteOptions and the like belong to every group.
		}
		kind, _ := kinds[0].(map[string]any)
		file := map[string]any{
			"$schema":    "http://json-schema.org/draft-07/schema#",
			"allOf":      []any{map[string]any{"$ref": "#/components/schemas/" + name}},
			"components": map[string]any{"schemas": reachable(document.Components.Schemas, name)},
		}
		out, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, schemaName(kind)), out, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// schemaName is kubeconform's {{.ResourceKind}}{{.KindSuffix}}.json.
func schemaName(kind map[string]any) string {
	text := func(key string) string { s, _ := kind[key].(string); return strings.ToLower(s) }
	group, _, _ := strings.Cut(text("group"), ".")
	return strings.Join(slices.DeleteFunc([]string{text("kind"), group, text("version")}, func(s string) bool { return s == "" }), "-") + ".json"
}

// strict refuses the fields that a schema doesn't name, and says in JSON schema
// what OpenAPI says in extensions.
func strict(schema any) {
	switch schema := schema.(type) {
	case []any:
		for _, one := range schema {
			strict(one)
		}
	case map[string]any:
		_, hasProperties := schema["properties"].(map[string]any)
		_, hasOthers := schema["additionalProperties"]
		keepsOthers, _ := schema["x-kubernetes-preserve-unknown-fields"].(bool)
		if hasProperties && !hasOthers && !keepsOthers && schema["type"] == "object" {
			schema["additionalProperties"] = false
		}
		if either, _ := schema["x-kubernetes-int-or-string"].(bool); either {
			delete(schema, "type")
		}
		for value := range maps.Values(schema) {
			strict(value)
		}
	}
}

// reachable returns the schemas that one refers to, itself included.
func reachable(schemas map[string]map[string]any, name string) map[string]any {
	found := map[string]any{}
	var visit func(any)
	visit = func(value any) {
		switch value := value.(type) {
		case []any:
			for _, one := range value {
				visit(one)
			}
		case map[string]any:
			if reference, ok := value["$ref"].(string); ok {
				name := reference[strings.LastIndexByte(reference, '/')+1:]
				if _, seen := found[name]; !seen {
					found[name] = schemas[name]
					visit(any(schemas[name]))
				}
			}
			for one := range maps.Values(value) {
				visit(one)
			}
		}
	}
	found[name] = schemas[name]
	visit(any(schemas[name]))
	return found
}

func TestSchemaNames(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ group, version, kind string }{
		"pod-v1.json":                      {"", "v1", "Pod"},
		"deployment-apps-v1.json":          {"apps", "v1", "Deployment"},
		"networkpolicy-networking-v1.json": {"networking.k8s.io", "v1", "NetworkPolicy"},
	}
	for want, test := range tests {
		kind := map[string]any{"group": test.group, "version": test.version, "kind": test.kind}
		if got := schemaName(kind); got != want {
			t.Errorf("%s: got %q, want %q", fmt.Sprint(test), got, want)
		}
	}
}
