package check_test

import (
	"strings"
	"testing"
)

func TestTheParsersErrorsAreAboutTheFile(t *testing.T) {
	t.Parallel()
	const before = "# a comment\napiVersion: v1\nkind: ConfigMap\n---\n"
	for text, want := range map[string]string{
		"a: 1\nb: [\nc: d\n":            "line 7: ",
		"a: 1\na: 2\n":                  `line 6: key "a" already set in map`,
		"a:\n\tb: 1\n":                  "line 6: found character that cannot start any token: YAML must not be indented by tabs, only by spaces",
		"? [a]\n: b\n":                  "read the YAML: invalid map key",
		"a: .inf\n":                     "read the YAML: unsupported value: +Inf",
		"a: @b\n":                       "found character that cannot start any token",
		"a: {{ .Values.a }}\n":          "it looks like a Helm template: render it first (helm template … | hssgate check -f -)",
		"{{- if .Values.a }}\na: b\n":   "it looks like a Helm template",
		"a: b\n{{ include \"c\" . }}\n": "it looks like a Helm template",
	} {
		m := readText(t, before+text)
		if len(m.Problems) != 1 || m.Problems[0].Line != 5 || !strings.Contains(m.Problems[0].Message, want) {
			t.Errorf("%q: got %v, want %q", text, m.Problems, want)
			continue
		}
		if got := m.Problems[0].Message; strings.Contains(got, "tabs") != strings.Contains(want, "tabs") || strings.Contains(got, "yaml: ") || strings.Contains(got, "interface") {
			t.Errorf("%q: got %q", text, got)
		}
	}
}
