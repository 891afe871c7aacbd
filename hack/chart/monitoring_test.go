package chart_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const chart = "../../charts/hssgate"

// TestPrometheusReadsTheRules reads the PrometheusRule that Helm renders as Prometheus does.
func TestPrometheusReadsTheRules(t *testing.T) {
	t.Parallel()
	for _, values := range []string{"everything-values.yaml", "pod-monitor-values.yaml"} {
		helm := exec.CommandContext(t.Context(), "../../.cache/tools/bin/helm", "template", "hssgate", chart,
			"--show-only", "templates/prometheusrule.yaml", "--values", chart+"/ci/"+values)
		rendered, err := helm.Output()
		if err != nil {
			t.Fatalf("render the chart's rules (make tools builds helm): %v", err)
		}
		_, spec, _ := strings.Cut(string(rendered), "\nspec:\n")
		groups, problems := rulefmt.Parse([]byte(spec), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
		if len(problems) > 0 || len(groups.Groups) == 0 {
			t.Errorf("%s: %v", values, problems)
		}
	}
}

// TestPrometheusReadsTheDashboard parses the queries of all panels.
func TestPrometheusReadsTheDashboard(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(chart + "/files/dashboards/hssgate.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(data, &dashboard); err != nil || len(dashboard.Panels) == 0 {
		t.Fatalf("%d panels, error %v", len(dashboard.Panels), err)
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			// Grafana fills these in.
			query := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h").Replace(target.Expr)
			if _, err := parser.NewParser(parser.Options{}).ParseExpr(query); err != nil {
				t.Errorf("panel %q: %v", panel.Title, err)
			}
		}
	}
}
