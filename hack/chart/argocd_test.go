package chart_test

import (
	"os"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// TestArgoCDShowsTheHealth runs the script that docs/gitops.md shows, in the interpreter that Argo CD has.
func TestArgoCDShowsTheHealth(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../argocd/hssgate.io/health.lua")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(script), "\n")
	page, err := os.ReadFile("../../docs/gitops.md")
	if err != nil || !strings.Contains(string(page), strings.TrimRight("        "+strings.ReplaceAll(code, "\n", "\n        "), " ")) {
		t.Errorf("docs/gitops.md shows another script, error %v", err)
	}
	const ready = `{type = "Ready", status = "True", message = "Active"}`
	for name, test := range map[string]struct{ status, want string }{
		"hssgate has not read it":           {"nil", "Progressing waiting for hssgate"},
		"hssgate has read an older one":     {`{observedGeneration = 1, conditions = {` + ready + `}}`, "Progressing waiting for hssgate"},
		"it is in force":                    {`{observedGeneration = 2, conditions = {` + ready + `}}`, "Healthy "},
		"it is invalid":                     {`{observedGeneration = 2, conditions = {{type = "Ready", status = "False", message = "no such field"}}}`, "Degraded no such field"},
		"it can have no effect":             {`{observedGeneration = 2, conditions = {` + ready + `, {type = "Effective", status = "False", message = "no images"}}}`, "Degraded no images"},
		"HSS is unreachable":                {`{observedGeneration = 2, conditions = {{type = "HSSReachable", status = "False", message = "timeout"}, ` + ready + `}}`, "Healthy timeout"},
		"an exception that is about to end": {`{observedGeneration = 2, conditions = {` + ready + `, {type = "Expiring", status = "True", message = "ends soon"}}}`, "Healthy ends soon"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := lua.NewState()
			defer state.Close()
			if err := state.DoString("obj = {metadata = {generation = 2}, status = " + test.status + "}\n" + string(script)); err != nil {
				t.Fatal(err)
			}
			health := state.CheckTable(-1)
			if got := lua.LVAsString(health.RawGetString("status")) + " " + lua.LVAsString(health.RawGetString("message")); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
