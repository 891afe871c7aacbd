package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy/glob"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The longest reason and the longest period of a grace are those of the schema.
const (
	maxReasonLength = 1024
	maxGrace        = 90 * 24 * time.Hour
)

// Exception is a compiled ImageScanException or ClusterImageScanException. It is
// immutable and safe for concurrent use. An invalid one admits nothing.
type Exception struct {
	namespace, name string
	clusterWide     bool
	globs           glob.Set
	digests         []string
	policies        []string
	vulnerabilities []string
	reason          string
	created, until  time.Time
	valid           bool
	// grace reports whether hssgate wrote the exception itself.
	grace bool
}

// CompileException prepares e, which ends maxLifetime after its creation at the
// latest. The exception is never nil; if it is invalid, every problem is returned
// with its field.
func CompileException(e *v1alpha1.ImageScanException, maxLifetime time.Duration) (*Exception, field.ErrorList) {
	compiled := &Exception{
		namespace: e.Namespace, name: e.Name, clusterWide: e.ClusterWide(),
		policies: slices.Clone(e.Spec.Policies), vulnerabilities: slices.Clone(e.Spec.Vulnerabilities),
		reason: clip(e.Spec.Reason, maxReasonLength), created: e.CreationTimestamp.Time, until: endOf(e, maxLifetime),
	}
	_, compiled.grace = e.Labels[v1alpha1.GraceLabel]
	spec := field.NewPath("spec")
	var errs field.ErrorList
	compiled.globs = compileGlobs(&errs, e.Spec.Images, spec.Child("images"))
	compiled.digests = slices.DeleteFunc(slices.Clone(e.Spec.Images), func(pattern string) bool { return !namesDigest(pattern) })
	if e.Spec.Reason == "" {
		errs = append(errs, field.Required(spec.Child("reason"), "must say why"))
	}
	if e.Spec.ExpiresAt.IsZero() {
		errs = append(errs, field.Required(spec.Child("expiresAt"), "an exception must end"))
	}
	if compiled.grace && compiled.clusterWide {
		path := field.NewPath("metadata", "labels").Key(v1alpha1.GraceLabel)
		errs = append(errs, field.Forbidden(path, "a grace is for one namespace, and only hssgate writes it: leave the label out"))
	}
	compiled.valid = len(errs) == 0
	return compiled, errs
}

// endOf returns when e ends. Without a time of creation, no API server has seen e,
// and its own end counts.
func endOf(e *v1alpha1.ImageScanException, maxLifetime time.Duration) time.Time {
	end := e.Spec.ExpiresAt.Time
	if last := e.CreationTimestamp.Add(longest(e, maxLifetime)); !e.CreationTimestamp.IsZero() && last.Before(end) {
		return last
	}
	return end
}

// longest returns how long e may last. A grace is limited by its policy's period
// instead of the configuration: see Policy.GraceEnd.
func longest(e *v1alpha1.ImageScanException, maxLifetime time.Duration) time.Duration {
	if _, ok := e.Labels[v1alpha1.GraceLabel]; ok {
		return maxGrace
	}
	return maxLifetime
}

// namesDigest reports whether a pattern is a digest. A glob cannot begin like one: its
// host is followed by a slash, and a port is a number.
func namesDigest(pattern string) bool { return strings.HasPrefix(pattern, "sha256:") }

// Namespace returns the only namespace in which the exception counts; empty if it
// counts in all. See CountsIn.
func (e *Exception) Namespace() string { return e.namespace }

// Name returns the exception's name, unique in its namespace.
func (e *Exception) Name() string { return e.name }

// CountsIn reports whether the exception counts in a namespace.
func (e *Exception) CountsIn(namespace string) bool {
	return e.clusterWide || e.namespace == namespace
}

// Kind returns ImageScanException or ClusterImageScanException.
func (e *Exception) Kind() string {
	if e.clusterWide {
		return v1alpha1.ClusterImageScanExceptionKind
	}
	return "ImageScanException"
}

// Reason returns the reason in one line of printable text.
func (e *Exception) Reason() string { return e.reason }

// Until returns when the exception ends.
func (e *Exception) Until() time.Time { return e.until }

// NamesVulnerabilities reports whether the exception is only for some
// vulnerabilities.
func (e *Exception) NamesVulnerabilities() bool { return len(e.vulnerabilities) > 0 }

