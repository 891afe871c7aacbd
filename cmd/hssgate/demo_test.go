package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/hssgate/hssgate/config/samples"
	"github.com/hssgate/hssgate/demo"
)

// folder writes hssgate's samples into a folder, one file changed.
func folder(t *testing.T, file, old, with string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, samples.Files()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, file)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// What is embedded is read-only, and so is its copy.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(data), old, with)), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDemoShowsATable(t *testing.T) {
	stdout, stderr, err := run(t, "demo")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"POD", "IMAGE", "WHAT HSS KNOWS", "VERDICT", "WHY", "Pod/high-severity", "111", "all as the samples expect"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in it:\n%s", want, stdout)
		}
	}
	if stderr != "" || strings.Contains(stdout, "\x1b") {
		t.Errorf("colours where there's no terminal, or an error: %q", stderr)
	}
}

func TestDemoPrintsJSON(t *testing.T) {
	stdout, _, err := run(t, "demo", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var report demo.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || len(report.Results) < 25 {
		t.Errorf("got %d results, %v", len(report.Results), err)
	}
}

func TestDemoFailsWhereAVerdictDiffers(t *testing.T) {
	dir := folder(t, "manifests/10-clean.yaml", "verdict: Admitted", "verdict: Warned")
	stdout, _, err := run(t, "demo", "--samples", dir)
	if !errors.Is(err, demo.ErrUnexpected) || exitCode(err) != exitFailure || !strings.Contains(err.Error(), "10-clean.yaml") {
		t.Errorf("got error %v, want one that names the sample", err)
	}
	if !strings.Contains(stdout, "! Admitted") {
		t.Errorf("the table doesn't mark it:\n%s", stdout)
	}
}

func TestDemoNamesTheFolderOfWhatIsWrong(t *testing.T) {
	const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"
	policy, err := samples.Files().ReadFile("policies/production.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ policy, manifest, want string }{
		"empty files":      {"", "# none\n", "there is nothing in policies/*.yaml"},
		"empty manifests":  {string(policy), "---\n---\n", "there is nothing in manifests/*.yaml"},
		"only a namespace": {string(policy), namespace, "manifests/*.yaml name no image"},
		"no YAML":          {string(policy), "{]", "manifests/a.yaml: document 1: "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := fstest.MapFS{
				"inventory.yaml":   {Data: []byte("images: []\n")},
				"policies/a.yaml":  {Data: []byte(tt.policy)},
				"manifests/a.yaml": {Data: []byte(tt.manifest)},
			}
			if err := os.CopyFS(dir, files); err != nil {
				t.Fatal(err)
			}
			_, _, err := run(t, "demo", "--samples", dir)
			if want := "demo: --samples " + dir + ": " + tt.want; err == nil || !strings.HasPrefix(err.Error(), want) || exitCode(err) != exitFailure {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

func TestDemoIsVerboseOnRequest(t *testing.T) {
	_, stderr, err := run(t, "demo", "--verbose")
	if err != nil || !strings.Contains(stderr, "msg=denied") {
		t.Errorf("got %v and log %q", err, stderr)
	}
}

func TestDemoCanBeInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := runWith(ctx, "demo")
	if err == nil || err.Error() != "demo: interrupted" || exitCode(err) != exitFailure {
		t.Errorf("got error %v", err)
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	if got, want := formatFor(file, demo.Wide), (demo.Format{Output: demo.Wide}); got != want {
		t.Errorf("for a file: got %+v, want %+v", got, want)
	}
}
