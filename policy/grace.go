package policy

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The bounds of a grace are those of the schema.
const (
	minGrace = time.Minute
	maxGrace = 90 * day
)

// setGrace sets no grace if s has none or one that can't be read.
func (p *Policy) setGrace(s *v1alpha1.ImageScanPolicySpec, path *field.Path) *field.Error {
	if s.Grace == nil {
		return nil
	}
	period := s.Grace.Period.Duration
	if period < minGrace || period > maxGrace {
		return field.Invalid(path.Child("grace", "period"), period.String(),
			fmt.Sprintf("must be from %s to %s, such as 168h", readable(minGrace), readable(maxGrace)))
	}
	p.grace = period
	p.graceForExpressions = onlyReadResults(s.Require.Expressions)
	return nil
}

// GracePeriod is how long an image that runs and passed is still admitted after
// what HSS says of it turns bad; 0: no time at all.
func (p *Policy) GracePeriod() time.Duration { return p.grace }

// GraceCovers tells whether a grace covers findings of a check: those by which
// an image turns bad that has not changed, malicious files left out.
func (p *Policy) GraceCovers(c Check) bool {
	switch c {
	case CheckSeverityLevel, CheckVulnerabilities, CheckUnsafeSettings, CheckScanStatus, CheckScanAge:
		return true
	case CheckExpression:
		return p.graceForExpressions
	}
	return false
}

// Worsened tells whether findings say that what HSS knows of an image is bad,
// and not only how the image is named or that nobody knows.
func (p *Policy) Worsened(f *Facts, findings []Finding) bool {
	return f.State == StateFound && slices.ContainsFunc(findings, func(one Finding) bool {
		return one.Check == CheckMaliciousFiles || p.GraceCovers(one.Check)
	})
}

// HasResults tells whether there is a completed result for all that the facts
// are about: only then does an image without findings pass by what was found.
func (f *Facts) HasResults() bool {
	if f.State != StateFound || len(f.Records) == 0 {
		return false
	}
	return !slices.ContainsFunc(f.Records, func(r Record) bool { return !hasResult(&r) })
}

func hasResult(r *Record) bool {
	if lacksArchitectures(r) {
		return false
	}
	switch stageOf(decisiveScan(r).Status) {
	case stagePending, stageDone:
		if _, why := completedResults(r); why != "" {
			return false
		}
	case stageUnknown, stageFailed:
		return false
	}
	if r.PinnedArchitecture {
		return true
	}
	return !slices.ContainsFunc(r.Architectures, func(a Architecture) bool {
		return stageOf(a.Scan.Status) != stageDone && len(lastScansOf(r, &a)) == 0
	})
}

// Digests are those of the images that one record stands for.
type Digests struct {
	// Image is what a history knows the image by: the record's digest, or that
	// of the one architecture which the reference names.
	Image string
	// Whole is the record's digest if Image is that of one architecture.
	Whole string
	// Architectures are those of a multi-architecture image.
	Architectures []string
}

// Has tells whether a node that runs the image may report the digest.
func (d *Digests) Has(digest string) bool {
	return digest != "" && (digest == d.Image || slices.Contains(d.Architectures, digest))
}

// Digests returns the digests of each record; none if any record lacks one.
func (f *Facts) Digests() []Digests {
	all := make([]Digests, 0, len(f.Records))
	for i := range f.Records {
		d := f.Records[i].digests()
		if !isDigest(d.Image) {
			return nil
		}
		all = append(all, d)
	}
	return all
}

func (r *Record) digests() Digests {
	if r.PinnedArchitecture && len(r.Architectures) > 0 {
		return Digests{Image: r.Architectures[0].Digest, Whole: r.Digest}
	}
	d := Digests{Image: r.Digest}
	for i := range r.Architectures {
		if a := r.Architectures[i].Digest; a != "" {
			d.Architectures = append(d.Architectures, a)
		}
	}
	return d
}

// GraceEnd returns when the grace of an image ends, which may be in the past; ok
// says that it has or had any. Every record must be of an image that ran and
// passed, and the first end counts.
func (p *Policy) GraceEnd(h History, f *Facts, now time.Time) (end time.Time, ok bool) {
	if p.grace == 0 || len(h) == 0 || f.State != StateFound {
		return time.Time{}, false
	}
	all := f.Digests()
	for i := range all {
		one, known := h.graceEnd(&all[i], p.grace, now)
		if !known {
			return time.Time{}, false
		}
		if i == 0 || one.Before(end) {
			end = one
		}
	}
	return end, len(all) > 0
}
