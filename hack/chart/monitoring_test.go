package chart_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
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

// dashboard is what the tests need of a dashboard of Grafana.
type dashboard struct {
	Templating struct{ List []struct{ Name string } }
	Panels     []panel
}

type panel struct {
	ID                       int
	Title, Type, Description string
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct{ Expr, RefID string }
	FieldConfig              struct{ Defaults struct{ Unit string } }
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	data, err := os.ReadFile(chart + "/files/dashboards/hssgate.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(data, &d); err != nil || len(d.Panels) < 20 {
		t.Fatalf("%d panels, error %v", len(d.Panels), err)
	}
	return d
}

// TestGrafanaReadsTheDashboard checks what Grafana's schema asks of panels.
func TestGrafanaReadsTheDashboard(t *testing.T) {
	t.Parallel()
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range readDashboard(t).Panels {
		if ids[p.ID] || p.ID == 0 || p.Title == "" {
			t.Errorf("panel %q has the id %d, which another has, or no title", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q is over %q, or outside", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0 || p.FieldConfig.Defaults.Unit == "") {
			t.Errorf("panel %q has no description, query or unit", p.Title)
		}
	}
}

// TestEveryPanelShowsData has Prometheus' own engine evaluate every query, as Grafana would fill it in, over a recorded load of an hour.
func TestEveryPanelShowsData(t *testing.T) {
	t.Parallel()
	load := readLoad(t)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 100_000, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	now := time.Unix(3600, 0)
	want := map[string]string{"Denied": "12", "Admitted without evaluation": "6", "Running pods that violate a policy": "5", "Policies in force": "2", "Replicas": "2"}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$__interval", "2m", "$cluster", ".*", "$namespace", "hssgate-system", "$job", "hssgate")
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			query, err := engine.NewInstantQuery(t.Context(), load, nil, variables.Replace(target.Expr), now)
			if err != nil {
				t.Errorf("panel %q: %v", p.Title, err)
				continue
			}
			result := query.Exec(t.Context())
			vector, err := result.Vector()
			if err != nil || len(vector) == 0 || slices.ContainsFunc(vector, func(s promql.Sample) bool { return math.IsNaN(s.F) }) {
				t.Errorf("panel %q shows %v, error %v, for %s", p.Title, result, err, target.Expr)
			} else if want := want[p.Title]; want != "" && fmt.Sprintf("%.0f", vector[0].F) != want {
				t.Errorf("panel %q shows %v, want %s", p.Title, vector[0].F, want)
			}
			query.Close()
		}
	}
}

// readLoad reads the recorded load: a series a line, a reading every 30 s.
func readLoad(t *testing.T) storage.Queryable {
	t.Helper()
	file, err := os.ReadFile("testdata/load.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []promql.Series
	for line := range strings.Lines(string(file)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		metric, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(line)
		if err != nil {
			t.Fatal(err)
		}
		series := promql.Series{Metric: metric}
		for i, value := range values {
			series.Floats = append(series.Floats, promql.FPoint{T: int64(i) * 30_000, F: value.Value})
		}
		all = append(all, series)
	}
	return &storage.MockQueryable{MockQuerier: &storage.MockQuerier{
		SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
			var found []storage.Series
			for _, series := range all {
				if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(series.Metric.Get(m.Name)) }) {
					found = append(found, promql.NewStorageSeries(series))
				}
			}
			return &seriesSet{found: found}
		},
	}}
}

// seriesSet hands out what was found.
type seriesSet struct {
	found []storage.Series
	next  int
}

func (s *seriesSet) Next() bool                        { s.next++; return s.next <= len(s.found) }
func (s *seriesSet) At() storage.Series                { return s.found[s.next-1] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }
