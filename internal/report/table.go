package report

import (
	"cmp"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/hssgate/hssgate/internal/image"
)

// Terminals that are narrower than minColumns, or have fewer than minDetails columns for
// images and reasons, get a block for each object in place of a row.
const (
	minColumns = 110
	minDetails = 60
)

// remedyPrefix begins what to do.
const remedyPrefix = "to do: "

// TerminalWidth returns $COLUMNS, or the width of the terminal that a writer is; 0: it is
// none.
func TerminalWidth(w io.Writer) int {
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
		return columns
	}
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// table is the data of the template of tables.
type table struct {
	*Report

	// Wide has whole references and messages, and all results.
	Wide      bool
	Explained []*Result
	// Lines are of the objects. Their cells are separated by tabs.
	Lines []string
	// Host and its slash are left out of the references; empty: none is.
	Host string
	// Hidden is the number of objects that only a wide table has.
	Hidden int
	// ListedImages is the number of images whose vulnerabilities are known one by one.
	ListedImages int

	rows []*Result
}

// digest finds digests, and the part of each that people compare.
var digest = regexp.MustCompile(`(sha256:[0-9a-f]{7})[0-9a-f]{57}`)

// table returns the report as text, for a terminal of its width or for programs.
func (r *Report) table(wide bool) (string, error) {
	t := &table{Report: r, Wide: wide}
	bad, good := r.sorted()
	for _, one := range slices.Concat(bad, good) {
		if len(one.Explanation) > 0 {
			t.Explained = append(t.Explained, one)
		}
		if wide || r.shows(one) {
			t.rows = append(t.rows, one)
		} else {
			t.Hidden += 1 + len(one.Alike)
		}
	}
	if len(t.Explained) == 0 {
		if !wide && r.Width > 0 {
			t.Host = commonHost(t.rows)
		}
		t.setLines()
		for i := range r.Vulnerabilities {
			t.ListedImages += min(1, len(r.Vulnerabilities[i].Listed))
		}
	}
	text, err := render("report.table.tmpl", t)
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = w.Write([]byte(text)) // a Builder returns no error
	_ = w.Flush()
	return b.String(), err
}

// shows reports whether a table that is not wide has a result: an audit leaves out
// pods that pass, a comparison those whose verdict is the same.
func (r *Report) shows(one *Result) bool {
	return (r.Audit == nil || !one.passes()) && (r.Changes == nil || one.Before != "")
}

// setLines chooses the layout.
func (t *table) setLines() {
	if len(t.rows) == 0 {
		return
	}
	verdicts, titles := 0, 0
	for _, r := range t.rows {
		verdicts, titles = max(verdicts, utf8.RuneCountInString(verdictText(r))), max(titles, utf8.RuneCountInString(t.title(r)))
	}
	switch room := t.Width - verdicts - titles - 4; {
	case t.Width == 0:
		t.Lines = t.asLines()
	case t.Width < minColumns || room < minDetails:
		t.Lines = t.asBlocks()
	default:
		t.Lines = t.asColumns(room)
	}
}

// asLines returns one line for each object, with whole references.
func (t *table) asLines() []string {
	lines := []string{"VERDICT\tNAMESPACE\tOBJECT\tWHY\tIMAGES"}
	if t.Tests != nil {
		lines[0] = strings.Replace(lines[0], "NAMESPACE", "FILE", 1)
	}
	for _, r := range t.rows {
		var images []string
		for i := range r.Images {
			images = append(images, strings.ReplaceAll(oneLine(r.Images[i].Reference), " ", "_"))
		}
		why := strings.Join(r.Why(), "; ")
		if t.Wide {
			why = strings.ReplaceAll(strings.Join(t.reasons(r), "; "), "; - ", "; ")
		}
		cells := []string{verdictText(r), r.where(), r.Title(), why, strings.Join(images, ",")}
		for i, cell := range cells {
			cells[i] = cmp.Or(oneLine(cell), "-")
		}
		lines = append(lines, strings.Join(cells, "\t"))
	}
	return lines
}

