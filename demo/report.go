package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Report is what came of all samples, in order.
type Report struct {
	Results []Result `json:"results"`
}

// ErrUnexpected is what every error of Report.Check wraps.
var ErrUnexpected = errors.New("not as the samples expect")

// Check returns an error that names every sample whose verdict is not as
// expected, or nil.
func (r *Report) Check() error {
	var problems []string
	for i := range r.Results {
		one := &r.Results[i]
		if one.Problem != "" {
			problems = append(problems, fmt.Sprintf("\n- %s: %s: %s", one.File, one.title, one.Problem))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d verdicts are %w:%s", len(problems), len(r.Results), ErrUnexpected, strings.Join(problems, ""))
}

// Output is how a report is written.
type Output string

// The outputs.
const (
	// Table fits a terminal.
	Table Output = "table"
	// Wide is a table with whole names and messages, however wide.
	Wide Output = "wide"
	// JSON holds everything.
	JSON Output = "json"
	// YAML holds everything.
	YAML Output = "yaml"
)

// Outputs are all of them.
func Outputs() []Output { return []Output{Table, Wide, JSON, YAML} }

// ParseOutput reads the name of an output; empty is Table.
func ParseOutput(name string) (Output, error) {
	if name == "" {
		return Table, nil
	}
	if !slices.Contains(Outputs(), Output(name)) {
		return "", fmt.Errorf("output must be table, wide, json or yaml, not %q", name)
	}
	return Output(name), nil
}

// Format says how a report is written.
type Format struct {
	// Output is Table if it is empty.
	Output Output
	// Width is that of a Table in columns; 0: 100.
	Width int
	// Colour marks verdicts by colours.
	Colour bool
}

// Write writes the report.
func (r *Report) Write(w io.Writer, f Format) error {
	text, err := r.format(f)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (r *Report) format(f Format) (string, error) {
	switch f.Output {
	case JSON:
		data, err := json.MarshalIndent(r, "", "  ")
		return string(data) + "\n", err
	case YAML:
		data, err := yaml.Marshal(r)
		return string(data), err
	case Wide:
		return newTable(r, f, true).String(), nil
	default:
		return newTable(r, f, false).String(), nil
	}
}
