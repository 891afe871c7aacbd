package policy

import (
	"slices"
	"time"

	celast "github.com/google/cel-go/common/ast"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// GracePeriod returns how long an image that ran and passed is still admitted after
// its scan result turned bad; 0: there is no grace.
func (p *Policy) GracePeriod() time.Duration { return p.grace }

// GraceCovers reports whether a grace covers findings of a check: those by which an
// unchanged image turns bad, except malicious files.
func (p *Policy) GraceCovers(c Check) bool {
	switch c {
	case CheckSeverityLevel, CheckVulnerabilities, CheckUnsafeSettings, CheckScanStatus, CheckScanAge:
		return true
	case CheckExpression:
		return p.graceForExpressions
	}
	return false
}

// Worsened reports whether findings are about a bad scan result, and not only about
// the reference or a missing result.
func (p *Policy) Worsened(f *Facts, findings []Finding) bool {
	return f.State == StateFound && slices.ContainsFunc(findings, func(one Finding) bool {
		return one.Check == CheckMaliciousFiles || p.GraceCovers(one.Check)
	})
}

// HasResults reports whether every record has a completed result: only then an
// image without findings passes by what was found.
func (f *Facts) HasResults() bool {
	if f.State != StateFound || len(f.Records) == 0 {
		return false
	}
	return !slices.ContainsFunc(f.Records, func(r Record) bool { return unscanned(&r) != "" || r.awaitsArchitecture() })
}

// awaitsArchitecture reports whether the scan of any architecture is pending, with
// no earlier scan of it known.
func (r *Record) awaitsArchitecture() bool {
	return slices.ContainsFunc(r.Architectures, func(a Architecture) bool {
		return stageOf(a.Scan.Status) == stagePending && len(lastScansOf(r, &a)) == 0
	})
}

// Digests are those of the images that one record stands for.
type Digests struct {
	// Image is the record's digest, or that of the one architecture which the
	// reference names.
	Image string
	// Whole is the record's digest if Image is that of one architecture.
	Whole string
	// Architectures are those of a multi-architecture image.
	Architectures []string
}

// Has reports whether a node that runs the image may report the digest.
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

// Grace returns the exception that gives an image grace, and when that ends,
// which may be in the past. Every record must be covered by its digest, also
// where the reference has only a tag; of several ends the first counts.
func (p *Policy) Grace(exceptions []*Exception, f *Facts) (first *Exception, end time.Time) {
	if p.grace == 0 || f.State != StateFound {
		return nil, time.Time{}
	}
	for _, d := range f.Digests() {
		e := p.longestGrace(exceptions, d)
		if e == nil {
			return nil, time.Time{}
		}
		if until := p.GraceEnd(e); first == nil || until.Before(end) {
			first, end = e, until
		}
	}
	return first, end
}

// longestGrace returns the exception that gives a record the longest grace, or
// nil. One architecture of an image that passed whole has passed, too.
func (p *Policy) longestGrace(exceptions []*Exception, d Digests) (longest *Exception) {
	for _, e := range exceptions {
		covers := e.valid && e.grace && !e.NamesVulnerabilities() && slices.Contains(e.policies, p.name) &&
			(slices.Contains(e.digests, d.Image) || d.Whole != "" && slices.Contains(e.digests, d.Whole))
		if covers && (longest == nil || p.GraceEnd(e).After(p.GraceEnd(longest))) {
			longest = e
		}
	}
	return longest
}

// GraceEnd returns when a grace ends: as its exception says, and at the latest
// the policy's period after its creation.
func (p *Policy) GraceEnd(e *Exception) time.Time {
	if last := e.created.Add(p.grace); !e.created.IsZero() && last.Before(e.until) {
		return last
	}
	return e.until
}

// onlyReadResults reports whether all expressions read nothing of image but what a
// scan found, except malicious files: then an image that fails them has turned bad,
// and is not another one or named differently.
func onlyReadResults(expressions []v1alpha1.Expression) bool {
	env, err := environment()
	if err != nil {
		return false
	}
	for _, e := range expressions {
		ast, issues := env.Compile(e.Expression)
		if issues.Err() != nil || !onlyReadsResults(celast.NavigateAST(ast.NativeRep())) {
			return false
		}
	}
	return true
}

// onlyReadsResults reports whether image is mentioned, and only before the name of a
// result.
func onlyReadsResults(expression celast.NavigableExpr) bool {
	mentions := celast.MatchDescendants(expression, func(e celast.NavigableExpr) bool {
		return e.Kind() == celast.IdentKind && e.AsIdent() == "image"
	})
	return len(mentions) > 0 && !slices.ContainsFunc(mentions, func(e celast.NavigableExpr) bool {
		parent, ok := e.Parent()
		return !ok || parent.Kind() != celast.SelectKind || !isResult(parent.AsSelect().FieldName())
	})
}

func isResult(name string) bool {
	switch name {
	case "severityLevel", "vulnerabilities", "unsafeSettings", "scanStatus", "scannedAt":
		return true
	}
	return false
}
