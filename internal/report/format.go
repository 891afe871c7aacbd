package report

import (
	"embed"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"text/template"
	"unicode/utf16"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"sigs.k8s.io/yaml"
)

// Output is the format of a report.
type Output = string

// The outputs.
const (
	TableOutput Output = "table"
	WideOutput  Output = "wide" // a table with whole references and messages
	JSON        Output = "json" // it holds everything, as YAML does
	YAML        Output = "yaml"
	SARIF       Output = "sarif"      // version 2.1.0, for code hosts
	JUnit       Output = "junit"      // for pipelines that show tests
	Markdown    Output = "markdown"   // for comments on pull requests
	HTML        Output = "html"       // one file for people that loads nothing from elsewhere
	Exceptions  Output = "exceptions" // those for what fails, if the report has any
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
	case JSON, YAML:
		if text, err = asJSON(Document{APIVersion, Kind, r}); err == nil && o == YAML {
			var data []byte
			data, err = yaml.JSONToYAML([]byte(text))
			text = string(data)
		}
	case Exceptions:
		text = r.Exceptions
	case SARIF:
		text, err = r.sarif()
	case JUnit:
		text, err = r.junit()
	case Markdown:
		text, err = r.markdown()
	case HTML:
		text, err = r.html()
	default:
		text, err = r.table(o == WideOutput)
	}
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

//go:embed templates
var templates embed.FS

func render(name string, data any) (string, error) {
	functions := template.FuncMap{
		"md": inline, "code": code, "line": oneLine, "indented": indented, "plural": plural, "json": asJSON, "uri": uri, "join": strings.Join,
		"trimSuffix": strings.TrimSuffix, "first": first, "more": more, "wrapped": wrapped,
	}
	t, err := template.New(name).Funcs(functions).ParseFS(templates, "templates/"+name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, data)
	return b.String(), err
}

// The kind of reports as JSON and YAML, whose schema is docs/reference/check-report.schema.json.
const (
	APIVersion = "report.hssgate.io/v1alpha1"
	Kind       = "CheckReport"
)

// Document is a report as JSON and YAML have it.
type Document struct {
	APIVersion string `json:"apiVersion" jsonschema:"enum=report.hssgate.io/v1alpha1"`
	Kind       string `json:"kind"       jsonschema:"enum=CheckReport"`
	*Report
}

// asJSON leaves < and > as they are, for people who read it. A list without elements is empty, not null.
func asJSON(v any) (string, error) {
	data, err := jsonv2.Marshal(v, jsonv1.DefaultOptionsV1(), jsonv2.FormatNilSliceAsNull(false), jsontext.EscapeForHTML(false), jsontext.WithIndent("  "))
	return string(escapeUnprintable(data)) + "\n", err
}

// escapeUnprintable escapes control characters and what YAML can't hold. JSON has such characters only in its strings.
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

// Printable returns a text without what could control a terminal, and what XML can't hold.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || strconv.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}

// first returns at most n elements of a list: browsers must open a large cluster's page, code hosts not cut a comment.
func first(n int, list any) any {
	all := reflect.ValueOf(list)
	return all.Slice(0, min(n, all.Len())).Interface()
}

// more returns the number of elements that first leaves out.
func more(n int, list any) int { return max(0, reflect.ValueOf(list).Len()-n) }

// oneLine returns a text in one line, without what could control a terminal.
func oneLine(text any) string { return strings.Join(strings.Fields(Printable(fmt.Sprint(text))), " ") }

// indented returns a text in one line after its leading blanks.
func indented(text string) string {
	return text[:len(text)-len(strings.TrimLeft(text, " "))] + oneLine(text)
}

// markdown returns a comment for a pull request: first the violations, then the rest, folded.
func (r *Report) markdown() (string, error) {
	bad, good := r.sorted()
	symbol := map[Verdict]string{Denied: "❌", Unknown: "❔", Warned: "⚠️", Admitted: "✅"}[r.Outcome()]
	if len(r.Skipped) > 0 && symbol == "✅" {
		symbol = "⚠️"
	}
	return render("report.md.tmpl", map[string]any{
		"Report": r, "Symbol": symbol, "Bad": bad, "Good": good,
	})
}

// inline returns a text that Markdown shows as it is, in one line.
func inline(v any) string {
	escape := strings.NewReplacer(
		"\\", "\\\\", "|", "\\|", "<", "&lt;", ">", "&gt;", "&", "&amp;", "*", "\\*", "_", "\\_", "`", "\\`", "[", "\\[", "]", "\\]", "~", "\\~", "$", "\\$", "@", "@\u200b",
	)
	return escape.Replace(oneLine(v))
}

// code returns a text as code in a table of Markdown.
func code(text string) string {
	return "`" + strings.NewReplacer("`", "'", "|", "\\|", "\\", "\\\\").Replace(oneLine(text)) + "`"
}
