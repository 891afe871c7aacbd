package report

import (
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

// Tone says what a verdict means to whoever reads it, and so its colour.
type Tone int

// The tones. Bad is the zero value: what nobody has called good is not.
const (
	Bad Tone = iota
	Doubtful
	Good
	// Alarming stands out among the bad.
	Alarming
)

// Row is an object in a table.
type Row struct {
	// Title names the object. LongTitle does so in a wide table.
	Title, LongTitle string
	Images           []Image
	// Verdict may have several lines.
	Verdict string
	Tone    Tone
	// Why tells the reasons in a few words, one paragraph each. LongWhy does so
	// in a wide table.
	Why, LongWhy []string
}

// Table shows objects, their images and the verdicts about them.
type Table struct {
	Rows []Row
	// End is the last line.
	End string
	// Wide leaves nothing out, however wide that is.
	Wide bool
	// Width is that of a table that isn't wide, in columns; 0: 100.
	Width int
	// Colour marks verdicts by colours.
	Colour bool
}

// drawing is a table on its way to the terminal.
type drawing struct {
	*Table
	rows   []cells
	widths [columnCount]int
	host   string
}

// cells are those of a row; each is a list of paragraphs. Those of image and
// known belong together, one by one.
type cells [columnCount][]string

// String draws the table.
func (t *Table) String() string {
	d := &drawing{Table: t}
	if !t.Wide {
		d.host = commonHost(t.Rows)
	}
	for i := range t.Rows {
		d.rows = append(d.rows, d.cells(&t.Rows[i]))
	}
	width := t.Width
	if width <= 0 {
		width = defaultWidth
	}
	d.fit(max(width, leastWidth))
	return d.text()
}

// commonHost is the host of most images, which a narrow table leaves out.
func commonHost(rows []Row) string {
	uses, best := map[string]int{}, ""
	for i := range rows {
		images := rows[i].Images
		for j := range images {
			if images[j].State == Invalid {
				continue
			}
			host, _, _ := strings.Cut(images[j].Reference, "/")
			uses[host]++
			if uses[host] > uses[best] {
				best = host
			}
		}
	}
	return best
}

func (d *drawing) cells(r *Row) cells {
	var c cells
	c[columnPod], c[columnWhy], c[columnVerdict] = []string{r.Title}, r.Why, strings.Split(r.Verdict, "\n")
	if d.Wide {
		c[columnPod], c[columnWhy] = []string{r.LongTitle}, r.LongWhy
	}
	for i := range r.Images {
		c[columnImage] = append(c[columnImage], d.imageCell(&r.Images[i]))
		c[columnKnown] = append(c[columnKnown], r.Images[i].Known)
	}
	if !d.Wide {
		for i := range c[columnWhy] {
			c[columnWhy][i] = shortDigests(c[columnWhy][i])
		}
	}
	return c
}

// imageCell is the image, with its place unless it is a container's.
func (d *drawing) imageCell(i *Image) string {
	name := i.Reference
	if !d.Wide {
		name = shortDigests(strings.TrimPrefix(name, d.host+"/"))
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
	if !strings.Contains(text, "sha256:") {
		return text
	}
	return regexp.MustCompile(`(sha256:[0-9a-f]{7})[0-9a-f]{57}`).ReplaceAllString(text, "$1…")
}

// fit shares the width among the columns. What is known and why are the ones
// that are wrapped first, for they are sentences.
func (d *drawing) fit(width int) {
	for i, title := range titles() {
		d.widths[i] = columns(title)
	}
	for _, row := range d.rows {
		for i, paragraphs := range row {
			for _, text := range paragraphs {
				d.widths[i] = max(d.widths[i], columns(text))
			}
		}
	}
	if d.Wide {
		return
	}
	d.widths[columnPod] = min(d.widths[columnPod], width/5)
	d.widths[columnImage] = min(d.widths[columnImage], width/4)
	left := width - (columnCount-1)*len(gap) - d.widths[columnPod] - d.widths[columnImage] - d.widths[columnVerdict]
	longest := len("vulnerabilities,") // the longest word of what is known
	d.widths[columnKnown] = min(d.widths[columnKnown], max(left*2/5, min(left/2, longest)))
	d.widths[columnWhy] = min(d.widths[columnWhy], left-d.widths[columnKnown])
}

func titles() [columnCount]string {
	return [columnCount]string{"POD", "IMAGE", "WHAT HSS KNOWS", "VERDICT", "WHY"}
}

func (d *drawing) text() string {
	var b strings.Builder
	var header cells
	for i, title := range titles() {
		header[i] = wrap(title, d.widths[i])
	}
	d.draw(&b, header, func(_ int, text string) string { return d.paint(bold, text) })
	for i := range d.rows {
		d.draw(&b, d.lines(&d.rows[i]), func(column int, text string) string {
			if column != columnVerdict {
				return text
			}
			return d.paint(d.Rows[i].Tone.colour(), text)
		})
	}
	b.WriteString("\n" + d.End + "\n")
	if d.host != "" {
		b.WriteString("Images without a host are of " + oneLine(d.host) + ".\n")
	}
	return b.String()
}

// lines wraps the cells of a row. What HSS knows of an image begins on the
// line where the image does.
func (d *drawing) lines(c *cells) cells {
	var lines cells
	for i, name := range c[columnImage] {
		image, known := wrap(name, d.widths[columnImage]), wrap(c[columnKnown][i], d.widths[columnKnown])
		height := max(len(image), len(known))
		lines[columnImage] = append(lines[columnImage], padded(image, height)...)
		lines[columnKnown] = append(lines[columnKnown], padded(known, height)...)
	}
	for _, column := range []int{columnPod, columnVerdict, columnWhy} {
		for _, text := range c[column] {
			lines[column] = append(lines[column], wrap(text, d.widths[column])...)
		}
	}
	return lines
}

func padded(lines []string, height int) []string {
	return append(lines, make([]string, height-len(lines))...)
}

// draw writes the lines of a row, each text in its column.
func (d *drawing) draw(b *strings.Builder, lines cells, paint func(column int, text string) string) {
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
			blanks += d.widths[column] - columns(text) + len(gap)
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

func (t *Table) paint(colour, text string) string {
	if !t.Colour {
		return text
	}
	return colour + text + plain
}

func (t Tone) colour() string {
	switch t {
	case Good:
		return green
	case Doubtful:
		return yellow
	case Alarming:
		return bold + red
	default:
		return red
	}
}
