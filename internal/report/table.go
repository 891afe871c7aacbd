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

const remedyPrefix = "to do: "

// TerminalWidth returns $COLUMNS, or the width of the terminal that a writer is; 0: it is none.
func TerminalWidth(w io.Writer) int {
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
		return columns
	}
	if file, ok := w.(*os.File); ok {
		width, _, _ := term.GetSize(int(file.Fd()))
		return width
	}
	return 0
}

type table struct {
	*Report

	// Wide has whole references and messages, and all results.
	Wide      bool
	Explained []*Result
	Rows      []*Result
	// Columns is the number of columns for images and reasons; 0: each object has one line, as for programs; -1: each
	// object has a block in place of a row.
	Columns int
	// Host and its slash are left out of the references; empty: none is.
	Host string
	// Hidden is the number of objects that only a wide table has.
	Hidden int
	// ListedImages is the number of images whose vulnerabilities are known one by one.
	ListedImages int
}

// digest finds digests, and the part of each that people compare.
var digest = regexp.MustCompile(`(sha256:[0-9a-f]{7})[0-9a-f]{57}`)

func (r *Report) table(wide bool) (string, error) {
	t := &table{Report: r, Wide: wide}
	bad, good := r.sorted()
	for _, one := range slices.Concat(bad, good) {
		if len(one.Explanation) > 0 {
			t.Explained = append(t.Explained, one)
		}
		// An audit leaves out pods that pass, a comparison those whose verdict is the same.
		if wide || (r.Audit == nil || !one.passes()) && (r.Changes == nil || one.Before != "") {
			t.Rows = append(t.Rows, one)
		} else {
			t.Hidden += 1 + len(one.Alike)
		}
	}
	if len(t.Explained) == 0 {
		if !wide && r.Width > 0 {
			t.Host = commonHost(t.Rows)
		}
		t.setColumns()
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

// setColumns chooses the layout by the width of the terminal.
func (t *table) setColumns() {
	if t.Width == 0 {
		return
	}
	verdicts, titles := 0, 0
	for _, r := range t.Rows {
		verdicts, titles = max(verdicts, utf8.RuneCountInString(r.VerdictText())), max(titles, utf8.RuneCountInString(t.ShortTitle(r)))
	}
	if t.Columns = t.Width - verdicts - titles - 4; t.Width < minColumns || t.Columns < minDetails {
		t.Columns = -1
	}
}

// Cells returns the cells of an object's only line, with whole references.
func (t *table) Cells(r *Result) []string {
	var images []string
	for i := range r.Images {
		images = append(images, strings.ReplaceAll(oneLine(r.Images[i].Reference), " ", "_"))
	}
	why := strings.Join(r.Why(), "; ")
	if t.Wide {
		why = strings.ReplaceAll(strings.Join(t.reasons(r), "; "), "; - ", "; ")
	}
	cells := []string{r.VerdictText(), r.where(), r.Title(), why, strings.Join(images, ",")}
	for i, cell := range cells {
		cells[i] = cmp.Or(oneLine(cell), "-")
	}
	return cells
}

// VerdictText returns the verdict, and the one before.
func (r *Result) VerdictText() string {
	switch {
	case r.Problem != "":
		return "FAIL"
	case r.Case != "":
		return "PASS"
	case r.Before != "":
		return string(r.Verdict) + ", was " + string(r.Before)
	}
	return string(r.Verdict)
}

// ShortTitle returns the title without the host.
func (t *table) ShortTitle(r *Result) string {
	return oneLine(strings.Replace(r.FullTitle(), "/"+t.Host, "/", 1))
}

// Details returns a line for each image of an object, each reason and each remedy.
func (t *table) Details(r *Result) []string {
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

// reasons returns those of the verdict, in a wide table in the webhook's words, what to do, and those of the verdict before.
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

// wrapped breaks a line at blanks; all lines but the first are indented more. A longer word, such as a reference, stays.
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
