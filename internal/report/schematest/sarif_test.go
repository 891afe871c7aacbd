package schematest

import (
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
)

func TestSARIFIsValid(t *testing.T) {
	t.Parallel()
	texts := map[string]string{}
	for _, name := range []string{"everything", "audit"} { // as package report writes them
		golden, err := os.ReadFile("../testdata/" + name + ".sarif")
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(golden)
	}
	odd := report.Result{Source: "/srv/my app.yaml", Line: 1, Kind: "Pod", Verdict: report.Denied, Violations: []report.Violation{
		{Place: "image volume", Name: "v", Reference: "\"?\"", Policy: "p", Effect: "Deny", PodEffect: "Deny", Findings: []policy.Finding{{Check: "digest", Message: "认证失败"}}},
	}}
	for name, r := range map[string]*report.Report{"nothing": {}, "a path of the root, an object without a name": {Results: []report.Result{odd}}} {
		var text strings.Builder
		if err := r.Write(&text, report.SARIF); err != nil {
			t.Fatal(err)
		}
		texts[name] = text.String()
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile("../testdata/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(text string) error {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			return err
		}
		return schema.Validate(document)
	}
	for name, text := range texts {
		if err := validate(text); err != nil {
			t.Errorf("%s: %v in\n%s", name, err, text)
		}
		wrong := strings.Replace(text, `"level": "error"`, `"level": "fatal"`, 1)
		if wrong != text && validate(wrong) == nil {
			t.Errorf("%s: the schema allows any level", name)
		}
	}
}
