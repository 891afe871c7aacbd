package charts_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const dashboardFile = chart + "/files/dashboards/hssgate.json"

// metric is what the page about metrics says of one.
type metric struct {
	kind   string
	labels []string
}

// metricsOnPage reads the tables of the page about metrics.
func metricsOnPage(t *testing.T) map[string]metric {
	t.Helper()
	metrics := map[string]metric{}
	rows := regexp.MustCompile("(?m)^\\| `(hssgate_[a-z_]+)` \\| (\\w+) \\| ([^|]*)\\| \\S").FindAllStringSubmatch(readFile(t, "../docs/reference/metrics.md"), -1)
	for _, row := range rows {
		m := metric{kind: row[2]}
		for _, label := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(row[3], -1) {
			m.labels = append(m.labels, label[1])
		}
		metrics[row[1]] = m
	}
	return metrics
}

// TestThePageHasEveryMetric reads the code: a scrape has only what has happened.
// test/e2e looks for the metrics of dashboard and alerts in a scrape.
func TestThePageHasEveryMetric(t *testing.T) {
	t.Parallel()
	var registered []string
	for _, folder := range []string{"../webhook", "../internal/*"} {
		paths, err := filepath.Glob(folder + "/*.go")
		must(t, err)
		for _, path := range slices.DeleteFunc(paths, func(path string) bool { return strings.HasSuffix(path, "_test.go") }) {
			for _, name := range regexp.MustCompile(`"(hssgate_[a-z_]+)"`).FindAllStringSubmatch(readFile(t, path), -1) {
				registered = append(registered, name[1])
			}
		}
	}
	slices.Sort(registered)
	equal(t, "the metrics of docs/reference/metrics.md", slices.Compact(registered), slices.Sorted(maps.Keys(metricsOnPage(t))))
}

func TestDashboardAndAlertsReadMetricsOfThePage(t *testing.T) {
	t.Parallel()
	page := metricsOnPage(t)
	for _, file := range []string{dashboardFile, chart + "/templates/prometheusrule.yaml"} {
		for _, name := range regexp.MustCompile(`hssgate_[a-z_]+`).FindAllString(readFile(t, file), -1) {
			if page[name].kind == "" && page[regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")].kind != "histogram" {
				t.Errorf("%s reads %s, which docs/reference/metrics.md has not", file, name)
			}
		}
	}
}

// scrapeSecurely reads the metrics over HTTPS, as the chart's ServiceMonitor does, once its user may.
func (g *gate) scrapeSecurely(t *testing.T, c *cluster) string {
	t.Helper()
	roots := x509.NewCertPool()
	ca, err := base64.StdEncoding.DecodeString(c.kubectl(t, "-n", namespace, "get", "secret", release+"-serving-ca", "-o", `jsonpath={.data.ca\.crt}`))
	must(t, err)
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: release + "." + namespace + ".svc"}}}
	c.kubectl(t, "create", "serviceaccount", "prometheus")
	token := strings.TrimSpace(c.kubectl(t, "create", "token", "prometheus"))
	url := "https://127.0.0.1:" + g.metrics + "/metrics"
	anonymous, _ := g.getAs(t.Context(), t, client, "", url)
	unauthorised, _ := g.getAs(t.Context(), t, client, token, url)
	equal(t, "codes without a token and without the right", []int{http.StatusUnauthorized, http.StatusForbidden}, []int{anonymous, unauthorised})
	c.kubectl(t, "create", "clusterrolebinding", "prometheus", "--clusterrole="+release+"-metrics-reader", "--serviceaccount=default:prometheus")
	var scraped string
	eventually(t, func(ctx context.Context) string {
		code, body := g.getAs(ctx, t, client, token, url)
		if scraped = body; code == http.StatusOK {
			return ""
		}
		return body
	})
	c.kubectl(t, "delete", "clusterrolebinding", "prometheus")
	c.kubectl(t, "delete", "serviceaccount", "prometheus")
	return scraped
}

// fitPage compares what a gate shows with the page.
func fitPage(t *testing.T, scraped string) {
	t.Helper()
	told := metricsOnPage(t)
	types := regexp.MustCompile(`(?m)^# TYPE (hssgate_\S+) (\S+)$`).FindAllStringSubmatch(scraped, -1)
	if len(types) < 15 {
		t.Errorf("the gate shows only %d metrics:\n%s", len(types), scraped)
	}
	for _, one := range types {
		if told[one[1]].kind != one[2] {
			t.Errorf("%s is a %s, and docs/reference/metrics.md says %q", one[1], one[2], told[one[1]].kind)
		}
	}
	for _, series := range regexp.MustCompile(`(?m)^(hssgate_\w+)\{(.*)\} \S+$`).FindAllStringSubmatch(scraped, -1) {
		name := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(series[1], "")
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(series[2], -1) {
			if label[1] != "le" && !slices.Contains(told[name].labels, label[1]) {
				t.Errorf("%s has label %s, of which docs/reference/metrics.md says nothing", name, label[1])
			}
		}
	}
}
