package report

import (
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/hssgate/hssgate/internal/image"
)

// table is the data of the template of tables.
type table struct {
	*Report

	// Wide has whole references and messages, and all results.
	Wide      bool
	Explained []*Result
	// Lines are cells of the objects: each has a line for each image and each reason.
	Lines [][3]string
	// Host is left out of the references; empty: none is.
	Host string
	// Hidden is the number of results that only a wide table has.
	Hidden int

	digest *regexp.Regexp
	// ListedImages is the number of images whose vulnerabilities are known one by one.
	ListedImages int
}

// table returns the report for a terminal. Long lines are left to the terminal to
// wrap.
func (r *Report) table(wide bool) (string, error) {
	t := &table{Report: r, Wide: wide, digest: regexp.MustCompile(`(sha256:[0-9a-f]{7})[0-9a-f]{57}`)}
	var rows []*Result
	bad, good := r.sorted()
	for _, one := range slices.Concat(bad, good) {
		if len(one.Explanation) > 0 {
			t.Explained = append(t.Explained, one)
		}
		if wide || r.shows(one) {
			rows = append(rows, one)
		}
	}
	if len(t.Explained) == 0 {
		t.Hidden = len(r.Results) - len(rows)
		if !wide {
			t.Host = commonHost(rows)
		}
		for _, row := range rows {
			t.Lines = append(t.Lines, t.lines(row)...)
		}
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

// lines returns the cells of each line of an object.
func (t *table) lines(r *Result) [][3]string {
	prefixes := map[image.Place]string{
		image.PlaceInitContainer: "init: ", image.PlaceEphemeralContainer: "debug: ", image.PlaceVolume: "volume: ",
	}
	verdicts, reasons := []string{string(r.Verdict)}, r.Why()
	switch {
	case r.Problem != "":
		verdicts = []string{"FAIL"}
	case r.Case != "":
		verdicts = []string{"PASS"}
	case t.Wide:
		reasons = r.webhookWords()
	}
	if r.Before != "" {
		verdicts = append(verdicts, "was "+string(r.Before))
	}
	var details []string
	for i := range r.Images {
		one := &r.Images[i]
		details = append(details, prefixes[one.Place]+strings.TrimPrefix(one.Reference, t.Host+"/")+": "+one.Known)
	}
	for _, why := range reasons {
		details = append(details, "→ "+strings.TrimPrefix(why, "- "))
	}
	for i := 0; t.Wide && i < len(r.Was); i++ {
		details = append(details, "→ before: "+r.Was[i])
	}
	lines := make([][3]string, max(len(details), len(verdicts)))
	lines[0][1] = strings.Replace(r.FullTitle(), "/"+t.Host+"/", "/", 1)
	for i, verdict := range verdicts {
		lines[i][0] = verdict
	}
	for i, detail := range details {
		if !t.Wide { // the part of a digest that people compare
			detail = t.digest.ReplaceAllString(detail, "$1…")
		}
		lines[i][2] = detail
	}
	return lines
}

// commonHost returns the host of most images, which only a wide table shows.
func commonHost(rows []*Result) string {
	uses, best := map[string]int{}, ""
	for _, row := range rows {
		for i := range row.Images {
			if one := &row.Images[i]; one.State != Invalid {
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
