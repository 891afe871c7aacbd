package report

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/hssgate/hssgate/internal/image"
)

// Bounds of lists. JSON and YAML have everything.
const (
	maxPassingRows  = 100 // beyond that a table leaves out objects that pass
	maxListedImages = 20
	maxListedRows   = 20 // vulnerabilities of one image
)

// text returns the report for a terminal.
func (r *Report) text(f Format) string {
	if slices.ContainsFunc(r.Results, func(one Result) bool { return len(one.Explanation) > 0 }) {
		return r.explained(f)
	}
	isWide := f.Output == WideOutput
	t := &Table{Format: f, End: r.end()}
	hides := !isWide && (len(r.Results) > maxPassingRows || r.Audit != nil)
	namespaces := f.Namespaces || isWide || r.hasNamespaces()
	for i := range r.Results {
		if one := &r.Results[i]; !hides || !one.passes() {
			t.Rows = append(t.Rows, one.row(f, namespaces))
		}
	}
	if !isWide {
		t.End += r.onlyInWide(len(r.Results) - len(t.Rows))
	}
	text := t.String()
	if isWide {
		text += r.listedText()
	}
	switch {
	case r.Audit == nil:
		return text
	case len(t.Rows) == 0:
		return r.Audit.text() + "\n" + t.End + "\n"
	default:
		return r.Audit.text() + "\n" + text
	}
}

// onlyInWide returns what only a wide table shows.
func (r *Report) onlyInWide(hidden int) string {
	text := ""
	if n := r.listed(); n > 0 {
		text = fmt.Sprintf("\n-o wide lists the vulnerabilities of %s.", plural(n, "image", "images"))
	}
	if hidden > 0 {
		text += fmt.Sprintf("\nThe %d that are admitted without a violation are left out; -o wide shows them.", hidden)
	}
	return text
}

// row returns the object's row in a table.
func (r *Result) row(f Format, namespaces bool) Row {
	row := Row{Title: r.Title(), Images: r.Images, Verdict: string(r.Verdict), Why: r.Why()}
	if namespaces {
		row.Title = r.FullTitle()
	}
	if f.Output == WideOutput {
		row.Why = r.webhookWords()
	}
	return row
}

// hasNamespaces reports whether the objects are in several namespaces.
func (r *Report) hasNamespaces() bool {
	return slices.ContainsFunc(r.Results, func(one Result) bool { return one.Namespace != r.Results[0].Namespace })
}

// end returns the lines below a table: the counts, and what was not checked.
func (r *Report) end() string {
	lines := append([]string{r.Summary.String()}, notChecked(r.Problems, r.Skipped)...)
	if len(r.Policies) == 0 {
		lines = append(lines, "No policy is in force: everything is admitted.")
	}
	return strings.Join(lines, "\n")
}

func notChecked(problems, skipped []Problem) []string {
	var lines []string
	for _, p := range problems {
		lines = append(lines, "! "+p.String())
	}
	for _, p := range skipped {
		lines = append(lines, "Skipped: "+p.String())
	}
	return lines
}

// String returns the counts in words.
func (s Summary) String() string {
	var parts []string
	add := func(n int, words string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, words))
		}
	}
	add(s.Denied, "denied")
	add(s.Unknown, "unknown")
	add(s.Warned, "admitted with a warning")
	add(s.Admitted, "admitted")
	text := plural(s.Objects, "object", "objects") + " with " + plural(s.Images, "image", "images")
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	if s.Audited > 0 {
		text += fmt.Sprintf(" (%s a policy that only audits)", plural(s.Audited, "of them violates", "of them violate"))
	}
	return text + "."
}

// listed returns the number of images whose vulnerabilities are known one by one.
func (r *Report) listed() int {
	n := 0
	for i := range r.Vulnerabilities {
		n += min(1, len(r.Vulnerabilities[i].Listed))
	}
	return n
}

// listedText lists the worst vulnerabilities of the worst images.
func (r *Report) listedText() string {
	var b strings.Builder
	images := firstOf(r.Vulnerabilities, maxListedImages)
	for i := range images.Shown {
		one := &images.Shown[i]
		some := firstOf(one.Listed, maxListedRows)
		rows := make([][]string, 0, len(some.Shown))
		for _, v := range some.Shown {
			rows = append(rows, []string{"", v.ID, string(v.Severity), v.Package, v.Installed, v.FixText()})
		}
		fmt.Fprintf(&b, "\n%s: %s\n%s", oneLine(one.Reference), oneLine(one.String()), aligned(rows))
		if some.More > 0 {
			fmt.Fprintf(&b, "  and %d more\n", some.More)
		}
	}
	if images.More > 0 {
		fmt.Fprintf(&b, "\n%d more images have vulnerabilities that are listed; -o json has them all.\n", images.More)
	}
	return b.String()
}

