package report

import (
	"fmt"
	"strings"
)

// maxAdmittedRows is how many rows a table may have before it leaves out those
// that nobody looks for.
const maxAdmittedRows = 100

// text is the report for a terminal.
func (r *Report) text(f Format) string {
	if r.isExplained() {
		return r.explained(f)
	}
	t := &Table{Wide: f.Output == WideOutput, Width: f.Width, Colour: f.Colour}
	hidden, namespaces := 0, f.Namespaces || r.hasNamespaces()
	hides := !t.Wide && (len(r.Results) > maxAdmittedRows || r.Audit != nil)
	for i := range r.Results {
		one := &r.Results[i]
		if hides && one.Verdict == Admitted && len(one.Violations) == 0 {
			hidden++
			continue
		}
		t.Rows = append(t.Rows, r.row(one, namespaces))
	}
	t.End = r.end(f)
	if n := r.listed(); n > 0 && !t.Wide {
		t.End += fmt.Sprintf("\n-o wide lists the vulnerabilities of %s.", plural(n, "image", "images"))
	}
	if hidden > 0 {
		t.End += fmt.Sprintf("\nThe %d that are admitted without a violation are left out; -o wide shows them.", hidden)
	}
	text := t.String()
	if t.Wide {
		text += r.listedText()
	}
	switch {
	case r.Audit == nil:
		return text
	case len(t.Rows) == 0:
		return r.Audit.text() + "\n" + t.End + "\n"
	}
	return r.Audit.text() + "\n" + text
}

func (r *Report) row(one *Result, namespaces bool) Row {
	title := one.Title()
	row := Row{
		Title: title, LongTitle: title, Images: one.Images,
		Verdict: string(one.Verdict), Tone: one.tone(), Why: one.Why(), LongWhy: one.longWhy(),
	}
	if one.Namespace != "" {
		row.LongTitle = one.Namespace + ": " + title
		if namespaces {
			row.Title = row.LongTitle
		}
	}
	return row
}

// hasNamespaces tells whether the objects are of several namespaces.
func (r *Report) hasNamespaces() bool {
	for i := range r.Results {
		if r.Results[i].Namespace != r.Results[0].Namespace {
			return true
		}
	}
	return false
}

// longWhy is the reasons as the webhook says them.
func (r *Result) longWhy() []string {
	switch {
	case r.Message != "":
		return strings.Split(r.Message, "\n")
	case len(r.Warnings) > 0:
		return r.Warnings
	default:
		return r.Why()
	}
}

func (r *Result) tone() Tone {
	switch r.Verdict {
	case Admitted:
		if len(r.Violations) > 0 {
			return Doubtful
		}
		return Good
	case Warned, Unknown:
		return Doubtful
	default:
		return Bad
	}
}

// end is what stands below a table: the counts, and what wasn't checked.
func (r *Report) end(f Format) string {
	lines := []string{r.Summary.String()}
	for _, p := range r.Problems {
		lines = append(lines, "! "+p.String())
	}
	for _, p := range r.Skipped {
		lines = append(lines, "Skipped: "+p.String())
	}
	if len(r.Policies) == 0 {
		lines = append(lines, "No policy is in force, so that everything is admitted.")
	}
	width := f.Width
	if width <= 0 || f.Output == WideOutput {
		width = defaultWidth
	}
	var wrapped []string
	for _, line := range lines {
		wrapped = append(wrapped, wrap(line, max(width, leastWidth))...)
	}
	return strings.Join(wrapped, "\n")
}

// String is the counts in words.
func (s Summary) String() string {
	parts := []string{}
	for _, c := range []struct {
		count int
		word  string
	}{{s.Denied, "denied"}, {s.Unknown, "cannot be told"}, {s.Warned, "admitted with a warning"}, {s.Admitted, "admitted"}} {
		if c.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.count, c.word))
		}
	}
	text := plural(s.Objects, "object", "objects") + " with " + plural(s.Images, "image", "images")
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	if s.Audited > 0 {
		text += fmt.Sprintf(" (%s a policy that only audits)", plural(s.Audited, "of them violates", "of them violate"))
	}
	return text + "."
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// String is the problem in one line, without what would steer a terminal.
func (p Problem) String() string {
	text := p.Message
	switch {
	case p.Source == "":
	case p.Line == 0:
		text = p.Source + ": " + text
	default:
		text = fmt.Sprintf("%s:%d: %s", p.Source, p.Line, text)
	}
	return oneLine(text)
}

func (r *Report) isExplained() bool {
	for i := range r.Results {
		if len(r.Results[i].Explanation) > 0 {
			return true
		}
	}
	return false
}

// explained tells of each object step by step instead of in a row.
func (r *Report) explained(f Format) string {
	var b strings.Builder
	pen, namespaces := &Table{Colour: f.Colour}, r.hasNamespaces()
	for i := range r.Results {
		one := &r.Results[i]
		row := r.row(one, namespaces)
		fmt.Fprintf(&b, "%s: %s\n", pen.paint(bold, oneLine(row.LongTitle)), pen.paint(row.Tone.colour(), row.Verdict))
		for _, step := range one.Explanation {
			writeStep(&b, step, f.Width)
		}
		b.WriteString("\n")
	}
	return b.String() + r.end(f) + "\n"
}

// writeStep writes a step with its indentation on every line that it takes.
func writeStep(b *strings.Builder, step string, width int) {
	if width <= 0 {
		width = defaultWidth
	}
	text := strings.TrimLeft(step, " ")
	indent := strings.Repeat(" ", len(step)-len(text)+2)
	for i, line := range wrap(text, max(width, leastWidth)-len(indent)-2) {
		if i > 0 {
			line = "  " + line
		}
		b.WriteString(indent + line + "\n")
	}
}
