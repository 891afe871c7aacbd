package demo_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The README shows the real output: that of table.golden.
func TestTheReadmeShowsTheRealOutput(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile(filepath.Join("testdata", "table.golden"))
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(readme), "<!-- demo -->\n```\n")
	shown, _, _ = strings.Cut(shown, "```\n")
	if diff := cmp.Diff(string(table), shown); diff != "" {
		t.Errorf("README.md between <!-- demo --> and the end of the block (-output +shown):\n%s", diff)
	}
}
