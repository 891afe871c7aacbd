package gate

import (
	"context"
	"slices"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Outcome is what a decision comes to. The zero value is no outcome.
type Outcome string

// The outcomes.
const (
	// Admitted: no policy that denies was violated.
	Admitted Outcome = "Admitted"
	// Denied: HSS's findings, or the lack of them, violate a policy that denies.
	Denied Outcome = "Denied"
	// Unavailable: denied for no other reason than that HSS can't be asked.
	Unavailable Outcome = "Unavailable"
)

// Decision is the answer about one object, with its reasons.
type Decision struct {
	// Kind, Namespace and Name say which object it is about.
	Kind      string
	Namespace string
	Name      string
	Outcome   Outcome
	// Examined is the number of images that were looked at.
	Examined int
	// Policies are the names of the policies that matched, in order.
	Policies []string
	// Unknown are those of Policies for which no scan result was available for an
	// image, whatever they do then.
	Unknown []string
	// Violations are all of them, whatever they lead to.
	Violations []Violation
	// Sightings are of each image by each policy that gives a grace, if the
	// request asks for them.
	Sightings []Sighting
	// Notices are no violations but should be known, such as the age of what
	// was used because HSS can't be asked.
	Notices []string
	// Scans tell, a line each, what was asked of HSS for images that it has no
	// scan of. Whoever asks adds them: the gate asks for nothing.
	Scans []string
	// Unlogged says that whoever asks keeps no log that a message could point to,
	// as at a command line.
	Unlogged bool
}

// Violation is what one policy finds against one use of an image.
type Violation struct {
	Use image.Use
	// Reference is the normalised reference, or the written one in quotes if
	// it is invalid.
	Reference string
	// Image is the parsed reference; zero if it is invalid.
	Image  image.Reference
	Policy string
	// Effect is what the violation does to the object; PodEffect what it would
	// do to a pod, which is stricter if the object is only a template.
	Effect    v1alpha1.Enforcement
	PodEffect v1alpha1.Enforcement
	// Otherwise is what Effect would be if nothing let the image past; empty if
	// nothing does.
	Otherwise v1alpha1.Enforcement
	// Exception is what lets the image past, if Effect is EffectExcepted.
	Exception *policy.Exception
	// Grace is the one that lets the image past if Effect is Warn, or that has
	// ended; nil if it has none.
	Grace *Grace
	// Findings are never empty and all have this effect.
	Findings []policy.Finding
}

// CheckReference is the check of a reference that can't be parsed.
const CheckReference policy.Check = "reference"

// WithEffect returns the violations that have the effect.
func (d *Decision) WithEffect(effect v1alpha1.Enforcement) []Violation {
	var some []Violation
	for _, v := range d.Violations {
		if v.Effect == effect {
			some = append(some, v)
		}
	}
	return some
}

// conclude sets the outcome once all violations are known.
func (d *Decision) conclude() {
	denials := d.WithEffect(v1alpha1.EnforcementDeny)
	if len(denials) == 0 {
		d.Outcome = Admitted
		return
	}
	d.Outcome = Unavailable
	for _, v := range denials {
		if slices.ContainsFunc(v.Findings, func(f policy.Finding) bool { return f.Check != policy.CheckUnavailable || f.Cause == policy.CauseSize }) {
			d.Outcome = Denied
		}
	}
}

// violations groups findings by what they do, and by what lets them past.
func (j *judgement) violations(ctx context.Context, s *subject, p *policy.Policy, findings []policy.Finding) []Violation {
	var groups []Violation
	excuses := j.excuses(ctx, s, p)
	grace := j.grace(s, p, findings, excuses)
	for _, f := range findings {
		onPod, applies := podEffect(p, f)
		if !applies {
			continue
		}
		v := Violation{Use: s.use, Reference: s.display(), Image: s.ref, Policy: p.Name(), Effect: onPod, PodEffect: onPod}
		if j.template && p.Templates() == v1alpha1.TemplateWarn {
			v.Effect = milder(onPod, v1alpha1.EnforcementWarn)
		}
		if e := excuses.forCheck(f.Check); e != nil {
			v.Effect, v.PodEffect, v.Otherwise, v.Exception = EffectExcepted, EffectExcepted, v.Effect, e
		} else {
			f.Message += excuses.without(&s.facts, f.Check)
			v.give(grace)
		}
		i := slices.IndexFunc(groups, v.sameFate)
		if i < 0 {
			i = len(groups)
			groups = append(groups, v)
		}
		groups[i].Findings = append(groups[i].Findings, f)
	}
	return groups
}

func (v *Violation) sameFate(other Violation) bool {
	return v.Effect == other.Effect && v.PodEffect == other.PodEffect && v.Otherwise == other.Otherwise &&
		v.Exception == other.Exception && v.Grace == other.Grace
}

// podEffect is the milder of the policy's enforcement and the finding's action.
func podEffect(p *policy.Policy, f policy.Finding) (effect v1alpha1.Enforcement, applies bool) {
	if f.Action == v1alpha1.ActionAllow {
		return "", false
	}
	return milder(p.Enforcement(), v1alpha1.Enforcement(f.Action)), true
}

// milder returns the milder of two enforcements. What is neither Warn nor
// Audit, even a value that we don't know, is as strict as Deny.
func milder(a, b v1alpha1.Enforcement) v1alpha1.Enforcement {
	for _, e := range []v1alpha1.Enforcement{v1alpha1.EnforcementAudit, v1alpha1.EnforcementWarn} {
		if a == e || b == e {
			return e
		}
	}
	return v1alpha1.EnforcementDeny
}
