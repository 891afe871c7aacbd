package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// Output is the format of a report.
type Output string

// The outputs.
const (
	// TableOutput is for a terminal, WideOutput has whole references and messages.
	TableOutput Output = "table"
	WideOutput  Output = "wide"
	// JSON and YAML hold everything.
	JSON Output = "json"
	YAML Output = "yaml"
	// SARIF is version 2.1.0, for code hosts.
	SARIF Output = "sarif"
	// JUnit is for pipelines that show tests.
	JUnit Output = "junit"
	// Markdown is for comments on pull requests.
	Markdown Output = "markdown"
	// HTML is one file for people that loads nothing from elsewhere.
	HTML Output = "html"
)

// Outputs returns the outputs of a report.
func Outputs() []Output {
	return []Output{TableOutput, WideOutput, JSON, YAML, SARIF, JUnit, Markdown, HTML}
}

// ChangeOutputs returns the outputs of changes.
func ChangeOutputs() []Output { return []Output{TableOutput, WideOutput, JSON, YAML} }

// TestOutputs returns the outputs of tests.
func TestOutputs() []Output { return append(ChangeOutputs(), JUnit) }

// Write writes the report.
func (r *Report) Write(w io.Writer, o Output) error {
	var text string
	var err error
	switch o {
	case SARIF:
		text, err = asJSON(r.sarif())
	case JUnit:
		text, err = r.junit()
	case Markdown:
		text, err = r.markdown()
	case HTML:
		text, err = r.html()
	default:
		text, err = asData(o, r, r.text)
	}
	return write(w, text, err)
}

// asData returns v as JSON or YAML, or else as a text.
func asData(o Output, v any, text func(Output) string) (string, error) {
	switch o {
	case JSON:
		return asJSON(v)
	case YAML:
		return asYAML(v)
	default:
		return text(o), nil
	}
}

func write(w io.Writer, text string, err error) error {
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// asJSON leaves < and > as they are, for people who read it.
func asJSON(v any) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return string(escapeUnprintable(b.Bytes())), err
}

func asYAML(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	data, err = yaml.JSONToYAML(escapeUnprintable(data))
	return string(data), err
}

// escapeUnprintable writes control characters, and what YAML can't hold, as escape
// sequences of JSON. JSON has such characters only in its strings.
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

// Printable returns a text without what could control a terminal, and what XML can't
// hold.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || strconv.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}

// part is the beginning of a list, and the number of the elements left out.
type part[T any] struct {
	Shown []T
	More  int
}

func firstOf[T any](list []T, most int) part[T] {
	shown := list[:min(len(list), most)]
	return part[T]{shown, len(list) - len(shown)}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
