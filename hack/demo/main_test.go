package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/config/samples"
	"github.com/hssgate/hssgate/report"
)

// TestMain builds hssgate, and runs the tests where the program is run: in the
// root of the repository.
func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "hssgate-demo-test-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chdir("../.."); err != nil {
		return 0, err
	}
	build := exec.CommandContext(context.Background(), "go", "build", raceFlag, "-o", hssgateIn(dir), "./cmd/hssgate")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build hssgate: %w\n%s", err, out)
	}
	if err := os.Setenv("DEMO_TEST_DIR", dir); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func hssgateIn(dir string) string { return filepath.Join(dir, "hssgate") }

// show runs the demo and returns what it prints.
func show(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	err = run(t.Context(), append([]string{"-hssgate", hssgateIn(os.Getenv("DEMO_TEST_DIR"))}, args...), &out, io.Discard)
	return out.String(), err
}

// resultsOf returns the results for a folder of samples.
func resultsOf(t *testing.T, folder, controlPlane string) []result {
	t.Helper()
	set, err := loadSamples(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{binary: hssgateIn(os.Getenv("DEMO_TEST_DIR")), controlPlane: controlPlane, dir: t.TempDir(), stderr: io.Discard, set: set}
	results, err := d.results(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// edited returns a copy of hssgate's samples in which some files differ; one
// whose edit is nil is left out.
func edited(t *testing.T, edits map[string]func(string) string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, samples.Files()); err != nil {
		t.Fatal(err)
	}
	for file, edit := range edits {
		path := filepath.Join(dir, file)
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.Remove(path) // a copy of what is embedded is read-only
		}
		if err == nil && edit != nil {
			err = os.WriteFile(path, []byte(edit(string(data))), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func replace(old, with string) func(string) string {
	return func(text string) string { return strings.ReplaceAll(text, old, with) }
}

func TestTheReadmeShowsTheOutput(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := strings.Cut(string(readme), "<!-- demo -->\n```\n")
	want, _, _ = strings.Cut(want, "```\n")
	got, err := show(t)
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("README.md between <!-- demo --> and the end of the block (-shown +output):\n%s", diff)
	}
}

func controlPlane() string {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return dir
	}
	return ".cache/controlplane/bin"
}

func TestAnAPIServerGivesTheSameVerdicts(t *testing.T) {
	t.Parallel()
	want, got := resultsOf(t, "config/samples", ""), resultsOf(t, "config/samples", controlPlane())
	if err := unexpected(got); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(answers(want), answers(got), cmp.AllowUnexported(answer{})); diff != "" {
		t.Errorf("answers (-without +with an API server):\n%s", diff)
	}
}

func answers(results []result) []answer {
	list := make([]answer, len(results))
	for i := range results {
		list[i] = results[i].answer
		delete(list[i].annotations, "duration")
	}
	return list
}

// TestCheckAgreesWithTheWebhook compares hssgate check on the same files.
func TestCheckAgreesWithTheWebhook(t *testing.T) {
	t.Parallel()
	type said struct {
		Title, Verdict, Message string
		Warnings, Policies      []string
	}
	var want []said
	for _, r := range resultsOf(t, "config/samples", "") {
		want = append(want, said{r.object.GetKind() + "/" + r.object.GetName(), string(r.verdict), r.message, r.warnings, r.policies})
	}
	var got []said
	for i, r := range checked(t) {
		if len(want[i].Policies) == 0 { // an update without a new image is not evaluated, and check knows no updates
			r.Policies = nil
		}
		got = append(got, said{r.Title(), string(r.Verdict), r.Message, r.Warnings, r.Policies})
	}
	if diff := cmp.Diff(want, got, cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
		t.Errorf("(-webhook +check):\n%s", diff)
	}
}

// checked returns what check says of the samples.
func checked(t *testing.T) []report.Result {
	t.Helper()
	c, err := check.SampleRegistries()
	if err != nil {
		t.Fatal(err)
	}
	set, err := loadSamples(t.Context(), "config/samples")
	if err != nil {
		t.Fatal(err)
	}
	known, err := check.NewFileInventory(set.inventory, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(known.Close)
	policies, err := check.Compile(set.policies)
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := (&check.Files{Paths: []string{"config/samples/manifests"}}).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	namespaces := &check.Namespaces{}
	namespaces.Add(manifests.Namespaces)
	r := &report.Report{}
	checker := check.NewChecker(check.Options{
		Policies: policies, Namespaces: namespaces, Facts: known, Vulnerabilities: known, Clock: clock.RealClock{}, ExemptNamespaces: c.ExemptNamespaces,
	})
	if err := checker.Check(t.Context(), manifests.Objects, r); err != nil {
		t.Fatal(err)
	}
	return r.Results
}

func TestAnUnexpectedVerdictIsNamed(t *testing.T) {
	t.Parallel()
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
		"a policy that lets more pass": {
			"policies/production.yaml", "vulnerabilities: {max: 0}", "vulnerabilities: {max: 20}",
			[]string{"12-vulnerable.yaml", "Admitted, expected Denied", "41-one-architecture-bad.yaml"},
		},
		"another inventory": {
			"inventory.yaml", "vul_num: 12", "vul_num: 0",
			[]string{"1 of ", "12-vulnerable.yaml", "Admitted, expected Denied"},
		},
		"another configuration": {
			"config.yaml", "swr-ee.example.com", "swr-other.example.com",
			[]string{"1 of ", "45-swr-enterprise.yaml", "Denied, expected Admitted", "no configured registry claims host"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table, err := show(t, "--samples", edited(t, map[string]func(string) string{tt.file: replace(tt.old, tt.with)}))
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
			if !strings.Contains(table, "! ") || !strings.Contains(table, "(marked !)") {
				t.Errorf("the table doesn't mark it:\n%s", table)
			}
		})
	}
}

func TestAFolderOfOnesOwn(t *testing.T) {
	t.Parallel()
	t.Run("needs no configuration", func(t *testing.T) {
		t.Parallel()
		if _, err := show(t, "--samples", edited(t, map[string]func(string) string{"config.yaml": nil})); err != nil {
			t.Error(err)
		}
	})
	t.Run("may be in dry-run mode", func(t *testing.T) {
		t.Parallel()
		dry := func(text string) string { return text + "\ndryRun: true\n" }
		results := resultsOf(t, edited(t, map[string]func(string) string{"config.yaml": dry}), "")
		if slices.ContainsFunc(results, func(r result) bool { return r.verdict == denied }) {
			t.Error("a sample was denied")
		}
	})
	t.Run("may have an image that is none", func(t *testing.T) {
		t.Parallel()
		results := resultsOf(t, edited(t, map[string]func(string) string{"manifests/30-unknown-image.yaml": replace("prod/no-such:1.0", "prod/NO-SUCH")}), "")
		if err := unexpected(results); err != nil || !slices.ContainsFunc(results, func(r result) bool { return r.images[0].Known == "not an image's name" }) {
			t.Errorf("got %v and %+v", err, results)
		}
	})
}

func TestABadFolderIsAnError(t *testing.T) {
	t.Parallel()
	const clean = "manifests/10-clean.yaml"
	one := func(file string, edit func(string) string) map[string]func(string) string {
		return map[string]func(string) string{file: edit}
	}
	none := func(glob string) map[string]func(string) string {
		edits := map[string]func(string) string{}
		files, _ := filepath.Glob("config/samples/" + glob)
		for _, file := range files {
			edits[strings.TrimPrefix(file, "config/samples/")] = nil
		}
		return edits
	}
	tests := map[string]struct {
		edits map[string]func(string) string
		want  string
	}{
		"no inventory":                 {one("inventory.yaml", nil), "inventory.yaml"},
		"no policies":                  {none("policies/*"), "policies: "},
		"no manifests":                 {none("manifests/*"), "manifests/*.yaml"},
		"an unknown field of a policy": {one("policies/production.yaml", replace("maliciousFiles", "malicousFiles")), "malicousFiles"},
		"an expression that is bad":    {one("policies/production.yaml", replace("image.registryType", "image.")), "expression"},
		"namespaces only":              {none("manifests/[1-9]*"), "has an image"},
		"an unknown field of a row":    {one("inventory.yaml", replace("image_name: clean", "image_title: clean")), "image_title"},
		"a configuration that is bad":  {one("config.yaml", replace("hosts:", "hoster:")), "hoster"},
		"no policy among policies":     {one("policies/dev-audit.yaml", replace("ImageScanPolicy", "Pod")), "policies/dev-audit.yaml:"},
		"a manifest without verdict":   {one(clean, replace("demo.hssgate.io/verdict: Admitted", "some: thing")), "manifests/10-clean.yaml: Pod \"clean\": annotation demo.hssgate.io/verdict must be Admitted, Denied or Warned, not \"\""},
		"a verdict that is none":       {one(clean, replace("verdict: Admitted", "verdict: Maybe")), `not "Maybe"`},
		"a manifest without name":      {one(clean, replace("  name: clean\n", "")), "metadata.name must be given"},
		"a manifest without kind":      {one(clean, replace("kind: Pod\n", "")), "metadata.name must be given"},
		"a kind without images":        {one(clean, replace("kind: Pod\n", "kind: Secret\n")), "kind Secret has no images"},
		"no YAML":                      {one(clean, func(string) string { return "a: [" }), "manifests/10-clean.yaml: document 1"},
		"containers that are text":     {one(clean, replace("spec:\n  containers:", "spec:\n  containers: none\n  other:")), "read its images"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := show(t, "--samples", edited(t, tt.edits)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	if _, err := show(t, "-hssgate", "no/such/hssgate"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "make build") {
		t.Errorf("without hssgate: got error %v", err)
	}
	if _, err := show(t, "-control-plane", t.TempDir()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "make controlplane") {
		t.Errorf("without a control plane: got error %v", err)
	}
}

func TestAnInterruptedDemoLeavesNothing(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ctx, cancel := context.WithCancel(t.Context())
	stderr := writerFunc(func([]byte) { cancel() }) // it tells that the API server starts
	if err := run(ctx, []string{"-hssgate", hssgateIn(os.Getenv("DEMO_TEST_DIR")), "-control-plane", controlPlane()}, io.Discard, stderr); err == nil {
		t.Error("got no error")
	}
	left, err := os.ReadDir(temporary)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("%s is left behind", entry.Name())
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}
