package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	const rule = "kind: PrometheusRule\nspec:\n  groups:\n  - name: a\n    rules:\n    - alert: A\n      expr: "
	tests := map[string]struct{ file, content, want string }{
		"rules that Prometheus reads":              {"a.yaml", rule + "up == 0\n", ""},
		"an expression that doesn't parse":         {"a.yaml", rule + "sum(up\n", "unclosed left parenthesis"},
		"a field that Prometheus doesn't know":     {"a.yaml", rule + "up\n      fro: 5m\n", "field fro not found"},
		"a template that doesn't parse":            {"a.yaml", rule + "up\n      annotations: {summary: \"{{ $valu }}\"}\n", "undefined variable"},
		"rules after another object":               {"a.yaml", "kind: Service\n---\n" + rule + "sum(up\n", "unclosed left parenthesis"},
		"no rules at all":                          {"a.yaml", "kind: Service\n", ""},
		"what is no YAML":                          {"a.yaml", "a: [", "yaml"},
		"a dashboard with Grafana's variables":     {"a.json", `{"panels":[{"targets":[{"expr":"rate(a[$__rate_interval])"}]}]}`, ""},
		"a dashboard with a query that is no good": {"a.json", `{"panels":[{"title":"T","targets":[{"expr":"rate(a"}]}]}`, `panel "T"`},
		"a dashboard without panels":               {"a.json", `{}`, "no panels"},
		"what is no JSON":                          {"a.json", `{`, "unexpected end"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), test.file)
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			err := check(path)
			if test.want == "" && err != nil {
				t.Fatal(err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
	if err := check(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that isn't there passes")
	}
}
