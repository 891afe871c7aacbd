package gate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// EffectExcepted is the effect of a violation that an exception admits: none.
const EffectExcepted v1alpha1.Enforcement = "Excepted"

// maxShownReason limits a reason in a warning, of which the API server sends few characters.
const maxShownReason = 160

// ExceptionUse is an exception that admitted an object in spite of a policy.
type ExceptionUse struct {
	Exception *policy.Exception
	Policy    string
}

// String returns the use in one line, with the whole reason.
func (u ExceptionUse) String() string {
	e := u.Exception
	name := e.Namespace() + "/" + e.Name()
	if e.Namespace() == "" {
		name = e.Kind() + " " + e.Name()
	}
	return fmt.Sprintf("%s: policy %s until %s: %s", name, u.Policy, formatTime(e.Until()), e.Reason())
}

// ExceptionUses returns the exceptions that admit the object, each once for a policy, in order.
func (d *Decision) ExceptionUses() []ExceptionUse {
	var uses []ExceptionUse
	for _, v := range d.Violations {
		use := ExceptionUse{v.Exception, v.Policy}
		if v.Exception != nil && !slices.Contains(uses, use) {
			uses = append(uses, use)
		}
	}
	return uses
}

// setExceptions finds those that count in the object's namespace, the one that ends last first; of the same end and name, that of
// the namespace. Most objects need none.
func (e *evaluation) setExceptions() {
	if e.gate.Exceptions == nil {
		return
	}
	elsewhere := func(x *policy.Exception) bool { return !x.CountsIn(e.request.Namespace) }
	e.exceptions = slices.DeleteFunc(slices.Clone(e.gate.Exceptions(e.request.Namespace)), elsewhere)
	slices.SortFunc(e.exceptions, func(a, b *policy.Exception) int {
		return cmp.Or(b.Until().Compare(a.Until()), strings.Compare(a.Name(), b.Name()), strings.Compare(b.Kind(), a.Kind()))
	})
}

// covering returns the active exceptions for an image and a policy. There are none for an invalid reference, which may be any image.
func (e *evaluation) covering(t *target, p *policy.Policy) []*policy.Exception {
	if t.err != nil || !p.AllowsExceptions() {
		return nil
	}
	img := t.ref
	img.Digest = cmp.Or(t.ref.Digest, t.evaluated.Image.Digest)
	return slices.DeleteFunc(slices.Clone(e.exceptions), func(x *policy.Exception) bool { return !x.Active(e.now) || !x.Covers(p.Name(), &img) })
}

// excuse is an exception for one image and one policy, with the checks that it excuses.
type excuse struct {
	exception *policy.Exception
	excuses   func(policy.Check) bool
}

type excuses []excuse

func (e *evaluation) excuses(ctx context.Context, t *target, p *policy.Policy) (all excuses) {
	for _, x := range e.covering(t, p) {
		all = append(all, excuse{x, x.Excuses(ctx, p, t.evaluated, e.now)})
	}
	return all
}

// forCheck returns the first exception that excuses a check, or nil.
func (all excuses) forCheck(c policy.Check) *policy.Exception {
	for _, one := range all {
		if one.excuses(c) {
			return one.exception
		}
	}
	return nil
}

// why returns why no exception excuses a finding although one names vulnerabilities that may explain it.
func (all excuses) why(l language.Language, t *target, f policy.Finding) string {
	i := slices.IndexFunc(all, func(one excuse) bool { return one.exception.NamesVulnerabilities() })
	reason := t.facts.Unlisted()
	if i < 0 || reason == "" || !CountsVulnerabilities(f.Check) || f.Check == policy.CheckForbidden && !f.Unsure {
		return ""
	}
	return l.Sprintf(" (%s %s does not apply: the vulnerabilities are not known one by one: %s)",
		all[i].exception.Kind(), all[i].exception.Name(), reason)
}

func (e *entry) exceptionLine(l language.Language) string {
	reason := []rune(e.Exception.Reason())
	if len(reason) > maxShownReason {
		reason = append(reason[:maxShownReason-1], '…')
	}
	return l.Sprintf("allowed until %s by %s %s (%s): %s",
		formatTime(e.Exception.Until()), e.Exception.Kind(), e.Exception.Name(), string(reason), e.String(l))
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// UnderGrace reports whether the image would be denied without its grace.
func (v *Violation) UnderGrace() bool { return v.Exception != nil && v.Exception.IsGrace() }

// GraceNote returns until when the image has grace, or when it ended; empty if it has none.
func (v *Violation) GraceNote(l language.Language) string {
	switch {
	case v.GraceEnd.IsZero():
		return ""
	case v.UnderGrace():
		return l.Sprintf("grace until %s: it ran here and passed before", formatTime(v.GraceEnd))
	}
	return l.Sprintf("grace ended at %s", formatTime(v.GraceEnd))
}

// beyondGrace reports whether no grace covers a finding.
func beyondGrace(f policy.Finding) bool { return !policy.GraceCovers(f.Check) }

// give admits a violation by a grace, if there is one that has not ended.
func (v *Violation) give(grace *policy.Exception, end, now time.Time) {
	v.GraceEnd = end
	if now.Before(end) {
		v.Exception, v.Otherwise = grace, v.Effect
		v.Effect, v.PodEffect = v1alpha1.EnforcementWarn, v1alpha1.EnforcementWarn
	}
}

// Sighting is what a policy that gives a grace finds of one use of an image.
type Sighting struct {
	Use    image.Use
	Policy string
	// Digests are those of each record.
	Digests []policy.Digests
	// Passed: nothing was found in completed scans. Bad: what HSS knows of the image is bad. Neither: it is unknown.
	Passed, Bad bool
	// Covered reports, of a bad one, whether a grace covers all that was found.
	Covered bool
}

// addSightings adds what the policies find of a use of an image, unless the result is stale or could change once the
// vulnerabilities are known one by one, or the secrets.
func (d *Decision) addSightings(use image.Use, t *target) {
	digests := t.facts.Digests()
	if t.err != nil || t.facts.Stale || len(digests) == 0 {
		return
	}
	for _, v := range t.verdicts {
		p := v.policy
		if p.GracePeriod() == 0 || p.NeedsVulnerabilities(v.findings) && t.facts.Unlisted() != "" || p.NeedsSecrets() && t.facts.LacksSecrets() {
			continue
		}
		one := Sighting{
			Use: use, Policy: p.Name(), Digests: digests, Covered: !slices.ContainsFunc(v.findings, beyondGrace),
			Passed: len(v.findings) == 0 && t.facts.HasResults(), Bad: t.facts.Worsened(v.findings),
		}
		if one.Passed || one.Bad {
			d.Sightings = append(d.Sightings, one)
		}
	}
}

// Scanned is what HSS scanned under the tag of one use of an image.
type Scanned struct {
	Use       image.Use
	Reference string
	// Policies are the names of those that evaluate the image.
	Policies []string
	// Digests are those of each record.
	Digests []policy.Digests
}

// addScanned adds what HSS scanned under the tag of an image, if that is known, and not only from before.
func (d *Decision) addScanned(use image.Use, t *target) {
	digests := t.facts.Digests()
	if t.err != nil || t.ref.Digest != "" || t.facts.State != policy.StateFound || t.facts.Stale || len(digests) == 0 {
		return
	}
	one := Scanned{Use: use, Reference: t.display(), Digests: digests}
	for _, v := range t.verdicts {
		one.Policies = append(one.Policies, v.policy.Name())
	}
	d.Scanned = append(d.Scanned, one)
}
