package report

import (
	"cmp"
	"time"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// State is whether HSS's word on an image could be had.
type State string

// The states.
const (
	// NotAsked: no policy judges the image, so that nobody asked.
	NotAsked State = ""
	// Invalid: the reference is not one.
	Invalid     State = "Invalid"
	Found       State = "Found"
	NotFound    State = "NotFound"
	Unavailable State = "Unavailable"
)

// Image is one place of an object that names an image, and what HSS knows.
type Image struct {
	// Place is the kind of place; Name is that of the container or volume.
	Place image.Place `json:"place,omitempty"`
	Name  string      `json:"name,omitempty"`
	// Reference is the normalised reference, or the written one if it is invalid.
	Reference string `json:"reference"`
	// Line is where in the result's source it stands, from 1; 0: unknown.
	Line  int   `json:"line,omitempty"`
	State State `json:"state,omitempty"`
	// Known is what HSS knows of it, in a few words.
	Known string `json:"known"`
	// Severity and the counts are the worst of its records. A count is nil if
	// HSS sent none.
	Severity        v1alpha1.Severity `json:"severity,omitempty"`
	Vulnerabilities *int              `json:"vulnerabilities,omitempty"`
	MaliciousFiles  *int              `json:"maliciousFiles,omitempty"`
	UnsafeSettings  *int              `json:"unsafeSettings,omitempty"`
	// Listed are the vulnerabilities one by one, if anybody needed to know them;
	// the report has them once for all places of an image.
	Listed *ListedImage `json:"-"`
}

// NewImage tells what HSS knows of an image. Without facts nobody asked.
func NewImage(use image.Use, f *policy.Facts, now time.Time) Image {
	i := Image{Place: use.Place, Name: use.Name, Reference: use.Image}
	ref, err := image.Parse(use.Image)
	if err != nil {
		i.State, i.Known = Invalid, "not an image's name"
		return i
	}
	i.Reference = ref.String()
	if f == nil {
		i.Known = "not asked"
		return i
	}
	i.State, i.Known = stateOf(f.State), Describe(f, now)
	for n := range f.Records {
		i.add(&f.Records[n])
	}
	i.Listed = newListedImage(i.Reference, f)
	return i
}

func stateOf(s policy.State) State {
	switch s {
	case policy.StateFound:
		return Found
	case policy.StateNotFound:
		return NotFound
	default:
		return Unavailable
	}
}

// add takes what is worse in a record, its architectures included.
func (i *Image) add(r *policy.Record) {
	if severityRank(r.Severity) > severityRank(i.Severity) {
		i.Severity = r.Severity
	}
	scans := []*policy.Scan{&r.Scan}
	for n := range r.Architectures {
		scans = append(scans, &r.Architectures[n].Scan)
	}
	for _, s := range scans {
		i.Vulnerabilities = larger(i.Vulnerabilities, s.Vulnerabilities)
		i.MaliciousFiles = larger(i.MaliciousFiles, s.MaliciousFiles)
		i.UnsafeSettings = larger(i.UnsafeSettings, s.UnsafeSettings)
	}
}

func larger(a, b *int) *int {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// severityRank orders severities; what we don't know is the worst.
func severityRank(s v1alpha1.Severity) int {
	switch s {
	case "":
		return 0
	case v1alpha1.SeveritySecurity:
		return 1
	case v1alpha1.SeverityLow:
		return 2
	case v1alpha1.SeverityMedium:
		return 3
	case v1alpha1.SeverityHigh:
		return 4
	default:
		return 5
	}
}

// compareImages orders images, the worst first.
func compareImages(a, b *Image) int {
	return cmp.Or(
		cmp.Compare(number(b.MaliciousFiles), number(a.MaliciousFiles)),
		cmp.Compare(severityRank(b.Severity), severityRank(a.Severity)),
		cmp.Compare(number(b.Vulnerabilities), number(a.Vulnerabilities)),
		cmp.Compare(number(b.UnsafeSettings), number(a.UnsafeSettings)),
		cmp.Compare(a.Reference, b.Reference),
	)
}

func number(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}
