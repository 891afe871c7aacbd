package check_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/report"
)

const guidePath = "../docs/guides/vulnerabilities.md"

// guide takes apart the guide to vulnerabilities: the blocks after a comment, by
// what the comment says.
func guide(t *testing.T) (text string, block func(name string) string) {
	t.Helper()
	data, err := os.ReadFile(guidePath)
	if err != nil {
		t.Fatal(err)
	}
	text = string(data)
	return text, func(name string) string {
		t.Helper()
		_, rest, found := strings.Cut(text, "<!-- "+name+" -->\n```")
		_, rest, _ = strings.Cut(rest, "\n")
		content, _, ended := strings.Cut(rest, "```\n")
		if !found || !ended {
			t.Fatalf("%s has no block %s", guidePath, name)
		}
		return content
	}
}

// The guide shows the real output of its policy, and its test passes. Run with
// -update to write the output anew.
func TestTheGuideToVulnerabilitiesIsTrue(t *testing.T) {
	t.Parallel()
	text, block := guide(t)
	dir := t.TempDir()
	for _, name := range []string{"policy.yaml", "test.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(block(name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := check.LoadPolicies(t.Context(), check.Files{Paths: []string{filepath.Join(dir, "policy.yaml")}})
	if err != nil {
		t.Fatal(err)
	}
	o := simulated(t)
	o.Policies = compile(t, loaded.Policies...)
	r := checkObjects(t, o, []check.Object{check.ImageObject("swr.cn-north-4.myhuaweicloud.com/prod/vulnerable:1.0", "")})
	r.Policies = []string{"fixable"}
	output := func(f report.Output) string {
		var b strings.Builder
		if err := r.Write(&b, report.Format{Output: f}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	_, listed, _ := strings.Cut(output(report.WideOutput), "denied.\n\n")
	for name, want := range map[string]string{"table": output(report.TableOutput), "list": listed} {
		shown := block(name)
		if *update {
			text = strings.Replace(text, "<!-- "+name+" -->\n```\n"+shown, "<!-- "+name+" -->\n```\n"+want, 1)
			continue
		}
		if diff := cmp.Diff(want, shown); diff != "" {
			t.Errorf("%s, block %s (-output +shown; -update writes it anew):\n%s", guidePath, name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(guidePath, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var tests report.Tests
	if err := check.RunPolicyTests(t.Context(), []string{filepath.Join(dir, "test.yaml")}, &tests); err != nil || len(tests.Problems) > 0 {
		t.Fatal(err, tests.Problems)
	}
	for _, c := range tests.Cases {
		if c.Problem != "" {
			t.Errorf("%s: %s", c.Name, c.Problem)
		}
	}
	if len(tests.Cases) != 2 {
		t.Errorf("%d cases ran", len(tests.Cases))
	}
}
