package charts_test

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

const dashboard = chart + "/files/dashboards/hssgate.json"

func TestPrometheusReadsRulesAndQueries(t *testing.T) {
	t.Parallel()
	rendered := filepath.Join(t.TempDir(), "rendered.yaml")
	for _, file := range []string{"everything-values.yaml", "pod-monitor-values.yaml"} {
		manifests, err := template(t, "--values", filepath.Join(chart, "ci", file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(manifests, "kind: PrometheusRule") {
			t.Fatalf("%s renders no rules", file)
		}
		if err := os.WriteFile(rendered, []byte(manifests), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, stderr, err := run(t, exec.CommandContext(t.Context(), tool(t, "promcheck"), rendered, dashboard)); err != nil {
			t.Errorf("%s: %v\n%s%s", file, err, out, stderr)
		}
	}
}

// TestMetricsExist compares the metrics in alerts and dashboard with those that
// the code registers.
func TestMetricsExist(t *testing.T) {
	t.Parallel()
	registered := metricsInCode(t)
	for _, path := range []string{dashboard, chart + "/templates/prometheusrule.yaml"} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		used := regexp.MustCompile(`hssgate_[a-z_]+`).FindAllString(string(content), -1)
		if len(used) == 0 {
			t.Errorf("%s uses no metric", path)
		}
		for _, name := range used {
			base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
			if !slices.Contains(registered, name) && !slices.Contains(registered, base) {
				t.Errorf("%s uses %s, which hssgate doesn't have", path, name)
			}
		}
	}
}

func metricsInCode(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, dir := range []string{"webhook", "server", "inventory", "controller", "audit"} {
		paths, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range regexp.MustCompile(`"(hssgate_[a-z_]+)"`).FindAllSubmatch(content, -1) {
				names = append(names, string(match[1]))
			}
		}
	}
	if len(names) == 0 {
		t.Fatal("no metrics were found in the code")
	}
	return names
}

// TestTheGuideNamesEveryPanel keeps the guide in step with the dashboard.
func TestTheGuideNamesEveryPanel(t *testing.T) {
	t.Parallel()
	var dashboard struct {
		Panels []struct{ Title, Description string }
	}
	if err := json.Unmarshal([]byte(readFile(t, chart+"/files/dashboards/hssgate.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	guide := readFile(t, "../docs/guides/dashboard.md")
	for _, p := range dashboard.Panels {
		if line := "| " + p.Title + " | " + p.Description + " |"; !strings.Contains(guide, line) {
			t.Errorf("docs/guides/dashboard.md lacks the line\n%s", line)
		}
	}
	if lines := strings.Count(guide, "\n| "); lines != len(dashboard.Panels)+1 {
		t.Errorf("its table has %d lines, the dashboard %d panels", lines, len(dashboard.Panels))
	}
}
