package report_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// changed are changes of every kind.
func changed() *report.Changes {
	c := &report.Changes{Subject: "running pods", Problems: []report.Problem{{Message: "bad\x1b"}}}
	at := func(v report.Verdict) *report.Result {
		return &report.Result{Namespace: "shop", Kind: "Pod", Name: "web", Verdict: v, Policies: []string{"p"}, Images: []report.Image{{Reference: "h.io/a:1", Known: "severity High"}}}
	}
	for _, pair := range [][2]report.Verdict{
		{report.Admitted, report.Admitted}, {report.Admitted, report.Denied}, {report.Warned, report.Denied},
		{report.Denied, report.Warned}, {report.Admitted, report.Warned}, {report.Denied, report.Unknown},
	} {
		c.Add(at(pair[0]), at(pair[1]))
	}
	return c
}

func TestChangesAreCounted(t *testing.T) {
	t.Parallel()
	want := "6 objects: 2 newly denied, 1 newly admitted, 2 changed otherwise, 1 unknown."
	if got := changed().String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPodsOfWorkloadsCountAsChanges(t *testing.T) {
	t.Parallel()
	at := func(onPods v1alpha1.Enforcement) *report.Result {
		return &report.Result{Kind: "CronJob", Name: "nightly", Verdict: report.Warned,
			Violations: []report.Violation{{Policy: "p", Effect: v1alpha1.EnforcementWarn, PodEffect: onPods}}}
	}
	c := &report.Changes{}
	c.Add(at(v1alpha1.EnforcementWarn), at(v1alpha1.EnforcementDeny))
	c.Add(at(v1alpha1.EnforcementDeny), at(v1alpha1.EnforcementWarn))
	c.Add(at(v1alpha1.EnforcementDeny), at(v1alpha1.EnforcementDeny))
	if want := "3 objects: 1 newly denied, 1 newly admitted."; c.String() != want {
		t.Errorf("got %q, want %q", c, want)
	}
}

func TestChangesAreWritten(t *testing.T) {
	t.Parallel()
	for _, output := range []report.Output{report.TableOutput, report.WideOutput} {
		if text := writtenAs(t, changed(), output); !strings.Contains(text, "was Admitted") || strings.Contains(text, "\x1b") || !strings.Contains(text, "! bad") {
			t.Errorf("%s: got\n%s", output, text)
		}
	}
	for output, read := range map[report.Output]func([]byte, any) error{
		report.JSON: json.Unmarshal, report.YAML: func(data []byte, v any) error { return yaml.UnmarshalStrict(data, v) },
	} {
		var got report.Changes
		if err := read([]byte(writtenAs(t, changed(), output)), &got); err != nil || len(got.Changes) != 5 || got.NewlyDenied != 2 {
			t.Errorf("%s: got %+v, %v", output, got, err)
		}
	}
}

func TestTestsAreWritten(t *testing.T) {
	t.Parallel()
	tests := &report.Tests{}
	tests.Add(report.TestCase{File: "a.yaml", Name: "good", Expected: report.Denied, Results: []report.Result{changed().Changes[0].After}})
	tests.Add(report.TestCase{File: "a.yaml", Name: "bad <\x1b>", Expected: report.Admitted, Results: []report.Result{{Verdict: report.Denied}, {Verdict: report.Denied}, {Verdict: report.Warned}}, Problem: "it is Denied & so on"})
	tests.Problems = []report.Problem{{Source: "gone.yaml", Message: "no such file"}}
	if text := writtenAs(t, tests, report.TableOutput); !strings.Contains(text, "! Failed") || !strings.Contains(text, "Denied") || strings.Contains(text, "Admitted") ||
		!strings.Contains(text, "! gone.yaml: no such file") || !strings.Contains(text, "2 cases, 1 of them (marked !) not as expected.") {
		t.Errorf("got\n%s", text)
	}
	junit := writtenAs(t, tests, report.JUnit)
	if got := readJUnit(t, junit); len(got) != 3 || strings.Count(junit, "<failure") != 1 || strings.Count(junit, "<error") != 1 {
		t.Errorf("got\n%s", junit)
	}
	var got report.Tests
	if err := json.Unmarshal([]byte(writtenAs(t, tests, report.JSON)), &got); err != nil || got.Failed != 1 || len(got.Cases) != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
	if got := (&report.Tests{}).String(); got != "0 cases, all as expected." {
		t.Errorf("got %q", got)
	}
}
