package hssgate_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// maxSteps bounds the walk: a reader must be able to hold it in mind.
const maxSteps = 12

// TestArchitecture checks that the functions of the walk in docs/architecture.md
// exist in the files that it names.
func TestArchitecture(t *testing.T) {
	t.Parallel()
	const page = "docs/architecture.md"
	text, err := os.ReadFile(page)
	must(t, err)
	steps := regexp.MustCompile("(?m)^\\d+\\. `([^`]+\\.go)` `([^`]+)`").FindAllStringSubmatch(string(text), -1)
	if len(steps) == 0 || len(steps) > maxSteps {
		t.Fatalf("%s: the walk has %d steps of the form \"1. `file.go` `Type.Function`\", want 1 to %d", page, len(steps), maxSteps)
	}
	for _, step := range steps {
		file, want := step[1], step[2]
		receiver, function, method := strings.Cut(want, ".")
		pattern := `(?m)^func ` + regexp.QuoteMeta(want) + `\(`
		if method {
			pattern = `(?m)^func \(\w+ \*?` + receiver + `\) ` + function + `\(`
		}
		if code, err := os.ReadFile(file); err != nil || !regexp.MustCompile(pattern).Match(code) {
			t.Errorf("%s: %s has no function %s: name the one that does this step now, and its file: %v", page, file, want, err)
		}
	}
}