// explained returns the report with the explanations of results in place of a table.
func (r *Report) explained(f Format) string {
	var b strings.Builder
	for i := range r.Results {
		one := &r.Results[i]
		fmt.Fprintf(&b, "%s  %s\n", one.Verdict, oneLine(one.FullTitle()))
		for _, step := range one.Explanation {
			indent := len(step) - len(strings.TrimLeft(step, " "))
			b.WriteString("  " + step[:indent] + oneLine(step) + "\n")
		}
		b.WriteString("\n")
	}
	return f.paintVerdicts(b.String()) + r.end() + "\n"
}

// Table shows objects, their images and the verdicts on them.
type Table struct {
	Format

	Rows []Row
	// End follows the rows.
	End string
}

// Row is an object in a table.
type Row struct {
	// Verdict may have several lines.
	Verdict string
	Title   string
	Images  []Image
	// Why holds the reasons, one in each line.
	Why []string
}

// String returns the table as text. Long lines are left to the terminal to wrap.
func (t *Table) String() string {
	host := ""
	if t.Output != WideOutput {
		host = commonHost(t.Rows)
	}
	lines := [][]string{{"VERDICT", "OBJECT", "IMAGES, WHAT HSS KNOWS, AND WHY"}}
	for i := range t.Rows {
		lines = append(lines, t.Rows[i].lines(host, t.Output == WideOutput)...)
	}
	text := t.paintVerdicts(aligned(lines)) + "\n" + t.End + "\n"
	if host != "" {
		text += "Images shown without a registry are from " + oneLine(host) + ".\n"
	}
	return text
}

// lines returns the cells of each line of the row: a line for each image and each
// reason.
func (r *Row) lines(host string, wide bool) [][]string {
	prefixes := map[image.Place]string{
		image.PlaceInitContainer: "init: ", image.PlaceEphemeralContainer: "debug: ", image.PlaceVolume: "volume: ",
	}
	var details []string
	for i := range r.Images {
		one := &r.Images[i]
		details = append(details, prefixes[one.Place]+strings.TrimPrefix(one.Reference, host+"/")+": "+one.Known)
	}
	for _, why := range r.Why {
		details = append(details, "→ "+strings.TrimPrefix(why, "- "))
	}
	title, verdicts := strings.Replace(r.Title, "/"+host+"/", "/", 1), strings.Split(r.Verdict, "\n")
	var lines [][]string
	for i := range max(len(details), len(verdicts)) {
		line := []string{"", title, ""}
		if i < len(verdicts) {
			line[0] = verdicts[i]
		}
		if i < len(details) && wide {
			line[2] = details[i]
		} else if i < len(details) {
			line[2] = shortDigests(details[i])
		}
		lines, title = append(lines, line), ""
	}
	return lines
}

// commonHost returns the host of most images, which only a wide table shows.
func commonHost(rows []Row) string {
	uses, best := map[string]int{}, ""
	for i := range rows {
		for j := range rows[i].Images {
			if one := &rows[i].Images[j]; one.State != Invalid {
				host, _, _ := strings.Cut(one.Reference, "/")
				uses[host]++
				if uses[host] > uses[best] {
					best = host
				}
			}
		}
	}
	return best
}

// shortDigests shortens digests to the part that people compare.
func shortDigests(text string) string {
	if !strings.Contains(text, "sha256:") {
		return text
	}
	return regexp.MustCompile(`(sha256:[0-9a-f]{7})[0-9a-f]{57}`).ReplaceAllString(text, "$1…")
}

// paintVerdicts colours the verdicts at the beginning of lines.
func (f Format) paintVerdicts(text string) string {
	if !f.Colour {
		return text
	}
	const red, green, yellow, plain = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
	return regexp.MustCompile(`(?m)^(! )?(Denied|Unknown|Warned|Admitted)\b`).ReplaceAllStringFunc(text, func(verdict string) string {
		switch Verdict(verdict) {
		case Admitted:
			return green + verdict + plain
		case Warned, Unknown:
			return yellow + verdict + plain
		default:
			return red + verdict + plain
		}
	})
}

// aligned returns lines of cells in columns.
func aligned(lines [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, line := range lines {
		cells := make([]string, len(line))
		for i, text := range line {
			cells[i] = oneLine(text)
		}
		_, _ = w.Write([]byte(strings.Join(cells, "\t") + "\n")) // a Builder returns no error
	}
	_ = w.Flush()
	return b.String()
}

// oneLine returns a text in one line, without what could control a terminal.
func oneLine(text string) string {
	printable := func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		default:
			return r
		}
	}
	return strings.Join(strings.Fields(strings.Map(printable, text)), " ")
}
