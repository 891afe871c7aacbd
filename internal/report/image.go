package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/ptr"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// State is whether HSS has a result for an image.
type State string

// The states.
const (
	NotLookedUp State = ""        // no policy applies to the image
	Invalid     State = "Invalid" // the reference can't be parsed
	Found       State = "Found"
	NotFound    State = "NotFound"
	Unavailable State = "Unavailable"
)

// Image is one use of an image in an object, and what HSS knows of the image.
type Image struct {
	// Place is the kind of place; Name is that of the container or volume.
	Place image.Place `json:"place,omitempty"`
	Name  string      `json:"name,omitempty"`
	// Reference is the normalised reference, or the written one if it is invalid.
	Reference string `json:"reference"`
	// Line is the line of the use in the result's source, from 1; 0: unknown.
	Line  int   `json:"line,omitempty"`
	State State `json:"state,omitempty"`
	// Known describes in a few words what HSS knows of the image.
	Known string `json:"known"`
	// Scan is the part of that on the scan: its state or its age.
	Scan string `json:"scan,omitempty"`
	// Severity and the counts are the worst of all records. A count is nil if HSS
	// sent none.
	Severity        v1alpha1.Severity `json:"severity,omitempty"`
	Vulnerabilities *int              `json:"vulnerabilities,omitempty"`
	MaliciousFiles  *int              `json:"maliciousFiles,omitempty"`
	UnsafeSettings  *int              `json:"unsafeSettings,omitempty"`
	// Uses is the number of uses of the image in all objects, set for one of them.
	Uses int `json:"-"`
	// Listed holds the single vulnerabilities, if they were looked up. The report
	// lists them once for all uses of the image.
	Listed *ListedImage `json:"-"`
}

// ListedImage is an image with its vulnerabilities.
type ListedImage struct {
	Reference string `json:"reference"`
	// Counted is the number that HSS counts, Listed those that HSS lists, the worst
	// first.
	Counted int                    `json:"counted"`
	Listed  []policy.Vulnerability `json:"listed,omitempty"`
	// Unlisted is the reason why they are not known one by one.
	Unlisted string `json:"unlisted,omitempty"`
}

// NewImage returns a use of an image with what HSS knows of it at a time. Facts are nil if it was not looked up.
func NewImage(use image.Use, f *policy.Facts, now time.Time) Image {
	i := Image{Place: use.Place, Name: use.Name, Reference: use.Image}
	ref, err := image.Parse(use.Image)
	if err != nil {
		i.State, i.Known = Invalid, "not an image reference"
		return i
	}
	i.Reference = ref.String()
	if f == nil {
		i.Known = "not looked up"
		return i
	}
	switch f.State {
	case policy.StateNotFound:
		i.State, i.Known, i.Scan = NotFound, "nothing", "unknown to HSS"
		return i
	case policy.StateFound:
		i.State = Found
	default:
		i.State, i.Known = Unavailable, "HSS is unreachable"
		return i
	}
	var found []policy.Vulnerability
	for n := range f.Records {
		r := &f.Records[n]
		if severityRank(r.Severity) > severityRank(i.Severity) {
			i.Severity = r.Severity
		}
		found = append(found, i.add(&r.Scan)...)
		for a := range r.Architectures {
			found = append(found, i.add(&r.Architectures[a].Scan)...)
		}
	}
	i.Known = i.describe(f.Records, now)
	if unlisted := f.Unlisted(); len(found) > 0 || unlisted != "" {
		slices.SortFunc(found, policy.CompareVulnerabilities)
		found = slices.CompactFunc(found, func(a, b policy.Vulnerability) bool { return policy.CompareVulnerabilities(a, b) == 0 })
		i.Listed = &ListedImage{Reference: i.Reference, Counted: ptr.Deref(i.Vulnerabilities, 0), Listed: found, Unlisted: unlisted}
	}
	return i
}

