package hssgate_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// gitFiles returns the files of the repository whose path fits a pattern of git.
func gitFiles(t *testing.T, pattern string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard", "--", pattern).Output()
	must(t, err)
	files := strings.Fields(string(out))
	if len(files) == 0 {
		t.Fatalf("no file fits %s", pattern)
	}
	return files
}

// must ends a test that can't go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	must(t, err)
	return string(content)
}

func TestWhatAWorkflowUsesIsPinned(t *testing.T) {
	t.Parallel()
	for what, pinned := range map[string]string{
		`(?m)^.*\buses:.*$`: `uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`, // actions, by their commits
		`(?m)\b(?:image|generator)=.*$|^ *(?:image|container): .*$|docker://.*$|sbom: true`: `@sha256:[0-9a-f]{64}$`,
	} {
		for _, file := range gitFiles(t, ".github/workflows/*") {
			for _, line := range regexp.MustCompile(what).FindAllString(read(t, file), -1) {
				if !regexp.MustCompile(pinned).MatchString(line) {
					t.Errorf("%s: %q does not match %s", file, line, pinned)
				}
			}
		}
	}
}

func TestEveryBaseImageIsPinnedByDigest(t *testing.T) {
	t.Parallel()
	from := regexp.MustCompile(`(?mi)^\s*FROM\s+(?:--platform=\S+\s+)?(\S+)(?:\s+AS\s+(\S+))?`)
	digest := regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)
	for _, file := range gitFiles(t, "*Dockerfile") {
		content := read(t, file)
		stages := []string{"scratch"}
		for _, match := range from.FindAllStringSubmatch(content, -1) {
			if base := match[1]; !slices.Contains(stages, base) && !digest.MatchString(base) {
				t.Errorf("%s: base image %q has no digest", file, base)
			}
			stages = append(stages, match[2])
		}
		if strings.Contains(content, "syntax=") {
			t.Errorf("%s: a syntax line pulls an image", file)
		}
	}
}

// TestPackagesOfTheSiteArePinnedByHash also keeps addresses of registries out of
// the lock file: npm takes packages from the one that it is set up with.
func TestPackagesOfTheSiteArePinnedByHash(t *testing.T) {
	t.Parallel()
	for _, file := range gitFiles(t, "*package-lock.json") {
		var lock struct {
			Packages map[string]struct{ Integrity, Resolved string }
		}
		must(t, json.Unmarshal([]byte(read(t, file)), &lock))
		for name, p := range lock.Packages {
			if name != "" && !strings.HasPrefix(p.Integrity, "sha512-") || p.Resolved != "" {
				t.Errorf("%s: %q has integrity %q and resolved %q, want sha512 and no address", file, name, p.Integrity, p.Resolved)
			}
		}
	}
}

// TestLicenses runs what writes the licence file of the image.
func TestLicenses(t *testing.T) {
	t.Parallel()
	t.Run("every module in the binary has its text", func(t *testing.T) {
		t.Parallel()
		modules, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{with .Version}}@{{.}}{{end}}{{end}}", "./cmd/hssgate").Output()
		must(t, err)
		text, err := exec.CommandContext(t.Context(), "hack/licenses.sh", "./cmd/hssgate").Output()
		must(t, err)
		for _, module := range append(slices.Compact(slices.Sorted(strings.FieldsSeq(string(modules)))), "Go ") {
			heading := regexp.MustCompile(`\n==== ` + regexp.QuoteMeta(module) + `.*/(?i:licen[cs]e|copying).*\s+\S`)
			if !heading.Match(text) {
				t.Errorf("the licence of %s is missing", module)
			}
		}
		// A licence of a part, and a notice, which Apache-2.0 has one pass on.
		for _, want := range []string{"k8s.io/utils@", "/third_party/forked/golang/LICENSE\n", "github.com/prometheus/client_golang@", "/NOTICE\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s is missing", want)
			}
		}
	})
	t.Run("a module without a licence is an error", func(t *testing.T) {
		t.Parallel()
		folder := t.TempDir()
		for file, content := range map[string]string{
			"LICENSE": "ours", "go.mod": "module example.com/a\n\ngo 1.26.0\n\nrequire example.com/b v1.0.0\n\nreplace example.com/b => ./b\n",
			"main.go":  "package main\n\nimport _ \"example.com/b\"\n\nfunc main() {}\n",
			"b/go.mod": "module example.com/b\n\ngo 1.26.0\n", "b/b.go": "package b\n", "b/NOTICE": "not a licence\n",
		} {
			file = filepath.Join(folder, file)
			must(t, os.MkdirAll(filepath.Dir(file), 0o755))
			must(t, os.WriteFile(file, []byte(content), 0o600))
		}
		script, err := filepath.Abs("hack/licenses.sh")
		must(t, err)
		licenses := exec.CommandContext(t.Context(), script, ".")
		licenses.Dir = folder
		if out, err := licenses.CombinedOutput(); err == nil || !strings.Contains(string(out), "module example.com/b@v1.0.0 has no licence file") {
			t.Errorf("got %v and %s, want an error that names example.com/b", err, out)
		}
	})
}
