package report_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/report"
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
	want := "6 objects: 2 newly denied, 1 newly admitted, 2 changed otherwise, 1 cannot be told."
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

// allOf writes the same in several formats.
func allOf(t *testing.T, outputs []report.Output, write func(*strings.Builder, report.Format) error) map[report.Output]string {
	t.Helper()
	all := map[report.Output]string{}
	for _, output := range outputs {
		var b strings.Builder
		if err := write(&b, report.Format{Output: output}); err != nil {
			t.Fatal(err)
		}
		all[output] = b.String()
	}
	return all
}

func TestChangesAreWritten(t *testing.T) {
	t.Parallel()
	texts := allOf(t, report.ChangeOutputs(), func(b *strings.Builder, f report.Format) error { return changed().Write(b, f) })
	for _, output := range []report.Output{report.TableOutput, report.WideOutput} {
		if text := texts[output]; !strings.Contains(text, "was Admitted") || strings.Contains(text, "\x1b") || !strings.Contains(text, "! bad") {
			t.Errorf("%s: got\n%s", output, text)
		}
	}
	for output, read := range map[report.Output]func([]byte, any) error{
		report.JSON: json.Unmarshal, report.YAML: func(data []byte, v any) error { return yaml.UnmarshalStrict(data, v) },
	} {
		var got report.Changes
		if err := read([]byte(texts[output]), &got); err != nil || len(got.Changes) != 5 || got.NewlyDenied != 2 {
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
	texts := allOf(t, report.TestOutputs(), func(b *strings.Builder, f report.Format) error { return tests.Write(b, f) })
	if text := texts[report.TableOutput]; !strings.Contains(text, "! Denied") || !strings.Contains(text, "Warned") || strings.Contains(text, "Admitted") ||
		!strings.Contains(text, "! gone.yaml: no such file") || !strings.Contains(text, "2 cases, 1 of them (marked !) not as expected.") {
		t.Errorf("got\n%s", text)
	}
	if err := validate(loadXSD(t), parseXML(t, texts[report.JUnit])); err != nil || strings.Count(texts[report.JUnit], "<failure") != 1 || strings.Count(texts[report.JUnit], "<error") != 1 {
		t.Errorf("%v in\n%s", err, texts[report.JUnit])
	}
	var got report.Tests
	if err := json.Unmarshal([]byte(texts[report.JSON]), &got); err != nil || got.Failed != 1 || len(got.Cases) != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
	if got := (&report.Tests{}).String(); got != "0 cases, all as expected." {
		t.Errorf("got %q", got)
	}
}
