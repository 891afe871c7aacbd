package schematest

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	generator "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hssgate/hssgate/internal/report"
)

var update = flag.Bool("update", false, "write the schema anew")

const published = "../../../docs/reference/check-report.schema.json"

// generated returns the schema of the Go types, with their comments.
func generated(t *testing.T) []byte {
	t.Helper()
	r := generator.Reflector{AllowAdditionalProperties: true, Mapper: func(of reflect.Type) *generator.Schema {
		if of != reflect.TypeFor[report.Verdict]() {
			return nil
		}
		verdicts := &generator.Schema{Type: "string"}
		for _, v := range report.Verdicts() {
			verdicts.Enum = append(verdicts.Enum, v)
		}
		return verdicts
	}}
	for _, folder := range []string{"../../report", "../../../policy"} {
		if err := r.AddGoComments("github.com/hssgate/hssgate/internal/report/schematest", folder); err != nil {
			t.Fatal(err)
		}
	}
	schema := r.Reflect(report.Document{})
	schema.ID = "https://github.com/hssgate/hssgate/blob/main/docs/reference/check-report.schema.json"
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

func TestJSONIsValid(t *testing.T) {
	t.Parallel()
	if *update {
		if err := os.WriteFile(published, generated(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(published)
	if err != nil || string(text) != string(generated(t)) {
		t.Fatalf("the schema is not that of the Go types, -update writes it anew (%v)", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile(published)
	if err != nil {
		t.Fatal(err)
	}
	var nothing strings.Builder
	if err := (&report.Report{}).Write(&nothing, report.JSON); err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"nothing": nothing.String()}
	for _, name := range []string{"everything", "audit", "changes", "tests"} { // as package report writes them
		golden, err := os.ReadFile("../testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(golden)
	}
	for name, text := range texts {
		for _, wrong := range []string{"", `"Warned"`, `"results"`} {
			broken := strings.ReplaceAll(text, wrong, `"wrong"`)
			if wrong == "" {
				broken = text
			}
			document, err := jsonschema.UnmarshalJSON(strings.NewReader(broken))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(document); (err != nil) != (broken != text) {
				t.Errorf("%s with %s replaced: %v", name, wrong, err)
			}
		}
	}
}
