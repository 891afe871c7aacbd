// Package report holds the results of checking images and writes them: as a table
// for a terminal, as JSON and YAML for programs, as SARIF and JUnit for pipelines,
// as Markdown for a pull request, and as one HTML file for people.
//
// It decides nothing: the verdicts are those of package gate.
package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is the result of checking objects and images, of comparing policies, or of
// testing them.
type Report struct {
	// Subject describes what was checked.
	Subject string    `json:"subject"`
	Time    time.Time `json:"time"`
	// Version is that of hssgate.
	Version string `json:"version,omitempty"`
	// Policies are the names of those in force.
	Policies []string `json:"policies"`
	Summary  Summary  `json:"summary"`
	// Audit counts running pods, Changes the verdicts that other policies change, and
	// Tests the cases of tests; each is nil for any other report.
	Audit   *Audit   `json:"audit,omitempty"`
	Changes *Changes `json:"changes,omitempty"`
	Tests   *Tests   `json:"tests,omitempty"`
	Results []Result `json:"results"`
	// Vulnerabilities are those of images for which they were looked up, the worst
	// image first.
	Vulnerabilities []ListedImage `json:"vulnerabilities,omitempty"`
	// Problems are the parts of the input that could not be read.
	Problems []Problem `json:"problems,omitempty"`
	// Skipped are objects that may create pods but name no images. Strict makes them
	// a failure.
	Skipped []Problem `json:"skipped,omitempty"`
	Strict  bool      `json:"strict,omitempty"`

	// Width is that of the terminal for which a table is, in columns. 0: the table is for
	// programs, with one line for each object.
	Width int `json:"-"`
	// Exceptions is the output of that name.
	Exceptions string `json:"-"`

	alike  map[string]int // places in Results by likeness
	images []*Image       // the different ones, the worst first; set by Finish
}

// Problem is something that could not be read.
type Problem struct {
	Source string `json:"source,omitempty"`
	// Line is the line in the source, from 1; 0: the whole.
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

// String returns the problem in one line, without control characters.
func (p Problem) String() string {
	place := p.Source
	if p.Line > 0 {
		place = fmt.Sprintf("%s:%d", p.Source, p.Line)
	}
	return oneLine(strings.TrimPrefix(place+": "+p.Message, ": "))
}

// Add adds a result. Pods of one owner that differ only by name share one.
func (r *Report) Add(one Result) {
	r.Summary.count(&one)
	if r.Audit != nil {
		r.Audit.count(&one)
	}
	if one.Owner != "" && one.Kind == "Pod" {
		key := one.likeness()
		if place, known := r.alike[key]; known {
			r.Results[place].Alike = append(r.Results[place].Alike, one.Name)
			return
		}
		if r.alike == nil {
			r.alike = map[string]int{}
		}
		r.alike[key] = len(r.Results)
	}
	r.Results = append(r.Results, one)
}

// Finish counts the images and collects their vulnerabilities. It must be called after the last Add.
func (r *Report) Finish() {
	byReference, uses := map[string]*Image{}, map[string]int{}
	for i := range r.Results {
		for j := range r.Results[i].Images {
			one := &r.Results[i].Images[j]
			uses[one.Reference] += 1 + len(r.Results[i].Alike)
			known := byReference[one.Reference]
			if known == nil || known.State == NotLookedUp || known.Listed == nil && one.Listed != nil {
				byReference[one.Reference] = one
			}
		}
	}
	r.images = slices.SortedFunc(maps.Values(byReference), compareImages)
	r.Summary.Images, r.Vulnerabilities = len(r.images), nil
	for _, one := range r.images {
		one.Uses = uses[one.Reference]
		if one.Listed != nil {
			r.Vulnerabilities = append(r.Vulnerabilities, *one.Listed)
		}
	}
}

// sorted returns the results that violate a policy or are unknown, the worst first, and the others. Tests keep their order.
func (r *Report) sorted() (bad, good []*Result) {
	for i := range r.Results {
		if one := &r.Results[i]; one.passes() || r.Tests != nil {
			good = append(good, one)
		} else {
			bad = append(bad, one)
		}
	}
	rank := func(r *Result) int { return slices.Index(Verdicts(), r.Verdict) }
	slices.SortStableFunc(bad, func(a, b *Result) int { return cmp.Or(rank(a)-rank(b), b.malicious()-a.malicious()) })
	return bad, good
}

// KeepFailed drops the results that are admitted, and the cases that are as expected. The counts are still of all.
func (r *Report) KeepFailed() {
	r.Results = slices.DeleteFunc(r.Results, func(one Result) bool {
		return one.Problem == "" && (r.Tests != nil || !one.Verdict.Denies() && one.Verdict != Unknown)
	})
}