// NeedsVulnerabilities reports whether findings of p that it excuses could change once
// the vulnerabilities of the image are known one by one.
func (e *Exception) NeedsVulnerabilities(ctx context.Context, p *Policy, f *Facts, findings []Finding, now time.Time) bool {
	if len(e.vulnerabilities) == 0 {
		return false
	}
	others := func(one Finding) bool {
		return one.Check == CheckVulnerabilities || one.Check == CheckSeverityLevel || one.Check == CheckExpression
	}
	return slices.ContainsFunc(findings, others) || p.NeedsVulnerabilities(p.Evaluate(ctx, f.without(e.vulnerabilities), now))
}

// IsGrace reports whether the exception is a grace, which hssgate writes itself. It
// admits an image only by Policy.Grace.
func (e *Exception) IsGrace() bool { return e.grace }

// Active reports whether the exception admits anything at the time now.
func (e *Exception) Active(now time.Time) bool { return e.valid && now.Before(e.until) }

// Covers reports whether the exception, while it is active, is about a policy and
// an image. Its digests cover only a reference that names one of them. A grace
// covers nothing here: see Policy.Grace.
func (e *Exception) Covers(policy string, i *Image) bool {
	if !e.valid || e.grace || !slices.Contains(e.policies, policy) {
		return false
	}
	return i.Digest != "" && slices.Contains(e.digests, i.Digest) || e.globs.Match(i.Repository())
}

// Excuses returns which checks of p the exception excuses. One for vulnerabilities
// excuses a check only if it finds nothing without these.
func (e *Exception) Excuses(ctx context.Context, p *Policy, f *Facts, now time.Time) func(Check) bool {
	if len(e.vulnerabilities) == 0 {
		return func(Check) bool { return true }
	}
	left := p.Evaluate(ctx, f.without(e.vulnerabilities), now)
	return func(c Check) bool {
		return !slices.ContainsFunc(left, func(one Finding) bool { return one.Check == c })
	}
}

// ValidateException returns every problem of e at the time now with its field: what
// makes it invalid, an end more than maxLifetime after its creation, and, of a new
// one, an end in the past.
func ValidateException(e *v1alpha1.ImageScanException, isNew bool, now time.Time, maxLifetime time.Duration) field.ErrorList {
	_, errs := CompileException(e, maxLifetime)
	maxLifetime = longest(e, maxLifetime)
	path, end, created := field.NewPath("spec", "expiresAt"), e.Spec.ExpiresAt.Time, e.CreationTimestamp.Time
	if isNew || created.IsZero() {
		created = now
	}
	switch last := created.Add(maxLifetime); {
	case end.IsZero():
	case isNew && !end.After(now):
		errs = append(errs, field.Invalid(path, formatTime(end), "is past: it is now "+formatTime(now)))
	case end.After(last):
		errs = append(errs, field.Invalid(path, formatTime(end), fmt.Sprintf(
			"must be %s at the latest, %s after its creation: to prolong an exception, grant a new one", formatTime(last), readable(language.English, maxLifetime))))
	}
	return errs
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// GracePeriod returns how long an image that ran and passed is still admitted after
// its scan result turned bad; 0: there is no grace.
func (p *Policy) GracePeriod() time.Duration { return p.grace }

// GraceCovers reports whether a grace covers findings of a check: those by which an
// unchanged image turns bad, except malicious files, and forbidden vulnerabilities: they
// are named because no image may run with them, not even one that ran before.
func GraceCovers(c Check) bool {
	switch c {
	case CheckSeverityLevel, CheckVulnerabilities, CheckUnsafeSettings, CheckSecrets, CheckScanStatus, CheckScanAge:
		return true
	}
	return false
}

// Worsened reports whether findings are about a bad scan result, and not only about
// the reference or a missing result.
func (f *Facts) Worsened(findings []Finding) bool {
	return f.State == StateFound && slices.ContainsFunc(findings, func(one Finding) bool {
		return one.Check == CheckMaliciousFiles || one.Check == CheckForbidden || GraceCovers(one.Check)
	})
}

// HasResults reports whether every record has a completed result: only then an
// image without findings passes by what was found.
func (f *Facts) HasResults() bool {
	lacksResult := func(r Record) bool { return unscanned(language.English, &r) != "" }
	return f.State == StateFound && len(f.Records) > 0 && !slices.ContainsFunc(f.Records, lacksResult)
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
		if !image.IsDigest(d.Image) {
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
