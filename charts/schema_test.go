package charts_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/config"
)

var update = flag.Bool("update", false, "write the part of values.schema.json that follows from package config")

// fromChart are the fields of the configuration file that the chart fills in from other values.
func fromChart() []string {
	return []string{
		"apiVersion", "kind", "dryRun", "exemptNamespaces", "healthBindAddress", "messages", "metricsBindAddress",
		"webhook.bindAddress", "webhook.certDir", "webhook.hosts", "webhook.configurationName", "webhook.mutatingConfigurationName",
		"webhook.caSecret", "webhook.clientCAFile", "webhook.clientNames",
	}
}

// TestSchemaFollowsTheConfigurationFile keeps the schema of values below config in step with the types that
// hssgate reads, and with their reference.
func TestSchemaFollowsTheConfigurationFile(t *testing.T) {
	t.Parallel()
	const path = chart + "/values.schema.json"
	var schema map[string]any
	must(t, json.Unmarshal([]byte(readFile(t, path)), &schema))
	properties := schema["properties"].(map[string]any)
	data, err := json.Marshal(schemaOf(t, "", reflect.TypeFor[config.Configuration](), meanings(t)))
	must(t, err)
	var want any
	must(t, json.Unmarshal(data, &want))
	if diff := cmp.Diff(want, properties["config"]); diff != "" && !*update {
		t.Errorf("values.schema.json doesn't fit package config: run go test ./charts -update\n-want +got:\n%s", diff)
	}
	if !*update {
		return
	}
	properties["config"] = want
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	must(t, encoder.Encode(schema))
	must(t, os.WriteFile(path, out.Bytes(), 0o600))
}

// meanings reads the reference of the configuration file: what each field means, by its path.
func meanings(t *testing.T) map[string]string {
	t.Helper()
	all, section := map[string]string{}, ""
	for line := range strings.Lines(readFile(t, "../config/reference.md")) {
		if heading := regexp.MustCompile("^## `(.*)`").FindStringSubmatch(line); heading != nil {
			section = heading[1] + "."
		}
		if row := regexp.MustCompile("^\\| `(.*?)` \\|.*?\\|.*?\\| (.*?) ?\\| (.*) \\|$").FindStringSubmatch(strings.TrimSpace(line)); row != nil {
			all[section+row[1]] = strings.ReplaceAll(row[3], `\|`, "|")
			if row[2] != "" {
				all[section+row[1]] += " (" + row[2] + ")"
			}
		}
	}
	return all
}

// schemaOf returns the JSON schema of a type that stands at a path of the file.
func schemaOf(t *testing.T, path string, of reflect.Type, meanings map[string]string) map[string]any {
	t.Helper()
	switch of.Name() {
	case "Duration", "Bytes":
		return map[string]any{"$ref": "#/$defs/" + strings.ToLower(of.Name())}
	}
	switch of.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64: // Helm's --set makes a text of a number with a point
		return map[string]any{"type": []string{"number", "string"}, "pattern": `^[0-9]+(\.[0-9]+)?$`}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t, path+"[]", of.Elem(), meanings)}
	case reflect.Struct:
	default:
		t.Fatalf("%s: no JSON schema is known for %s", path, of)
	}
	properties := map[string]any{}
	for field := range of.Fields() {
		key := strings.TrimPrefix(path+"."+field.Tag.Get("yaml"), ".")
		if field.Tag.Get("yaml") == "-" || slices.Contains(fromChart(), key) {
			continue
		}
		schema := schemaOf(t, key, field.Type, meanings)
		if schema["$ref"] == nil {
			schema["description"] = meanings[key]
		}
		properties[field.Tag.Get("yaml")] = schema
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}
