package gate

import (
	"context"
	"slices"
	"time"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Outcome is the result of a decision. The zero value is none.
type Outcome string

// The outcomes.
const (
	// Admitted: no policy that denies is violated.
	Admitted Outcome = "Admitted"
	// Denied: the object violates a policy that denies.
	Denied Outcome = "Denied"
	// Unavailable: denied only because no scan result is available from HSS.
	Unavailable Outcome = "Unavailable"
)

// Decision is the decision about one object, with its reasons.
type Decision struct {
	// Kind, Namespace and Name identify the object.
	Kind      string
	Namespace string
	Name      string
	Outcome   Outcome
	// PodOutcome is that of the object's pods: stricter than Outcome if the object is a template for which a policy only warns.
	PodOutcome Outcome
	// Examined is the number of uses of images.
	Examined int
	// Policies are the names of the policies that match an image, in order.
	Policies []string
	// Unknown are those of Policies for which no scan result of an image was available, whatever their effect.
	Unknown []string
	// Violations are all of them, whatever their effect.
	Violations []Violation
	// Sightings are of each image by each policy that gives a grace, if the request asks for them.
	Sightings []Sighting
	// Scanned are what HSS scanned under the tags of images, if the request asks for sightings.
	Scanned []Scanned
	// Facts are what is known of the image of each use, if the request asks for them; nil for one that was not looked up.
	Facts []*policy.Facts
	// Notices should be known although they violate nothing, such as the age of a result that could not be refreshed.
	Notices []string
	// Scans are notes, one line each, on scans that the front requested.
	Scans []string
	// Language is that of the messages.
	Language language.Language
	// Unlogged reports that there is no log that a message could refer to, as at a command line.
	Unlogged bool
}

// Violation is what one policy finds against one use of an image.
type Violation struct {
	Use image.Use
	// Reference is the normalised reference, or the written one in quotes if it is invalid.
	Reference string
	// Image is the parsed reference; zero if it is invalid.
	Image image.Reference
	// Facts are what is known of the image.
	Facts  *policy.Facts
	Policy string
	// Effect is that on the object, PodEffect that on a pod, which is stricter if the object is only a template.
	Effect    v1alpha1.Enforcement
	PodEffect v1alpha1.Enforcement
	// Otherwise is what Effect would be without the exception or grace; empty without one.
	Otherwise v1alpha1.Enforcement
	// Exception admits the image, if Effect is EffectExcepted, or is the grace that makes it Warn.
	Exception *policy.Exception
	// GraceEnd is when the image's grace ends, or ended; zero if it has none.
	GraceEnd time.Time
	// Findings are never empty and all have this effect.
	Findings []policy.Finding
}

// CheckReference is the check of a reference that is invalid.
const CheckReference policy.Check = "reference"

// WithEffect returns the violations that have the effect.
func (d *Decision) WithEffect(effect v1alpha1.Enforcement) []Violation {
	return slices.DeleteFunc(slices.Clone(d.Violations), func(v Violation) bool { return v.Effect != effect })
}

// conclude sets the outcomes once all violations are known.
func (d *Decision) conclude() {
	hasResult := func(f policy.Finding) bool { return f.Check != policy.CheckUnavailable || f.Cause == policy.CauseSize }
	for i := range d.Violations {
		v, outcome := &d.Violations[i], Unavailable
		if slices.ContainsFunc(v.Findings, hasResult) {
			outcome = Denied
		}
		d.Outcome.deny(v.Effect, outcome)
		d.PodOutcome.deny(v.PodEffect, outcome)
	}
}

// deny sets an outcome by a violation that has this effect and would deny with that outcome.
func (o *Outcome) deny(effect v1alpha1.Enforcement, with Outcome) {
	if effect == v1alpha1.EnforcementDeny && *o != Denied {
		*o = with
	}
}

// Unscanned returns the images, each once, for which the object is denied or warned because HSS does not know them or has no completed scan.
func (d *Decision) Unscanned() []image.Reference {
	var images []image.Reference
	lacksScan := func(f policy.Finding) bool {
		return f.Check == policy.CheckNotFound || f.Check == policy.CheckNotScanned || f.Check == policy.CheckScanStatus
	}
	for i := range d.Violations {
		v := &d.Violations[i]
		matters := v.Effect == v1alpha1.EnforcementDeny || v.Effect == v1alpha1.EnforcementWarn
		if matters && slices.ContainsFunc(v.Findings, lacksScan) && v.Image != (image.Reference{}) && !slices.Contains(images, v.Image) {
			images = append(images, v.Image)
		}
	}
	return images
}

// violations groups the findings of a verdict by their effect. A grace admits those that would deny a pod, if it covers all
// of them and has not ended.
func (e *evaluation) violations(ctx context.Context, t *target, verdict *verdict) (groups []Violation) {
	if len(verdict.findings) == 0 {
		return nil
	}
	p := verdict.policy
	excuses := e.excuses(ctx, t, p)
	for _, f := range verdict.findings {
		if f.Action == v1alpha1.ActionAllow {
			continue
		}
		effect := milder(p.Enforcement(), v1alpha1.Enforcement(f.Action))
		v := Violation{Reference: t.display(), Image: t.ref, Facts: &t.facts, Policy: p.Name(), Effect: effect, PodEffect: effect}
		if e.onlyWarns(p) {
			v.Effect = milder(effect, v1alpha1.EnforcementWarn)
		}
		if exception := excuses.forCheck(f.Check); exception != nil {
			v.Effect, v.PodEffect, v.Otherwise, v.Exception = EffectExcepted, EffectExcepted, v.Effect, exception
		} else {
			f.Message += excuses.why(e.gate.Language, t, f)
		}
		i := slices.IndexFunc(groups, v.sameEffect)
		if i < 0 {
			i = len(groups)
			groups = append(groups, v)
		}
		groups[i].Findings = append(groups[i].Findings, f)
	}
	for i := range groups {
		if v := &groups[i]; v.PodEffect == v1alpha1.EnforcementDeny && !slices.ContainsFunc(v.Findings, beyondGrace) {
			grace, end := p.Grace(e.exceptions, &t.facts)
			v.give(grace, end, e.now)
		}
	}
	return groups
}

func (v *Violation) sameEffect(other Violation) bool {
	return v.Effect == other.Effect && v.PodEffect == other.PodEffect && v.Otherwise == other.Otherwise && v.Exception == other.Exception
}

// onlyWarns reports whether the object is a template for which a policy only warns.
func (e *evaluation) onlyWarns(p *policy.Policy) bool {
	return e.request.Workload.Template && p.Templates() == v1alpha1.TemplateWarn
}

// milder returns the milder of two enforcements. An unknown value is as strict as Deny.
func milder(a, b v1alpha1.Enforcement) v1alpha1.Enforcement {
	for _, e := range []v1alpha1.Enforcement{v1alpha1.EnforcementAudit, v1alpha1.EnforcementWarn} {
		if a == e || b == e {
			return e
		}
	}
	return v1alpha1.EnforcementDeny
}
