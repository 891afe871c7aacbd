package gate

import (
	"fmt"
	"slices"
	"time"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Histories gives what is known to have run and passed a policy. It isn't to be
// changed.
type Histories interface {
	History(policy string) policy.History
}

// Grace is the time that an image has after what HSS says of it turned bad.
type Grace struct {
	Until time.Time
	// Ended says that the time is over.
	Ended bool
}

// String says until when, and why.
func (g *Grace) String() string {
	if g.Ended {
		return "grace ended at " + written(g.Until)
	}
	return fmt.Sprintf("grace until %s: it ran here and passed before", written(g.Until))
}

// suffix is for the end of a line; empty for nil.
func (g *Grace) suffix() string {
	if g == nil {
		return ""
	}
	return " (" + g.String() + ")"
}

// GraceUse is an image that a grace let past a policy.
type GraceUse struct {
	Reference string
	Policy    string
	Until     time.Time
}

// String is the use in one line.
func (u GraceUse) String() string {
	return fmt.Sprintf("policy %s until %s: %s", u.Policy, written(u.Until), u.Reference)
}

// GraceUses are the images that a grace let past policies, each once for a
// policy, in order.
func (d *Decision) GraceUses() []GraceUse {
	var uses []GraceUse
	for i := range d.Violations {
		v := &d.Violations[i]
		if !v.UnderGrace() {
			continue
		}
		use := GraceUse{v.Reference, v.Policy, v.Grace.Until}
		if !slices.Contains(uses, use) {
			uses = append(uses, use)
		}
	}
	return uses
}

// UnderGrace tells whether the image would be denied, were there no grace.
func (v *Violation) UnderGrace() bool { return v.Grace != nil && !v.Grace.Ended }

// grace returns the one that an image has or had. It has none for anything if
// something denies it that a grace doesn't cover.
func (j *judgement) grace(s *subject, p *policy.Policy, findings []policy.Finding, excuses excuses) *Grace {
	if s.err != nil || j.gate.Histories == nil || p.GracePeriod() == 0 {
		return nil
	}
	denies := func(f policy.Finding) bool {
		effect, applies := podEffect(p, f)
		return applies && effect == v1alpha1.EnforcementDeny && excuses.forCheck(f.Check) == nil
	}
	uncovered := func(f policy.Finding) bool { return denies(f) && !p.GraceCovers(f.Check) }
	if !slices.ContainsFunc(findings, denies) || slices.ContainsFunc(findings, uncovered) {
		return nil
	}
	end, ok := p.GraceEnd(j.gate.Histories.History(p.Name()), &s.facts, j.now)
	if !ok {
		return nil
	}
	return &Grace{Until: end, Ended: !j.now.Before(end)}
}

// give lets a violation that would deny a pod past by a grace, if that has not
// ended.
func (v *Violation) give(g *Grace) {
	if g == nil || v.PodEffect != v1alpha1.EnforcementDeny {
		return
	}
	v.Grace = g
	if !g.Ended {
		v.Otherwise = v.Effect
		v.Effect, v.PodEffect = v1alpha1.EnforcementWarn, v1alpha1.EnforcementWarn
	}
}

// Sighting is what a policy that gives a grace finds of one use of an image.
type Sighting struct {
	Use    image.Use
	Policy string
	// Digests are those of each record.
	Digests []policy.Digests
	// Passed says that nothing was found in completed scans; Bad that what HSS
	// knows of the image is bad. Neither: nobody knows now.
	Passed, Bad bool
	// Covered says, of a bad one, that a grace covers all that was found.
	Covered bool
}

// see notes a sighting. What HSS said too long ago is none, nor is what may be
// otherwise once the vulnerabilities are known one by one.
func (d *Decision) see(s *subject, p *policy.Policy, findings []policy.Finding) {
	if s.err != nil || p.GracePeriod() == 0 || s.facts.Stale || p.NeedsVulnerabilities(findings) && s.facts.Unlisted() != "" {
		return
	}
	one := Sighting{
		Use: s.use, Policy: p.Name(), Digests: s.facts.Digests(),
		Passed: len(findings) == 0 && s.facts.HasResults(), Bad: p.Worsened(&s.facts, findings),
	}
	one.Covered = !slices.ContainsFunc(findings, func(f policy.Finding) bool { return !p.GraceCovers(f.Check) })
	if len(one.Digests) > 0 && (one.Passed || one.Bad) {
		d.Sightings = append(d.Sightings, one)
	}
}
