package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/config/samples"
	"github.com/hssgate/hssgate/internal/report"
)

// TestMain runs the tests where the program is run: in the root of the repository.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// must ends a test that can't go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// demo runs the demo and returns what it prints.
func demo(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	err = run(t.Context(), args, &out, io.Discard)
	return out.String(), err
}

// resultsOf returns the results for a folder of samples.
func resultsOf(t *testing.T, folder string) []result {
	t.Helper()
	set, err := loadSamples(t.Context(), folder)
	must(t, err)
	results, err := set.results(t.Context(), set.newWebhook)
	must(t, err)
	return results
}

type edit func(string) string

func replace(old, with string) edit {
	return func(text string) string { return strings.ReplaceAll(text, old, with) }
}

// edited returns a copy of hssgate's samples in which the files that match a pattern differ; without an edit they are
// left out.
func edited(t *testing.T, pattern string, change edit) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, samples.Files()))
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no file is %s: %v", pattern, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.Remove(path) // a copy of what is embedded is read-only
		}
		if err == nil && change != nil {
			err = os.WriteFile(path, []byte(change(string(data))), 0o600)
		}
		must(t, err)
	}
	return dir
}

func TestTheDocsShowTheOutput(t *testing.T) {
	page, err := os.ReadFile("docs/demo.md")
	must(t, err)
	_, want, _ := strings.Cut(string(page), "<!-- demo -->\n```\n")
	want, _, _ = strings.Cut(want, "```\n")
	got, err := demo(t)
	must(t, err)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("docs/demo.md between <!-- demo --> and the end of the block (-shown +output):\n%s", diff)
	}
}

func TestCheckAgreesWithTheWebhook(t *testing.T) {
	for _, r := range resultsOf(t, "config/samples") {
		if want := (answer{r.checked.Verdict, r.checked.Message, r.checked.Warnings}); !gocmp.Equal(want, r.answer, gocmp.AllowUnexported(answer{})) {
			t.Errorf("%s: the webhook says %+v, check says %+v", r.title(), r.answer, want)
		}
	}
}

func TestEachRuleAboutCVEsDecides(t *testing.T) {
	for rule, tt := range map[string]struct {
		old, with string
		changed   string // the pod whose verdict is another without the rule
	}{
		"minCVSS":                  {"minCVSS: 7.0, ", "", "low-score"},
		"olderThan":                {"olderThan: 720h, ", "", "just-published"},
		"fixableOnly":              {", fixableOnly: true", "", "no-fix"},
		"vulnerabilities":          {"max: 0", "max: 9", "high-score"},
		"forbiddenVulnerabilities": {"[CVE-2023-44487]", "[CVE-2024-3094]", "forbidden"},
		"expressions":              {"f.cvss >= 9.0", "f.cvss > 10.0", "no-fix-critical"},
		"ignoreVulnerabilities":    {"2099", "2025", "ignored"},
		"the end of an entry":      {"2026-03", "2099-03", "ignored-no-longer"},
	} {
		changed := slices.ContainsFunc(resultsOf(t, edited(t, "policies/cves.yaml", replace(tt.old, tt.with))), func(r result) bool {
			return r.object.GetName() == tt.changed && r.verdict != r.expected
		})
		if !changed {
			t.Errorf("without %s: pod %s has the same verdict", rule, tt.changed)
		}
	}
}

func TestAnUnexpectedVerdictIsNamed(t *testing.T) {
	tests := map[string]struct {
		file, old, with string
		want            []string
	}{
		"another verdict": {
			"manifests/10-clean.yaml", "verdict: Admitted", "verdict: Denied",
			[]string{"1 of ", "10-clean.yaml", "Pod/clean", "Admitted, expected Denied", "passes production"},
		},
		"another reason": {
			"manifests/11-high-severity.yaml", "severity High", "severity Purple",
			[]string{"1 of ", "11-high-severity.yaml", "Denied as expected, but without saying", "severity Purple"},
		},
		"another configuration": {
			"config.yaml", "swr-ee.example.com", "swr-other.example.com",
			[]string{"1 of ", "45-swr-enterprise.yaml", "Denied, expected Admitted", "no configured registry claims host"},
		},
	}
	for name, tt := range tests {
		table, err := demo(t, "--samples", edited(t, tt.file, replace(tt.old, tt.with)))
		if err == nil {
			t.Fatalf("%s: got no error", name)
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %q, want %q in it", name, err, want)
			}
		}
		if !strings.Contains(table, "FAIL ") || !strings.Contains(table, "(marked FAIL)") {
			t.Errorf("%s: the table doesn't mark it:\n%s", name, table)
		}
	}
}

func TestAFolderOfOnesOwn(t *testing.T) {
	if _, err := demo(t, "--samples", edited(t, "config.yaml", nil)); err != nil {
		t.Errorf("without a configuration: %v", err)
	}
	dry := func(text string) string { return text + "\ndryRun: true\n" }
	if slices.ContainsFunc(resultsOf(t, edited(t, "config.yaml", dry)), func(r result) bool { return r.verdict == report.Denied }) {
		t.Error("in dry-run mode a sample was denied")
	}
	invalid := resultsOf(t, edited(t, "manifests/30-unknown-image.yaml", replace("prod/no-such:1.0", "prod/NO-SUCH")))
	if _, err := show(invalid); err != nil {
		t.Errorf("with an image that is none: %v", err)
	}
}

func TestABadFolderIsAnError(t *testing.T) {
	const clean = "manifests/10-clean.yaml"
	tests := map[string]struct {
		files  string
		change edit
		want   string
	}{
		"no inventory":               {"inventory.yaml", nil, "inventory.yaml"},
		"no policies":                {"policies/*", nil, "policies: "},
		"namespaces only":            {"manifests/[1-9]*", nil, "has an image"},
		"a manifest without verdict": {clean, replace("demo.hssgate.io/verdict: Admitted", "some: thing"), "manifests/10-clean.yaml: Pod \"clean\": annotation demo.hssgate.io/verdict must be Admitted, Denied, Denied (its pods) or Warned, not \"\""},
		"a manifest without name":    {clean, replace("  name: clean\n", ""), "metadata.name must be given"},
		"a kind without images":      {clean, replace("kind: Pod\n", "kind: Secret\n"), "kind Secret has no images"},
		"no YAML":                    {clean, func(string) string { return "a: [" }, "manifests/10-clean.yaml: document 1"},
		"containers that are text":   {clean, replace("spec:\n  containers:", "spec:\n  containers: none\n  other:"), "read its images"},
	}
	for name, tt := range tests {
		if _, err := demo(t, "--samples", edited(t, tt.files, tt.change)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, tt.want)
		}
	}
}
