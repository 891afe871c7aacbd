package report_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
)

// evil is a text that whoever writes a manifest may put anywhere. EVIL begins a
// line of its own if a format lets it.
const evil = "a\r\nEVIL|x|\n\n## EVIL\u2028EVIL\x1b[2J\x9b31m\u009b31m\u202e`<b>**[x](y)</testcase>\x00~~$\\|"

// injected is a report in which every text is evil.
func injected(explained bool) *report.Report {
	problem := report.Problem{Source: evil, Line: 1, Message: evil}
	r := &report.Report{Subject: evil, Version: "v1", Policies: []string{evil}, Problems: []report.Problem{problem, {Message: evil}}, Skipped: []report.Problem{problem}}
	for _, verdict := range report.Verdicts() {
		one := report.Image{Place: image.PlaceContainer, Name: evil, Reference: evil, State: report.Found, Known: evil}
		one.Listed = &report.ListedImage{Reference: evil, Counted: 1, Listed: []policy.Vulnerability{{ID: evil, Severity: evil, Package: evil, Installed: evil, Fix: evil}}}
		result := report.Result{
			Source: evil, Namespace: evil, Kind: evil, Name: evil, Owner: evil, Verdict: verdict, Images: []report.Image{one}, Policies: []string{evil}, Message: evil,
			Warnings:   []string{evil},
			Violations: []report.Violation{{Place: image.PlaceContainer, Name: evil, Reference: evil, Policy: evil, Effect: "Deny", PodEffect: "Deny", Findings: []policy.Finding{{Check: "severityLevel", Message: evil}}}},
		}
		if explained {
			result.Explanation = []string{evil, "  " + evil}
		}
		r.Add(result)
	}
	r.Finish()
	return r
}

func TestNoTextStepsOutOfItsPlace(t *testing.T) {
	t.Parallel()
	written := map[string]string{}
	for _, output := range report.Outputs() {
		written[output] = writtenAs(t, injected(false), output)
	}
	written["explained table"] = writtenAs(t, injected(true), report.TableOutput)
	tests, changes := injected(false), injected(false)
	tests.Tests, changes.Changes = &report.Tests{}, &report.Changes{}
	for i := range tests.Results {
		tests.Results[i].Case, tests.Results[i].Problem = evil, evil
		changes.Results[i].Before, changes.Results[i].Was = report.Admitted, []string{evil}
	}
	for _, output := range report.ChangeOutputs() {
		written["tests "+output], written["changes "+output] = writtenAs(t, tests, output), writtenAs(t, changes, output)
	}
	written["tests junit"] = writtenAs(t, tests, report.JUnit)
	for name, text := range written {
		for _, r := range text {
			if r != '\n' && (unicode.IsControl(r) || !strings.HasSuffix(name, "yaml") && !unicode.IsPrint(r)) {
				t.Errorf("%s holds %q", name, r)
				break
			}
		}
		if strings.HasSuffix(name, "yaml") || strings.HasSuffix(name, "html") { // they have their own lines and quotes
			continue
		}
		if line := regexp.MustCompile(`(?m)^[ |#]*EVIL.*`).FindString(text); line != "" && !strings.Contains(name, "table") && !strings.Contains(name, "wide") && name != "junit" && name != "tests junit" {
			t.Errorf("%s has a line %q", name, line)
		}
	}
	for _, name := range []string{"json", "sarif", "tests json", "changes json"} {
		if !json.Valid([]byte(written[name])) {
			t.Errorf("%s is not valid", name)
		}
	}
	for _, name := range []string{"junit", "tests junit"} {
		readJUnit(t, written[name])
	}
	for line := range strings.Lines(written[report.Markdown]) {
		cells := strings.Count(regexp.MustCompile(`\\.`).ReplaceAllString(line, ""), "|")
		if strings.HasPrefix(line, "|") && cells != 6 {
			t.Errorf("a row of %d bars: %q", cells, line)
		}
	}
}

func TestAnErrorCannotSteerTheTerminal(t *testing.T) {
	if got, want := report.Printable("a\x1b[2Jb\u009b31m\u202e\r\nc"), "a[2Jb31m\nc"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
