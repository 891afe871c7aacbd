package demo

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/hssgate/hssgate/image"
)

// The columns.
const (
	columnPod = iota
	columnImage
	columnKnown
	columnVerdict
	columnWhy
	columnCount
)

// defaultWidth is that of a table that goes to no terminal; leastWidth is the
// narrowest one. The gap is what stands between two columns.
const (
	defaultWidth = 100
	leastWidth   = 60
	gap          = "  "
)

// row holds the cells of a result; each is a list of paragraphs. Those of image
// and known belong together, one by one.
type row struct {
	cells   [columnCount][]string
	verdict Verdict
	bad     bool
}

type table struct {
	rows   []row
	widths [columnCount]int
	wide   bool
	colour bool
	host   string
	end    string
}

func newTable(r *Report, f Format, wide bool) *table {
	t := &table{wide: wide, colour: f.Colour, end: summary(r)}
	if !wide {
		t.host = commonHost(r)
	}
	for i := range r.Results {
		t.rows = append(t.rows, t.newRow(&r.Results[i]))
	}
	width := f.Width
	if width <= 0 {
		width = defaultWidth
	}
	t.fit(max(width, leastWidth))
	return t
}

func summary(r *Report) string {
	bad := 0
	for i := range r.Results {
		if r.Results[i].Problem != "" {
			bad++
		}
	}
	verdicts := fmt.Sprintf("%d verdicts", len(r.Results))
	if len(r.Results) == 1 {
		verdicts = "1 verdict"
	}
	if bad == 0 {
		return verdicts + ", all as the samples expect."
	}
	return fmt.Sprintf("%s, %d of them (marked !) not as the samples expect.", verdicts, bad)
}

// commonHost is the host of most images, which a narrow table leaves out.
func commonHost(r *Report) string {
	uses, best := map[string]int{}, ""
	for i := range r.Results {
		for _, one := range r.Results[i].Images {
			host, _, _ := strings.Cut(one.Reference, "/")
			uses[host]++
			if uses[host] > uses[best] {
				best = host
			}
		}
	}
	return best
}

func (t *table) newRow(r *Result) row {
	one := row{verdict: r.Verdict, bad: r.Problem != ""}
	one.cells[columnPod] = []string{r.title}
	if r.Namespace != "" && t.wide {
		one.cells[columnPod] = []string{r.Namespace + ": " + r.title}
	}
	for _, image := range r.Images {
		one.cells[columnImage] = append(one.cells[columnImage], t.imageCell(image))
		one.cells[columnKnown] = append(one.cells[columnKnown], image.Known)
	}
	one.cells[columnVerdict] = []string{string(r.Verdict)}
	if one.bad {
		one.cells[columnVerdict] = []string{"! " + string(r.Verdict)}
	}
	one.cells[columnWhy] = t.whyCell(r)
	return one
}

// whyCell is the reasons in a few words or, in a wide table, as they are said.
func (t *table) whyCell(r *Result) []string {
	reasons := r.why()
	switch {
	case !t.wide:
		for i := range reasons {
			reasons[i] = shortDigests(reasons[i])
		}
	case r.Verdict == Denied:
		return strings.Split(r.Message, "\n")
	case r.Verdict == Warned:
		return r.Warnings
	}
	return reasons
}

// imageCell is the image, with its place unless it is a container's.
func (t *table) imageCell(i Image) string {
	name := i.Reference
	if !t.wide {
		name = shortDigests(strings.TrimPrefix(name, t.host+"/"))
	}
	switch i.Place {
	case image.PlaceInitContainer:
		return "init: " + name
	case image.PlaceEphemeralContainer:
		return "debug: " + name
	case image.PlaceVolume:
		return "volume: " + name
	default:
		return name
	}
}

// shortDigests shortens digests to what tells them from others.
func shortDigests(text string) string {
	return regexp.MustCompile(`(sha256:[0-9a-f]{7})[0-9a-f]{57}`).ReplaceAllString(text, "$1…")
}

// fit shares the width among the columns. What is known and why are the ones
// that are wrapped first, for they are sentences.
func (t *table) fit(width int) {
	for i, title := range titles() {
		t.widths[i] = columns(title)
	}
	for _, row := range t.rows {
		for i, paragraphs := range row.cells {
			for _, text := range paragraphs {
				t.widths[i] = max(t.widths[i], columns(text))
			}
		}
	}
	if t.wide {
		return
	}
	t.widths[columnPod] = min(t.widths[columnPod], width/5)
	t.widths[columnImage] = min(t.widths[columnImage], width/4)
	left := width - (columnCount-1)*len(gap) - t.widths[columnPod] - t.widths[columnImage] - t.widths[columnVerdict]
	longest := len("vulnerabilities,") // the longest word of what is known
	t.widths[columnKnown] = min(t.widths[columnKnown], max(left*2/5, min(left/2, longest)))
	t.widths[columnWhy] = min(t.widths[columnWhy], left-t.widths[columnKnown])
}

func titles() [columnCount]string {
	return [columnCount]string{"POD", "IMAGE", "WHAT HSS KNOWS", "VERDICT", "WHY"}
}

// String draws the table.
func (t *table) String() string {
	var b strings.Builder
	var header [columnCount][]string
	for i, title := range titles() {
		header[i] = wrap(title, t.widths[i])
	}
	t.draw(&b, header, func(_ int, text string) string { return t.paint(bold, text) })
	for i := range t.rows {
		one := &t.rows[i]
		t.draw(&b, t.lines(one), func(column int, text string) string {
			if column != columnVerdict {
				return text
			}
			return t.paint(one.colour(), text)
		})
	}
	b.WriteString("\n" + t.end + "\n")
	if t.host != "" {
		b.WriteString("Images without a host are of " + t.host + ".\n")
	}
	return b.String()
}

// lines wraps the cells of a row. What HSS knows of an image begins on the
// line where the image does.
func (t *table) lines(r *row) [columnCount][]string {
	var lines [columnCount][]string
	for i, name := range r.cells[columnImage] {
		image, known := wrap(name, t.widths[columnImage]), wrap(r.cells[columnKnown][i], t.widths[columnKnown])
		height := max(len(image), len(known))
		lines[columnImage] = append(lines[columnImage], padded(image, height)...)
		lines[columnKnown] = append(lines[columnKnown], padded(known, height)...)
	}
	for _, column := range []int{columnPod, columnVerdict, columnWhy} {
		for _, text := range r.cells[column] {
			lines[column] = append(lines[column], wrap(text, t.widths[column])...)
		}
	}
	return lines
}

func padded(lines []string, height int) []string {
	return append(lines, make([]string, height-len(lines))...)
}

// draw writes the lines of a row, each text in its column.
func (t *table) draw(b *strings.Builder, lines [columnCount][]string, paint func(column int, text string) string) {
	height := 0
	for _, column := range lines {
		height = max(height, len(column))
	}
	for i := range height {
		var line strings.Builder
		blanks := 0
		for column, texts := range lines {
			text := ""
			if i < len(texts) {
				text = texts[i]
			}
			if text != "" {
				line.WriteString(strings.Repeat(" ", blanks) + paint(column, text))
				blanks = 0
			}
			blanks += t.widths[column] - columns(text) + len(gap)
		}
		b.WriteString(line.String() + "\n")
	}
}

// The escape sequences of colours.
const (
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

func (t *table) paint(colour, text string) string {
	if !t.colour {
		return text
	}
	return colour + text + plain
}

func (r *row) colour() string {
	switch {
	case r.bad:
		return bold + red
	case r.verdict == Admitted:
		return green
	case r.verdict == Warned:
		return yellow
	}
	return red
}