// asColumns returns a row for each object, whose last column has a line for each image
// and each reason, and so much room.
func (t *table) asColumns(room int) []string {
	lines := []string{"VERDICT\tOBJECT\tIMAGES, WHAT HSS KNOWS, AND WHY"}
	for _, r := range t.rows {
		cells := verdictText(r) + "\t" + t.title(r) + "\t"
		for _, detail := range t.details(r) {
			for _, line := range wrapped(detail, room) {
				lines, cells = append(lines, cells+line), "\t\t"
			}
		}
	}
	return lines
}

// asBlocks returns a paragraph for each object.
func (t *table) asBlocks() []string {
	var lines []string
	for _, r := range t.rows {
		lines = append(lines, wrapped(verdictText(r)+"  "+t.title(r), t.Width)...)
		for _, detail := range t.details(r) {
			lines = append(lines, wrapped("  "+detail, t.Width)...)
		}
		lines = append(lines, "")
	}
	return lines[:len(lines)-1]
}

// verdictText returns the verdict, and the one before.
func verdictText(r *Result) string {
	switch {
	case r.Problem != "":
		return "FAIL"
	case r.Case != "":
		return "PASS"
	case r.Before != "":
		return string(r.Verdict) + ", was " + string(r.Before)
	default:
		return string(r.Verdict)
	}
}

func (t *table) title(r *Result) string {
	return oneLine(strings.Replace(r.FullTitle(), "/"+t.Host, "/", 1))
}

// details returns a line for each image of an object, each reason and each remedy.
func (t *table) details(r *Result) []string {
	prefixes := map[image.Place]string{
		image.PlaceInitContainer: "init: ", image.PlaceEphemeralContainer: "debug: ", image.PlaceVolume: "volume: ",
	}
	var details []string
	for i := range r.Images {
		one := &r.Images[i]
		details = append(details, prefixes[one.Place]+strings.TrimPrefix(one.Reference, t.Host)+": "+one.Known)
	}
	for _, why := range t.reasons(r) {
		if !strings.HasPrefix(why, remedyPrefix) {
			why = "→ " + strings.TrimPrefix(why, "- ")
		}
		details = append(details, why)
	}
	for i, detail := range details {
		if !t.Wide {
			detail = digest.ReplaceAllString(detail, "$1…")
		}
		details[i] = oneLine(detail)
	}
	return details
}

// reasons returns those of the verdict with what to do, in a wide table in the words of
// the webhook, and those of the verdict before.
func (t *table) reasons(r *Result) []string {
	reasons, remedies := r.Why(), r.Remedies()
	switch {
	case t.Wide && r.Problem == "" && r.Message != "": // it has the remedies
		reasons, remedies = strings.Split(r.Message, "\n"), nil
	case t.Wide && r.Problem == "" && len(r.Warnings) > 0: // they do, too
		reasons, remedies = slices.Clone(r.Warnings), nil
	}
	for _, remedy := range remedies {
		if t.Tests == nil && t.Changes == nil {
			reasons = append(reasons, remedyPrefix+remedy)
		}
	}
	for i := 0; t.Wide && i < len(r.Was); i++ {
		reasons = append(reasons, "before: "+r.Was[i])
	}
	return reasons
}

// Wrap breaks a line to the width of the terminal.
func (t *table) Wrap(line string) string {
	if t.Width == 0 {
		return line
	}
	return strings.Join(wrapped(line, t.Width), "\n")
}

// wrapped breaks a line at blanks into lines of so many characters, of which all but the
// first are indented more. A longer word, such as an image's reference, stays whole.
func wrapped(text string, width int) []string {
	rest := strings.TrimLeft(text, " ")
	line := text[:len(text)-len(rest)]
	indent, empty := line+"  ", true
	var lines []string
	for word := range strings.SplitSeq(rest, " ") {
		switch {
		case empty:
			line += word
		case utf8.RuneCountInString(line+" "+word) > width:
			lines, line = append(lines, line), indent+word
		default:
			line += " " + word
		}
		empty = false
	}
	return append(lines, line)
}

// commonHost returns the host of most images with its slash, which only a wide table shows.
func commonHost(rows []*Result) string {
	uses, best := map[string]int{}, ""
	for _, row := range rows {
		for i := range row.Images {
			if one := &row.Images[i]; one.State != Invalid {
				host := hostAndPath(one.Reference)[0]
				uses[host]++
				if uses[host] > uses[best] {
					best = host
				}
			}
		}
	}
	return best
}
