package charts_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// metric is one that the code registers, or that the page tells of.
type metric struct {
	Type   string
	Labels []string
}

func metricsInCode(t *testing.T) []string {
	t.Helper()
	return slices.Collect(maps.Keys(registeredMetrics(t)))
}

// registeredMetrics reads the code: a scrape has only what has happened.
func registeredMetrics(t *testing.T) map[string]metric {
	t.Helper()
	metrics := map[string]metric{}
	for _, dir := range []string{"webhook", "server", "inventory", "controller", "audit", "tracing/otlp"} {
		paths, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if name, m := metricOf(call); name != "" {
						metrics[name] = m
					}
				}
				return true
			})
		}
	}
	if len(metrics) == 0 {
		t.Fatal("no metrics were found in the code")
	}
	return metrics
}

// metricOf reads a call that makes a metric or its description: of prometheus, or
// of a function that shortens one, after which it is named.
func metricOf(call *ast.CallExpr) (name string, m metric) {
	if len(call.Args) == 0 {
		return "", m
	}
	function := ""
	switch f := call.Fun.(type) {
	case *ast.Ident:
		function = f.Name
	case *ast.SelectorExpr:
		function = f.Sel.Name
	}
	// The name comes first, then the help text, and then come labels.
	texts := textsIn(call.Args[0])
	if !strings.HasPrefix(first(texts), "hssgate_") {
		return "", m
	}
	name = texts[0]
	for i, arg := range call.Args[1:] {
		if _, help := arg.(*ast.BasicLit); i > 0 || !help {
			m.Labels = append(m.Labels, textsIn(arg)...)
		}
	}
	switch function = strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(function), "new"), "vec"); function {
	case "counter", "histogram":
		m.Type = function
	case "gauge", "gaugefunc", "desc":
		m.Type = "gauge"
	case "times":
		m.Type, m.Labels = "histogram", []string{"project", "outcome"}
	default:
		m.Type = function + ", which this test doesn't know"
	}
	if name == "hssgate_build_info" { // its labels never change
		m.Labels = []string{"version", "goversion"}
	}
	return name, m
}

// textsIn are the texts in an expression, in their order.
func textsIn(e ast.Expr) []string {
	var texts []string
	ast.Inspect(e, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				texts = append(texts, text)
			}
		}
		return true
	})
	return texts
}

func first(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[0]
}

// metricsOnPage reads the tables of the page about metrics.
func metricsOnPage(t *testing.T) map[string]metric {
	t.Helper()
	metrics := map[string]metric{}
	rows := regexp.MustCompile("(?m)^\\| `(hssgate_[a-z_]+)` \\| (\\w+) \\| ([^|]*)\\| \\S").FindAllStringSubmatch(readFile(t, "../docs/reference/metrics.md"), -1)
	for _, row := range rows {
		m := metric{Type: row[2]}
		for _, label := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(row[3], -1) {
			m.Labels = append(m.Labels, label[1])
		}
		metrics[row[1]] = m
	}
	return metrics
}

// TestThePageTellsOfEveryMetric keeps the page in step with the code.
func TestThePageTellsOfEveryMetric(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(registeredMetrics(t), metricsOnPage(t)); diff != "" {
		t.Errorf("docs/reference/metrics.md: -registered +told:\n%s", diff)
	}
}

// scrapedFitPage compares what a gate shows with the page.
func (g *testGate) scrapedFitPage(t *testing.T) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", g.metrics), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	scraped, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	told := metricsOnPage(t)
	types := regexp.MustCompile(`(?m)^# TYPE (hssgate_\S+) (\S+)$`).FindAllSubmatch(scraped, -1)
	const least = 15
	if len(types) < least {
		t.Errorf("the gate shows only %d metrics:\n%s", len(types), scraped)
	}
	for _, one := range types {
		if name, kind := string(one[1]), string(one[2]); told[name].Type != kind {
			t.Errorf("%s is a %s, and docs/reference/metrics.md says %q", name, kind, told[name].Type)
		}
	}
	for _, series := range regexp.MustCompile(`(?m)^(hssgate_\w+)\{(.*)\} \S+$`).FindAllSubmatch(scraped, -1) {
		name := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(string(series[1]), "")
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllSubmatch(series[2], -1) {
			if l := string(label[1]); l != "le" && !slices.Contains(told[name].Labels, l) {
				t.Errorf("%s has label %s, of which docs/reference/metrics.md says nothing", name, l)
			}
		}
	}
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
