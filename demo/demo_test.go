package demo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/config/samples"
	"github.com/hssgate/hssgate/demo"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files anew")
	os.Exit(m.Run())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if update := flag.Lookup("update"); update != nil && update.Value.String() == "true" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

// run judges a folder of samples at a time that never changes.
func run(t *testing.T, files fs.FS) (*demo.Report, error) {
	t.Helper()
	clk := clocktesting.NewFakeClock(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	return demo.Run(t.Context(), demo.Options{Samples: files, Clock: clk})
}

func mustRun(t *testing.T, files fs.FS) *demo.Report {
	t.Helper()
	report, err := run(t, files)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func write(t *testing.T, r *demo.Report, f demo.Format) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// edited is a copy of hssgate's samples in which some files differ; a nil one
// is left out.
func edited(t *testing.T, edits map[string]func(string) string) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	err := fs.WalkDir(samples.Files(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(samples.Files(), path)
		edit, found := edits[path]
		switch {
		case found && edit == nil:
			return nil
		case found:
			data = []byte(edit(string(data)))
		}
		files[path] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func replace(old, with string) func(string) string {
	return func(text string) string { return strings.ReplaceAll(text, old, with) }
}

func TestTheSamplesAreJudgedAsTheyExpect(t *testing.T) {
	t.Parallel()
	report := mustRun(t, nil)
	if err := report.Check(); err != nil {
		t.Error(err)
	}
	for file, format := range map[string]demo.Format{
		"table.golden":    {},
		"terminal.golden": {Width: 160, Colour: true},
		"wide.golden":     {Output: demo.Wide},
		"report.golden":   {Output: demo.JSON},
	} {
		golden(t, file, write(t, report, format))
	}
}

func TestATableIsNoWiderThanItMayBe(t *testing.T) {
	t.Parallel()
	report := mustRun(t, nil)
	for _, width := range []int{64, 72, 80, 100, 120, 200, 400} {
		for line := range strings.Lines(write(t, report, demo.Format{Width: width})) {
			if got := utf8.RuneCountInString(strings.TrimRight(line, "\n")); got > width {
				t.Errorf("at %d columns a line has %d: %q", width, got, line)
			}
		}
	}
}

func TestAColourChangesNoText(t *testing.T) {
	t.Parallel()
	report := mustRun(t, nil)
	coloured := write(t, report, demo.Format{Colour: true})
	for _, code := range []string{"\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m"} {
		if !strings.Contains(coloured, code) {
			t.Errorf("no %q in it", code)
		}
		coloured = strings.ReplaceAll(coloured, code, "")
	}
	if diff := cmp.Diff(write(t, report, demo.Format{}), coloured); diff != "" {
		t.Errorf("without its colours (-plain +coloured):\n%s", diff)
	}
}

func TestJSONAndYAMLHoldTheSame(t *testing.T) {
	t.Parallel()
	report := mustRun(t, nil)
	var fromJSON, fromYAML demo.Report
	if err := json.Unmarshal([]byte(write(t, report, demo.Format{Output: demo.JSON})), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(write(t, report, demo.Format{Output: demo.YAML})), &fromYAML); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]demo.Report{"JSON": fromJSON, "YAML": fromYAML} {
		if diff := cmp.Diff(*report, got, cmpopts.IgnoreUnexported(demo.Result{})); diff != "" {
			t.Errorf("%s (-report +read):\n%s", name, diff)
		}
	}
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
			report := mustRun(t, edited(t, map[string]func(string) string{tt.file: replace(tt.old, tt.with)}))
			err := report.Check()
			if !errors.Is(err, demo.ErrUnexpected) {
				t.Fatalf("got error %v, want ErrUnexpected", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
			if table := write(t, report, demo.Format{}); !strings.Contains(table, "\n") || !strings.Contains(table, "! ") || !strings.Contains(table, "(marked !)") {
				t.Errorf("the table doesn't mark it:\n%s", table)
			}
		})
	}
}

func TestAFolderNeedsNoConfiguration(t *testing.T) {
	t.Parallel()
	if err := mustRun(t, edited(t, map[string]func(string) string{"config.yaml": nil})).Check(); err != nil {
		t.Error(err)
	}
}

func TestDryRunOnlyWarns(t *testing.T) {
	t.Parallel()
	dry := func(text string) string { return text + "\ndryRun: true\n" }
	report := mustRun(t, edited(t, map[string]func(string) string{"config.yaml": dry}))
	for _, r := range report.Results {
		if r.Verdict == demo.Denied {
			t.Errorf("%s was denied", r.Name)
		}
	}
}

func TestABadFolderIsAnError(t *testing.T) {
	t.Parallel()
	const clean = "manifests/10-clean.yaml"
	always := func(text string) func(string) string { return func(string) string { return text } }
	empty := func(glob string) map[string]func(string) string {
		edits := map[string]func(string) string{}
		names, _ := fs.Glob(samples.Files(), glob)
		for _, name := range names {
			edits[name] = nil
		}
		return edits
	}
	one := func(file string, edit func(string) string) map[string]func(string) string {
		return map[string]func(string) string{file: edit}
	}
	tests := map[string]struct {
		edits map[string]func(string) string
		want  string
	}{
		"no inventory":                {one("inventory.yaml", nil), "inventory.yaml"},
		"no policies":                 {empty("policies/*"), "there is no policies/*.yaml"},
		"no manifests":                {empty("manifests/*"), "there is no manifests/*.yaml"},
		"an unknown field of a row":   {one("inventory.yaml", replace("image_name: clean", "image_title: clean")), "image_title"},
		"a configuration that is bad": {one("config.yaml", replace("hosts:", "hoster:")), "hoster"},
		"an unknown field of a policy": {
			one("policies/production.yaml", replace("maliciousFiles", "malicousFiles")), "malicousFiles",
		},
		"an expression that is bad":  {one("policies/production.yaml", replace("image.registryType", "image.")), "expression"},
		"no policy among policies":   {one("policies/dev-audit.yaml", replace("ImageScanPolicy", "Pod")), "policies/dev-audit.yaml: document 1: it must be a hssgate.io/v1alpha1 ImageScanPolicy"},
		"a manifest without verdict": {one(clean, replace("demo.hssgate.io/verdict: Admitted", "some: thing")), "manifests/10-clean.yaml: document 1: Pod \"clean\": annotation demo.hssgate.io/verdict must be Admitted, Denied or Warned, not \"\""},
		"a verdict that is none":     {one(clean, replace("verdict: Admitted", "verdict: Maybe")), `not "Maybe"`},
		"a manifest without name":    {one(clean, replace("  name: clean\n", "")), "Pod without metadata.name"},
		"a manifest without kind":    {one(clean, replace("kind: Pod\n", "")), "no apiVersion or no kind"},
		"a kind without images":      {one(clean, replace("kind: Pod\n", "kind: Secret\n")), "kind Secret names no images"},
		"no YAML":                    {one(clean, always("a: [")), "manifests/10-clean.yaml: document 1"},
		"a list":                     {one(clean, always("[1]")), "read the object"},
		"containers that are text":   {one(clean, replace("spec:\n  containers:", "spec:\n  containers: none\n  other:")), "read its images"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := run(t, edited(t, tt.edits))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestAnImageThatIsNoneIsShownAsItIs(t *testing.T) {
	t.Parallel()
	files := edited(t, map[string]func(string) string{"manifests/30-unknown-image.yaml": replace("prod/no-such:1.0", "prod/NO-SUCH")})
	report := mustRun(t, files)
	if err := report.Check(); err != nil {
		t.Fatal(err)
	}
	if table := write(t, report, demo.Format{Width: 200}); !strings.Contains(table, "invalid image reference") || !strings.Contains(table, "not an image's name") {
		t.Errorf("the table doesn't say so:\n%s", table)
	}
}

func TestParseOutput(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]demo.Output{"": demo.Table, "table": demo.Table, "wide": demo.Wide, "json": demo.JSON, "yaml": demo.YAML} {
		if got, err := demo.ParseOutput(name); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := demo.ParseOutput("xml"); err == nil || !strings.Contains(err.Error(), `not "xml"`) {
		t.Errorf("got error %v", err)
	}
}

// failing fails to write.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestWriteTellsOfAFailure(t *testing.T) {
	t.Parallel()
	report := &demo.Report{}
	if err := report.Write(failing{}, demo.Format{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got error %v, want os.ErrClosed", err)
	}
}
