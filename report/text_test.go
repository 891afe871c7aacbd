package report

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrap(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text  string
		width int
		want  []string
	}{
		"nothing is one empty line":            {"", 10, []string{""}},
		"what fits stays":                      {"one two", 7, []string{"one two"}},
		"it breaks between words":              {"one two three", 7, []string{"one two", "three"}},
		"a long word breaks after a slash":     {"host.example.com/path/name", 20, []string{"host.example.com/", "path/name"}},
		"or anywhere":                          {"abcdefghij", 4, []string{"abcd", "efgh", "ij"}},
		"wide characters count twice":          {"认证失败", 4, []string{"认证", "失败"}},
		"combining ones don't count":           {"e\u0301e\u0301", 2, []string{"e\u0301e\u0301"}},
		"what would steer a terminal is gone":  {"a\x1b[31mb\nc\u202ed", 20, []string{"a[31mb cd"}},
		"the least width is that of one glyph": {"认ab", 0, []string{"认", "ab"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, wrap(tt.text, tt.width)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzWrap(f *testing.F) {
	f.Add("one two/three 认证失败", 5)
	f.Fuzz(func(t *testing.T, text string, width int) {
		width = 2 + max(width, -width)%200
		for _, line := range wrap(text, max(2, width)) {
			if columns(line) > max(2, width) || strings.ContainsAny(line, "\x1b\n\r") {
				t.Errorf("at %d columns: %q", width, line)
			}
		}
	})
}

func TestOnlyWhatIsAReferenceHasAHost(t *testing.T) {
	t.Parallel()
	rows := []Row{{Images: []Image{
		{Reference: "UPPER/Case:1", State: Invalid}, {Reference: "UPPER/Other:1", State: Invalid}, {Reference: "a.example.com/app:1", State: Found},
	}}}
	if got := commonHost(rows); got != "a.example.com" {
		t.Errorf("got %q, want a.example.com", got)
	}
	if got := commonHost([]Row{{Images: rows[0].Images[:2]}}); got != "" {
		t.Errorf("got %q, want none", got)
	}
}
