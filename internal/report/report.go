// Package report holds the results of checking images and writes them: as a table
// for a terminal, as JSON and YAML for programs, as SARIF and JUnit for pipelines,
// as Markdown for a pull request, and as one HTML file for people.
//
// It decides nothing: the verdicts are those of package gate.
package report

import (
	"fmt"
	"slices"
	"time"
)

// Report is the result of checking objects and images.
type Report struct {
	// Subject describes what was checked.
	Subject string    `json:"subject"`
	Time    time.Time `json:"time"`
	// Version is that of hssgate.
	Version string `json:"version,omitempty"`
	// Policies are the names of those in force.
	Policies []string `json:"policies"`
	Summary  Summary  `json:"summary"`
	// Audit counts running pods; nil for any other check.
	Audit   *Audit   `json:"audit,omitempty"`
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

	alike map[string]int // places in Results by likeness
}

// Summary counts objects by verdict.
type Summary struct {
	// Objects are the pods and workloads, Images the different images they name.
	Objects  int `json:"objects"`
	Images   int `json:"images"`
	Admitted int `json:"admitted"`
	// Warned are those that are admitted with a warning.
	Warned  int `json:"warned"`
	Denied  int `json:"denied"`
	Unknown int `json:"unknown"`
	// PodsDenied are those that are not denied themselves, but whose pods would be.
	PodsDenied int `json:"podsDenied"`
	// Audited are those of the admitted that violate a policy that only audits.
	Audited int `json:"audited"`
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
	switch {
	case p.Source == "":
		return oneLine(p.Message)
	case p.Line == 0:
		return oneLine(p.Source + ": " + p.Message)
	default:
		return oneLine(fmt.Sprintf("%s:%d: %s", p.Source, p.Line, p.Message))
	}
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

func (s *Summary) count(r *Result) {
	s.Objects++
	if r.deniesPods() {
		s.PodsDenied++
	}
	switch r.Verdict {
	case Admitted:
		s.Admitted++
		if len(r.Violations) > 0 {
			s.Audited++
		}
	case Warned:
		s.Warned++
	case Denied:
		s.Denied++
	default:
		s.Unknown++
	}
}

// Finish counts the images and collects their vulnerabilities. It must be called
// after the last Add.
func (r *Report) Finish() {
	images := r.images()
	r.Summary.Images, r.Vulnerabilities = len(images), nil
	for _, one := range images {
		if one.Listed != nil {
			r.Vulnerabilities = append(r.Vulnerabilities, *one.Listed)
		}
	}
}

// images returns the different images, the worst first.
func (r *Report) images() []*Image {
	byReference := map[string]*Image{}
	for i := range r.Results {
		for j := range r.Results[i].Images {
			one := &r.Results[i].Images[j]
			known := byReference[one.Reference]
			if known == nil || known.State == NotLookedUp || known.Listed == nil && one.Listed != nil {
				byReference[one.Reference] = one
			}
		}
	}
	images := make([]*Image, 0, len(byReference))
	for _, one := range byReference {
		images = append(images, one)
	}
	slices.SortFunc(images, compareImages)
	return images
}

// Denials describes how many objects, or pods of objects, would be denied; empty:
// none.
func (s *Summary) Denials() string {
	switch {
	case s.Denied > 0 && s.PodsDenied > 0:
		return fmt.Sprintf("%d of %d would be denied, and the pods of %d more", s.Denied, s.Objects, s.PodsDenied)
	case s.Denied > 0:
		return fmt.Sprintf("%d of %d would be denied", s.Denied, s.Objects)
	case s.PodsDenied > 0:
		return fmt.Sprintf("the pods of %d of %d would be denied", s.PodsDenied, s.Objects)
	default:
		return ""
	}
}

// outcome returns the verdict on the whole: the worst one. In an audit a violation
// counts as a denial, whatever the policy's enforcement.
func (r *Report) outcome() Verdict {
	s := &r.Summary
	denied, unknown := s.Denied+s.PodsDenied > 0, s.Unknown > 0
	if r.Audit != nil {
		denied, unknown = r.Audit.Violating > 0, r.Audit.Unknown > 0
	}
	switch {
	case denied:
		return Denied
	case unknown || len(r.Problems) > 0 || r.Strict && len(r.Skipped) > 0:
		return Unknown
	case s.Warned > 0:
		return Warned
	default:
		return Admitted
	}
}

// Headline describes the result in a few words.
func (r *Report) Headline() string {
	outcome := r.outcome()
	switch {
	case r.Audit != nil:
		return r.Audit.headline()
	case outcome == Denied:
		return r.Summary.Denials()
	case outcome == Unknown:
		return "not everything could be evaluated"
	case len(r.Skipped) > 0:
		return fmt.Sprintf("%d admitted, %d skipped", r.Summary.Objects, len(r.Skipped))
	case outcome == Warned:
		return fmt.Sprintf("all admitted, %d with a warning", r.Summary.Warned)
	default:
		return fmt.Sprintf("all %d admitted", r.Summary.Objects)
	}
}

// sorted returns the results that violate a policy or are unknown, the worst
// first, and the others.
func (r *Report) sorted() (bad, good []*Result) {
	for i := range r.Results {
		if one := &r.Results[i]; one.passes() {
			good = append(good, one)
		} else {
			bad = append(bad, one)
		}
	}
	slices.SortStableFunc(bad, func(a, b *Result) int {
		return slices.Index(Verdicts(), a.Verdict) - slices.Index(Verdicts(), b.Verdict)
	})
	return bad, good
}
