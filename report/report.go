package report

import (
	"fmt"
	"slices"
	"time"
)

// Report is what came of checking objects and images.
type Report struct {
	// Subject says in a few words what was checked.
	Subject string `json:"subject"`
	// Time is when, and Version that of hssgate.
	Time    time.Time `json:"time"`
	Version string    `json:"version,omitempty"`
	// Policies are the names of those in force, in order.
	Policies []string `json:"policies"`
	Summary  Summary  `json:"summary"`
	// Audit is that of an audit; nil for any other check.
	Audit   *Audit   `json:"audit,omitempty"`
	Results []Result `json:"results"`
	// Vulnerabilities are those of images that fail by them, one by one, the
	// worst image first.
	Vulnerabilities []ListedImage `json:"vulnerabilities,omitempty"`
	// Problems are what could not be read, and so was not checked.
	Problems []Problem `json:"problems,omitempty"`
	// Skipped are objects that may make pods without naming their images, and so
	// were not checked. Strict makes that an outcome of its own.
	Skipped []Problem `json:"skipped,omitempty"`
	Strict  bool      `json:"strict,omitempty"`

	alike map[string]int
}

// Summary counts objects by verdict.
type Summary struct {
	// Objects are the pods and workloads that were checked.
	Objects int `json:"objects"`
	// Images are the different images that they name.
	Images   int `json:"images"`
	Admitted int `json:"admitted"`
	// Warned are those that are admitted with a warning.
	Warned  int `json:"warned"`
	Denied  int `json:"denied"`
	Unknown int `json:"unknown"`
	// PodsDenied are those of the others whose templates make pods that would be
	// denied.
	PodsDenied int `json:"podsDenied"`
	// Audited are those of the admitted that violate a policy which only audits.
	Audited int `json:"audited"`
}

// Denials says in words how many would be denied, or have their pods denied;
// empty: none.
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

// Problem is something that could not be read.
type Problem struct {
	Source string `json:"source,omitempty"`
	// Line is where in the source, from 1; 0: as a whole.
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

// Add adds a result. One of a pod that has an owner joins that of its siblings
// if nothing else tells them apart.
func (r *Report) Add(one Result) {
	r.Summary.count(&one)
	if r.Audit != nil {
		r.Audit.count(&one)
	}
	r.join(one)
}

// join adds a result, or joins it with one that is alike.
func (r *Report) join(one Result) {
	if one.Owner == "" {
		r.Results = append(r.Results, one)
		return
	}
	key := one.likeness()
	if place, known := r.alike[key]; known {
		r.Results[place].Alike = append(append(r.Results[place].Alike, one.Name), one.Alike...)
		return
	}
	if r.alike == nil {
		r.alike = map[string]int{}
	}
	r.alike[key] = len(r.Results)
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

// Finish counts the images, and gathers their vulnerabilities. Call it once all
// results are in.
func (r *Report) Finish() {
	images := r.images()
	r.Summary.Images = len(images)
	r.listVulnerabilities(images)
}

// Outcome is what all of it comes to: Denied if anything is, else Unknown if
// there is anything that can't be told, else the best that is left. Of an audit
// it is Denied if a pod violates any policy.
func (r *Report) Outcome() Verdict {
	if r.Audit != nil {
		return r.auditOutcome()
	}
	switch s := r.Summary; {
	case s.Denied > 0:
		return Denied
	case s.Unknown > 0 || len(r.Problems) > 0 || r.Strict && len(r.Skipped) > 0:
		return Unknown
	case s.Warned > 0:
		return Warned
	default:
		return Admitted
	}
}

func (r *Report) auditOutcome() Verdict {
	if outcome := r.Audit.outcome(); outcome != Admitted || len(r.Problems) == 0 {
		return outcome
	}
	return Unknown
}

// images are the different images, by their references.
func (r *Report) images() map[string]*Image {
	images := map[string]*Image{}
	for i := range r.Results {
		for j := range r.Results[i].Images {
			one := &r.Results[i].Images[j]
			known, ok := images[one.Reference]
			if !ok || known.State == NotAsked || known.Listed == nil && one.Listed != nil {
				images[one.Reference] = one
			}
		}
	}
	return images
}

// objects are the names of the objects that a result is of.
func (r *Result) objects() []string {
	return slices.Concat([]string{r.Name}, r.Alike)
}
