package policy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The example of docs/contributing.md is applied to a copy of the code and tested.
func TestTheExampleOfAnotherCheckWorks(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it compiles the package anew")
	}
	page, err := os.ReadFile("../docs/contributing.md")
	must(t, err)
	blocks := regexp.MustCompile("(?s)```(?:go|diff)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 5 {
		t.Fatalf("the page has %d blocks of code, want 5", len(blocks))
	}
	dir, overlay := t.TempDir(), map[string]string{}
	replace := func(path, content string) {
		whole, err := filepath.Abs(path)
		must(t, err)
		overlay[whole] = filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
		must(t, os.WriteFile(overlay[whole], []byte(content), 0o600))
	}
	if n := strings.Count(blocks[0][1], "\n"); n > 60 {
		t.Errorf("the new file has %d lines, at most 60 are allowed", n)
	}
	replace("check_image_age.go", blocks[0][1])
	replace("check.go", applied(t, "check.go", blocks[1][1]))
	replace("v1alpha1/imagescanpolicy_types.go", applied(t, "v1alpha1/imagescanpolicy_types.go", blocks[2][1], blocks[3][1]))
	replace("check_image_age_test.go", `package policy_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

`+blocks[4][1])
	content, err := json.Marshal(map[string]any{"Replace": overlay})
	must(t, err)
	file := filepath.Join(dir, "overlay.json")
	must(t, os.WriteFile(file, content, 0o600))
	out, err := exec.CommandContext(t.Context(), "go", "test", "-overlay", file, "-run", "^TestImageAge$", "-v", ".").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestImageAge/an_old_one_fails") {
		t.Errorf("docs/contributing.md does not work as it stands there: %v\n%s", err, out)
	}
}

// applied returns a file with diffs applied, each of which must fit in one place.
func applied(t *testing.T, path string, diffs ...string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	content := string(b)
	for _, diff := range diffs {
		var before, after []string
		for line := range strings.Lines(diff) {
			if line[0] != '+' {
				before = append(before, line[1:])
			}
			if line[0] != '-' {
				after = append(after, line[1:])
			}
		}
		old, changed := strings.TrimSuffix(strings.Join(before, ""), "\n"), strings.TrimSuffix(strings.Join(after, ""), "\n")
		if n := strings.Count(content, old); n != 1 {
			t.Fatalf("the example's diff fits %d times into %s, want once:\n%s", n, path, diff)
		}
		content = strings.Replace(content, old, changed, 1)
	}
	return content
}
