package schematest

import (
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
)

// violated is a result with whatever can stand in one.
func violated(source string, line int) report.Result {
	return report.Result{
		Source: source, Line: line, Namespace: "shop", Kind: "Pod", Name: "web \"1\"", Owner: "ReplicaSet/web", Alike: []string{"web-2"},
		Verdict: report.Denied, Message: "pod denied\n<b>&\x1b", Policies: []string{"p"},
		Images: []report.Image{{Place: "container", Name: "app", Reference: "h.io/a:1", Line: line + 3, State: report.Found, Known: "severity High"}},
		Violations: []report.Violation{
			{Place: "container", Name: "app", Reference: "h.io/a:1", Policy: "p", Effect: "Deny", PodEffect: "Deny", Findings: []policy.Finding{{Check: "severityLevel", Message: "severity High, allowed Medium"}, {Check: "digest", Message: "认证失败"}}},
			{Place: "image volume", Name: "v", Reference: "\"?\"", Policy: "p", Effect: "Warn", PodEffect: "Deny", Findings: []policy.Finding{{Check: "reference", Message: "invalid"}}},
			{Place: "container", Name: "app", Reference: "h.io/a:1", Policy: "q", Effect: "Audit", PodEffect: "Audit", Findings: []policy.Finding{{Check: "notFound", Message: "HSS has no such image"}}},
		},
	}
}

func TestSARIFIsValid(t *testing.T) {
	t.Parallel()
	tests := map[string]*report.Report{
		"nothing":             {},
		"an object of a file": {Subject: "manifests", Time: time.Unix(1_800_000_000, 123), Version: "v1.2.3", Results: []report.Result{violated("manifests/my app.yaml", 4)}},
		"a pod of a cluster":  {Results: []report.Result{violated("", 0)}},
		"a path of the root":  {Results: []report.Result{violated("/srv/a.yaml", 1)}},
		"what can't be read":  {Problems: []report.Problem{{Source: "a.yaml", Line: 3, Message: "bad"}, {Message: "worse"}}},
		"an object no name":   {Results: []report.Result{{Kind: "Pod", Verdict: report.Admitted}}},
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
	for name, r := range tests {
		var text strings.Builder
		if err := r.Write(&text, report.SARIF); err != nil {
			t.Fatal(err)
		}
		if err := validate(text.String()); err != nil {
			t.Errorf("%s: %v in\n%s", name, err, text.String())
		}
		wrong := strings.Replace(text.String(), `"level": "error"`, `"level": "fatal"`, 1)
		if len(r.Results) > 0 && len(r.Results[0].Violations) > 0 && validate(wrong) == nil {
			t.Errorf("%s: the schema allows any level", name)
		}
	}
}
