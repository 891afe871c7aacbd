package report

import (
	"fmt"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/hssgate/hssgate/internal/image"
)

// Bounds of lists. JSON and YAML have everything.
const (
	maxListedImages = 20
	maxListedRows   = 20 // vulnerabilities of one image
)

// text returns the report for a terminal. The table of an audit leaves out pods that
// pass, unless it is wide.
func (r *Report) text(o Output) string {
	end := append([]string{r.Summary.String()}, notChecked(r.Problems, r.Skipped)...)
	if len(r.Policies) == 0 {
		end = append(end, "No policy is in force: everything is admitted.")
	}
	if text := r.explained(); text != "" {
		return text + strings.Join(end, "\n") + "\n"
	}
	t := &Table{Output: o}
	for i := range r.Results {
		if one := &r.Results[i]; r.Audit == nil || o == WideOutput || !one.passes() {
			t.Rows = append(t.Rows, one.row(o))
		}
	}
	if n := r.listed(); n > 0 && o != WideOutput {
		end = append(end, fmt.Sprintf("-o wide lists the vulnerabilities of %s.", plural(n, "image", "images")))
	}
	if hidden := len(r.Results) - len(t.Rows); hidden > 0 {
		end = append(end, fmt.Sprintf("The %d that are admitted without a violation are left out; -o wide shows them.", hidden))
	}
	t.End = strings.Join(end, "\n")
	text := t.String()
	if o == WideOutput {
		text += r.listedText()
	}
	if r.Audit != nil {
		text = r.Audit.text() + "\n" + text
	}
	return text
}

// row returns the object's row in a table.
func (r *Result) row(o Output) Row {
	row := Row{Title: r.FullTitle(), Images: r.Images, Verdict: string(r.Verdict), Why: r.Why()}
	if o == WideOutput {
		row.Why = r.webhookWords()
	}
	return row
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

// explained returns the explanations of the results; empty if there are none.
func (r *Report) explained() string {
	var b strings.Builder
	for i := range r.Results {
		one := &r.Results[i]
		if len(one.Explanation) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s  %s\n", one.Verdict, oneLine(one.FullTitle()))
		for _, step := range one.Explanation {
			indent := len(step) - len(strings.TrimLeft(step, " "))
			b.WriteString("  " + step[:indent] + oneLine(step) + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Table shows objects, their images and the verdicts on them.
type Table struct {
	// Output is TableOutput, the default, or WideOutput.
	Output Output
	Rows   []Row
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
	if len(t.Rows) == 0 {
		return t.End + "\n"
	}
	lines := [][]string{{"VERDICT", "OBJECT", "IMAGES, WHAT HSS KNOWS, AND WHY"}}
	for i := range t.Rows {
		lines = append(lines, t.Rows[i].lines(host, t.Output == WideOutput)...)
	}
	text := aligned(lines) + "\n" + t.End + "\n"
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
func oneLine(text string) string { return strings.Join(strings.Fields(Printable(text)), " ") }
