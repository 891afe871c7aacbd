package demo

import (
	"fmt"
	"strings"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/report"
)

// Image is one place of an object that names an image, and what HSS knows.
type Image struct {
	// Place is the kind of place; Name is that of the container or volume.
	Place image.Place `json:"place"`
	Name  string      `json:"name"`
	// Reference is the normalised reference, or the written one if it is invalid.
	Reference string `json:"reference"`
	// Known is what HSS knows of it, in a few words.
	Known string `json:"known"`
}

func newTable(r *Report, f Format, wide bool) *report.Table {
	t := &report.Table{Wide: wide, Width: f.Width, Colour: f.Colour, End: summary(r)}
	for i := range r.Results {
		t.Rows = append(t.Rows, newRow(&r.Results[i]))
	}
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

func newRow(r *Result) report.Row {
	row := report.Row{
		Title: r.title, LongTitle: r.title, Verdict: string(r.Verdict), Tone: r.tone(), Why: r.why(), LongWhy: r.longWhy(),
	}
	if r.Namespace != "" {
		row.LongTitle = r.Namespace + ": " + r.title
	}
	if r.Problem != "" {
		row.Verdict = "! " + row.Verdict
	}
	for _, i := range r.Images {
		row.Images = append(row.Images, report.Image{Place: i.Place, Name: i.Name, Reference: i.Reference, Known: i.Known})
	}
	return row
}

// longWhy is the reasons as they are said.
func (r *Result) longWhy() []string {
	switch r.Verdict {
	case Denied:
		return strings.Split(r.Message, "\n")
	case Warned:
		return r.Warnings
	default:
		return r.why()
	}
}

func (r *Result) tone() report.Tone {
	switch {
	case r.Problem != "":
		return report.Alarming
	case r.Verdict == Admitted:
		return report.Good
	case r.Verdict == Warned:
		return report.Doubtful
	default:
		return report.Bad
	}
}
