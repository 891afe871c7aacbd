package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// Output is how a report is written.
type Output string

// The outputs.
const (
	// TableOutput fits a terminal.
	TableOutput Output = "table"
	// WideOutput is a table with whole names and messages, however wide.
	WideOutput Output = "wide"
	// JSON and YAML hold everything.
	JSON Output = "json"
	YAML Output = "yaml"
	// SARIF is version 2.1.0, for code hosts.
	SARIF Output = "sarif"
	// JUnit is for pipelines that show tests.
	JUnit Output = "junit"
	// Markdown is for comments on pull requests.
	Markdown Output = "markdown"
	// HTML is one file for people, which loads nothing from anywhere.
	HTML Output = "html"
)

// Explains tells whether the output has the explanations of results.
func (o Output) Explains() bool {
	return slices.Contains([]Output{TableOutput, WideOutput, JSON, YAML}, o)
}

// Outputs are all of them.
func Outputs() []Output {
	return []Output{TableOutput, WideOutput, JSON, YAML, SARIF, JUnit, Markdown, HTML}
}

// ParseOutput reads the name of one of Outputs; empty is TableOutput.
func ParseOutput(name string) (Output, error) { return ParseOutputOf(name, Outputs()) }

// ParseOutputOf reads the name of one of some outputs; empty is TableOutput.
func ParseOutputOf(name string, outputs []Output) (Output, error) {
	if name == "" {
		return TableOutput, nil
	}
	if !slices.Contains(outputs, Output(name)) {
		return "", fmt.Errorf("output must be %s, not %q", oneOf(outputs), name)
	}
	return Output(name), nil
}

func oneOf(outputs []Output) string {
	names := make([]string, len(outputs))
	for i, o := range outputs {
		names[i] = string(o)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// Format says how a report is written.
type Format struct {
	// Output is TableOutput if it is empty.
	Output Output
	// Width is that of a table in columns; 0: 100.
	Width int
	// Colour marks verdicts by colours, in a table.
	Colour bool
	// Namespaces has a table name the namespace of every object, even if all are
	// of the same.
	Namespaces bool
}

// Write writes the report.
func (r *Report) Write(w io.Writer, f Format) error {
	if err := r.write(w, f); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (r *Report) write(w io.Writer, f Format) error {
	switch f.Output {
	case JSON:
		return writeJSON(w, r)
	case YAML:
		return writeYAML(w, r)
	case SARIF:
		return r.writeSARIF(w)
	case JUnit:
		return r.writeJUnit(w)
	case Markdown:
		return r.writeMarkdown(w)
	case HTML:
		return r.writeHTML(w)
	default:
		_, err := io.WriteString(w, r.text(f))
		return err
	}
}

// writeJSON leaves < and > as they are: nobody puts it into a page unquoted.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escapeUnprintable(b.Bytes()))
	return err
}

func writeYAML(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if data, err = yaml.JSONToYAML(escapeUnprintable(data)); err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// escapeUnprintable writes what would steer a terminal, and what YAML can't hold,
// as JSON's escape sequences. JSON has such characters only in its strings.
func escapeUnprintable(data []byte) []byte {
	var escaped []byte
	for _, r := range string(data) {
		if r == '\n' || strconv.IsPrint(r) {
			escaped = utf8.AppendRune(escaped, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			escaped = fmt.Appendf(escaped, "\\u%04x", unit)
		}
	}
	return escaped
}
