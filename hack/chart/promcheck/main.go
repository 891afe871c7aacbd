// Command promcheck checks what the chart gives to Prometheus and Grafana: the
// rules of PrometheusRules, and the queries of dashboards.
//
//	promcheck FILE...
//
// A FILE is what Helm rendered, or a dashboard (.json).
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

func main() {
	var failures []error
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", path, err))
		}
	}
	if err := errors.Join(failures...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(path string) error {
	data, err := os.ReadFile(path) //nolint:gosec // whoever runs this names the files to read
	if err != nil {
		return err
	}
	if strings.HasSuffix(path, ".json") {
		return checkDashboard(data)
	}
	var failures []error
	for document := range strings.SplitSeq(string(data), "\n---") {
		failures = append(failures, checkRules([]byte(document)))
	}
	return errors.Join(failures...)
}

// checkRules checks a PrometheusRule as Prometheus would read it; other objects
// pass.
func checkRules(document []byte) error {
	var object struct {
		Kind string         `json:"kind"`
		Spec map[string]any `json:"spec"`
	}
	if err := yaml.Unmarshal(document, &object); err != nil {
		return err
	}
	if object.Kind != "PrometheusRule" {
		return nil
	}
	rules, err := yaml.Marshal(object.Spec)
	if err != nil {
		return err
	}
	_, problems := rulefmt.Parse(rules, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	return errors.Join(problems...)
}

// checkDashboard parses the queries of all panels.
func checkDashboard(data []byte) error {
	var dashboard struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		return err
	}
	if len(dashboard.Panels) == 0 {
		return errors.New("the dashboard has no panels")
	}
	var failures []error
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			// Grafana fills these in.
			query := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h").Replace(target.Expr)
			if _, err := parser.NewParser(parser.Options{}).ParseExpr(query); err != nil {
				failures = append(failures, fmt.Errorf("panel %q: %w", panel.Title, err))
			}
		}
	}
	return errors.Join(failures...)
}
