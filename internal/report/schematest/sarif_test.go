package schematest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
)

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	s, err := compiler.Compile("../testdata/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(document)
}

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
	s := schema(t)
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var text strings.Builder
			if err := r.Write(&text, report.SARIF); err != nil {
				t.Fatal(err)
			}
			if err := validate(t, s, text.String()); err != nil {
				t.Errorf("%v in\n%s", err, text.String())
			}
		})
	}
}

// TestTheSchemaIsStrict shows that the validator finds what is wrong.
func TestTheSchemaIsStrict(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	r := &report.Report{Results: []report.Result{violated("a.yaml", 1)}}
	if err := r.Write(&text, report.SARIF); err != nil {
		t.Fatal(err)
	}
	for old, with := range map[string]string{
		`"level": "error"`: `"level": "fatal"`, `"startLine": 4`: `"startLine": 0`, `"ruleId"`: `"ruleID"`, `"version": "2.1.0"`: `"version": "2.2"`,
	} {
		wrong := strings.Replace(text.String(), old, with, 1)
		if wrong == text.String() || !json.Valid([]byte(wrong)) {
			t.Fatalf("there is no %s", old)
		}
		if err := validate(t, schema(t), wrong); err == nil {
			t.Errorf("%s was found valid", with)
		}
	}
}