func (i *Image) add(s *policy.Scan) []policy.Vulnerability {
	i.Vulnerabilities = larger(i.Vulnerabilities, s.Vulnerabilities)
	i.MaliciousFiles = larger(i.MaliciousFiles, s.MaliciousFiles)
	i.UnsafeSettings = larger(i.UnsafeSettings, s.UnsafeSettings)
	return s.Found
}

// String returns the number of vulnerabilities in words.
func (i *ListedImage) String() string {
	text := plural(i.Counted, "vulnerability", "vulnerabilities")
	switch {
	case i.Unlisted != "":
		return text + ", not known one by one: " + i.Unlisted
	case len(i.Listed) != i.Counted:
		return fmt.Sprintf("%s, %d listed", text, len(i.Listed))
	}
	return text
}

func larger(a, b *int) *int {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// severityRank orders severities; an unknown one is the worst.
func severityRank(s v1alpha1.Severity) int {
	known := []v1alpha1.Severity{"", v1alpha1.SeveritySecurity, v1alpha1.SeverityLow, v1alpha1.SeverityMedium, v1alpha1.SeverityHigh}
	if rank := slices.Index(known, s); rank >= 0 {
		return rank
	}
	return len(known)
}

func compareImages(a, b *Image) int {
	return cmp.Or(
		ptr.Deref(b.MaliciousFiles, 0)-ptr.Deref(a.MaliciousFiles, 0),
		severityRank(b.Severity)-severityRank(a.Severity),
		ptr.Deref(b.Vulnerabilities, 0)-ptr.Deref(a.Vulnerabilities, 0),
		ptr.Deref(b.UnsafeSettings, 0)-ptr.Deref(a.UnsafeSettings, 0),
		cmp.Compare(a.Reference, b.Reference),
	)
}

// describe describes records in a few words: the worst that scans found, and the state of
// the first record that has no completed scan, or else of the first. Ages count to now.
func (i *Image) describe(records []policy.Record, now time.Time) string {
	if len(records) == 0 {
		return "nothing"
	}
	incomplete := func(r policy.Record) bool { return r.Scan.Status != v1alpha1.ScanStatusSuccess }
	r := &records[max(0, slices.IndexFunc(records, incomplete))]
	before := ""
	if incomplete(*r) {
		i.Scan = scanState(&r.Scan)
		if r.Scan.FailedCode != "" || r.ScannedAt.IsZero() {
			return i.Scan
		}
		before = i.Scan + " again; last "
	}
	words := []string{"no severity"}
	if i.Severity != "" {
		words[0] = "severity " + string(i.Severity)
	}
	count := func(n *int, one, many string) {
		if ptr.Deref(n, 0) != 0 {
			words = append(words, plural(*n, one, many))
		}
	}
	count(i.Vulnerabilities, "vulnerability", "vulnerabilities")
	count(i.MaliciousFiles, "malicious file", "malicious files")
	count(i.UnsafeSettings, "unsafe setting", "unsafe settings")
	if len(records) > 1 {
		words = append(words, fmt.Sprintf("the worst of %d records", len(records)))
	}
	if !r.ScannedAt.IsZero() {
		ages := "scanned " + ago(now.Sub(r.ScannedAt))
		if r.UpdatedAt.After(r.ScannedAt) {
			ages += ", pushed " + ago(now.Sub(r.UpdatedAt))
		}
		words, i.Scan = append(words, ages), cmp.Or(i.Scan, ages)
	}
	return before + strings.Join(words, ", ")
}

func scanState(s *policy.Scan) string {
	words := map[v1alpha1.ScanStatus]string{
		v1alpha1.ScanStatusUnscan: "never scanned", v1alpha1.ScanStatusScanning: "being scanned",
		v1alpha1.ScanStatusWaitingForScan: "waiting for a scan",
	}
	if s.FailedCode != "" {
		return "scan " + string(s.Status) + ": " + s.FailedCode
	}
	return cmp.Or(words[s.Status], "scan "+string(s.Status))
}

// ago describes an age by HSS's clock, which may be fast.
func ago(d time.Duration) string {
	if d < 0 {
		return duration.ShortHumanDuration(d.Abs()) + " from now"
	}
	return duration.ShortHumanDuration(d) + " ago"
}
