// Package gate decides about objects: it matches policies, looks up what HSS knows of their images, evaluates it, and
// combines the findings. The webhook, the audit and the command line all use it, so that they cannot disagree.
package gate

import (
	"context"
	"slices"
	"time"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Gate decides about objects that name images. It is safe for concurrent use.
type Gate struct {
	// Policies returns those in force, in the order of their names.
	Policies func() []*policy.Policy
	// NamespaceLabels returns the labels of a namespace, which must not be modified.
	NamespaceLabels func(ctx context.Context, namespace string) (map[string]string, error)
	Facts           Facts
	Clock           clock.PassiveClock
	// Patient makes a decision wait for all details of scans, not only for those that it depends on: no admission is waiting.
	Patient bool
	// Exceptions returns those of a namespace and of the whole cluster, active or not, in any order, which must not be modified; optional.
	Exceptions func(namespace string) []*policy.Exception
	// Language is that of messages. Policies and Facts have it, too.
	Language language.Language
	// ExemptNamespaces are never evaluated, so that a cluster can always start, and hssgate too.
	ExemptNamespaces []string

	references references
	namespaces selections
}

// Request is an object to decide about.
type Request struct {
	Namespace string
	Name      string
	// Workload holds its images; on an update, only the new ones.
	Workload image.Workload
	// BeforePinning reports that a pod has not passed the webhook that pins images, like the pods of a template: it is evaluated as if it had.
	BeforePinning bool
	// Sightings requests Decision.Sightings and Decision.Scanned, and Facts requests Decision.Facts.
	Sightings bool
	Facts     bool
}

// Decide evaluates every image of the object by every policy that matches it. It returns when all is known or ctx ends.
// Each policy says what happens if HSS has not answered by then.
func (g *Gate) Decide(ctx context.Context, r Request) Decision {
	d := Decision{Kind: r.Workload.Kind, Namespace: r.Namespace, Name: r.Name, Outcome: Admitted, PodOutcome: Admitted, Language: g.Language}
	if r.Facts {
		d.Facts = make([]*policy.Facts, len(r.Workload.Uses))
	}
	policies, err := g.selected(ctx, &r)
	if err != nil {
		d.Notices = append(d.Notices, g.Language.Sprintf(
			"labels of namespace %q cannot be read, so every policy that selects by them applies: %s", r.Namespace, err))
	}
	if len(policies) == 0 {
		return d
	}
	e := g.newEvaluation(r, policies)
	e.lookUp(ctx)
	e.evaluate(ctx)
	e.addAffected(ctx)
	e.addDetails(ctx)
	e.addCVEs(ctx)
	e.report(ctx, &d)
	d.conclude()
	return d
}

// References returns the images that a decision about the object would look up.
func (g *Gate) References(ctx context.Context, r Request) []image.Reference {
	// Without a namespace's labels, more policies match, never fewer.
	policies, _ := g.selected(ctx, &r)
	var refs []image.Reference
	for _, t := range g.newEvaluation(r, policies).targets {
		if t.lookedUp() {
			refs = append(refs, t.ref)
		}
	}
	if len(refs) > MaxImages {
		return nil
	}
	return refs
}

// Denies reports whether any policy in force denies in the namespace: then an object there that cannot be evaluated must be
// denied. An empty namespace is an unknown one.
func (g *Gate) Denies(namespace string) bool {
	return !g.Exempts(namespace) && slices.ContainsFunc(g.Policies(), func(p *policy.Policy) bool {
		return p.Enforcement() == v1alpha1.EnforcementDeny
	})
}

// Exempts reports whether nothing in the namespace is evaluated.
func (g *Gate) Exempts(namespace string) bool {
	return slices.Contains(g.ExemptNamespaces, namespace)
}

// few is the usual number of policies that match.
const few = 16

// selected returns the policies that select an object with images by its labels and those of its namespace. If the
// namespace's labels cannot be read, it also returns those that select by them, and the error.
func (g *Gate) selected(ctx context.Context, r *Request) (selected []*policy.Policy, err error) {
	if len(r.Workload.Uses) == 0 || g.Exempts(r.Namespace) {
		return nil, nil
	}
	policies := g.Policies()
	if slices.ContainsFunc(policies, (*policy.Policy).SelectsNamespaces) {
		var labels map[string]string
		if labels, err = g.NamespaceLabels(ctx, r.Namespace); err == nil {
			policies = g.namespaces.of(r.Namespace, labels, policies)
		}
	}
	selected = make([]*policy.Policy, 0, min(len(policies), few))
	for _, p := range policies {
		if ignored := r.Workload.Template && p.Templates() == v1alpha1.TemplateIgnore; !ignored && p.MatchesPod(r.Workload.Labels) {
			selected = append(selected, p)
		}
	}
	if !slices.ContainsFunc(selected, (*policy.Policy).SelectsNamespaces) {
		err = nil
	}
	return selected, err
}

// evaluation is the evaluation of one object's images.
type evaluation struct {
	gate     *Gate
	request  Request
	policies []*policy.Policy
	targets  []target
	// ofUse holds the place in targets of each use of an image.
	ofUse []int
	now   time.Time
	// exceptions are the namespace's, if any image violates a policy.
	exceptions []*policy.Exception
}

// target is one of the different images of an object.
type target struct {
	*parsed

	facts policy.Facts
	// evaluated are the facts that policies evaluate: with the digest, if the image is still to be pinned.
	evaluated *policy.Facts
	// verdicts are of the policies that match the image, in order. The decision has the names of the first ones.
	verdicts []verdict
	named    int
	// details are those that the decision waits for.
	details policy.Details
	// violations lack their Use.
	violations []Violation
	noticed    bool
}

// verdict is what one policy finds against an image: nothing, if it passes.
type verdict struct {
	policy   *policy.Policy
	findings []policy.Finding
}

// newEvaluation finds the different images of an object and the policies that match each. An invalid reference may be any
// image, so every policy matches it.
func (g *Gate) newEvaluation(r Request, policies []*policy.Policy) *evaluation {
	uses := r.Workload.Uses
	e := &evaluation{
		gate: g, request: r, policies: policies,
		targets: make([]target, 0, min(len(uses), MaxImages)), ofUse: make([]int, len(uses)),
	}
	verdicts := make([]verdict, 0, min(len(uses), MaxImages)*min(len(policies), few)) // of all images
	for i := range uses {
		t := target{parsed: g.references.parse(uses[i].Image)}
		place := e.find(&t)
		if place == len(e.targets) {
			verdicts = t.match(policies, verdicts)
			e.targets = append(e.targets, t)
		}
		e.ofUse[i] = place
	}
	return e
}

// find returns the index of the image, or the number of images if it is another one, as an invalid reference always is.
func (e *evaluation) find(t *target) int {
	for i := range e.targets {
		if known := &e.targets[i]; t.err == nil && known.err == nil && known.ref == t.ref {
			return i
		}
	}
	return len(e.targets)
}

// match appends a verdict of each policy that matches the image.
func (t *target) match(policies []*policy.Policy, verdicts []verdict) []verdict {
	first := len(verdicts)
	for _, p := range policies {
		if t.err != nil || p.MatchesImage(t.repository) {
			verdicts = append(verdicts, verdict{policy: p})
		}
	}
	t.verdicts = slices.Clip(verdicts[first:])
	return verdicts
}

// lookedUp reports whether a decision needs what HSS knows of the image.
func (t *target) lookedUp() bool { return t.err == nil && len(t.verdicts) > 0 }

// unknown reports whether no scan result is available for the image. One of too many violates its policies instead.
func (t *target) unknown() bool {
	return t.err == nil && t.facts.Cause != policy.CauseSize && t.facts.State != policy.StateNotFound && (t.facts.State != policy.StateFound || len(t.facts.Records) == 0)
}

// display returns the image as it is shown: normalised, as a node would pull it, or quoted as written if it is invalid.
func (t *target) display() string {
	if t.err == nil {
		return t.ref.String()
	}
	return quoted(t.written)
}

// evaluate evaluates each image once by each policy that matches it.
func (e *evaluation) evaluate(ctx context.Context) {
	e.now = e.gate.Clock.Now()
	violated := false
	for i := range e.targets {
		t := &e.targets[i]
		e.addKnown(t)
		e.prepare(t)
		for k := range t.verdicts {
			v := &t.verdicts[k]
			if t.err != nil {
				v.findings = []policy.Finding{{Check: CheckReference, Message: e.gate.Language.Error(t.err), Action: v1alpha1.ActionDeny}}
			} else {
				v.findings = v.policy.Evaluate(ctx, t.evaluated, e.now)
			}
			violated = violated || len(v.findings) > 0
		}
	}
	if violated {
		e.setExceptions()
	}
}

// prepare sets what policies evaluate: the facts, or, if the image is still to be pinned, the facts with the digest that HSS scanned.
func (e *evaluation) prepare(t *target) {
	t.evaluated = &t.facts
	before := e.request.Workload.Template || e.request.BeforePinning
	if before && slices.ContainsFunc(t.verdicts, func(v verdict) bool { return v.policy.Pins() }) {
		t.evaluated = t.facts.AsPinned()
	}
}

// namePolicies adds to the decision the names of the policies that match an image.
func (e *evaluation) namePolicies(d *Decision) {
	for _, p := range e.policies {
		matches, unknown := false, false
		for i := range e.targets {
			if t := &e.targets[i]; t.named < len(t.verdicts) && t.verdicts[t.named].policy == p {
				matches, unknown = true, unknown || t.unknown()
				t.named++
			}
		}
		if matches && d.Policies == nil {
			d.Policies = make([]string, 0, few)
		}
		if matches {
			d.Policies = append(d.Policies, p.Name())
		}
		if unknown {
			d.Unknown = append(d.Unknown, p.Name())
		}
	}
}

// report adds to the decision the policies that match, the violations of each use of an image, and what else should be known.
func (e *evaluation) report(ctx context.Context, d *Decision) {
	d.Examined = len(e.ofUse)
	e.namePolicies(d)
	for i := range e.targets {
		t := &e.targets[i]
		for k := range t.verdicts {
			t.violations = append(t.violations, e.violations(ctx, t, &t.verdicts[k])...)
		}
	}
	for i, place := range e.ofUse {
		t, use := &e.targets[place], e.request.Workload.Uses[i]
		for _, v := range t.violations {
			v.Use = use
			d.Violations = append(d.Violations, v)
		}
		if t.facts.Stale && !t.noticed {
			t.noticed = true
			age := max(e.now.Sub(t.facts.AsOf), 0).Round(time.Second)
			d.Notices = append(d.Notices, e.gate.Language.Sprintf("%s: %s was evaluated by a scan result from %s ago, as HSS is unreachable: %s",
				named(e.gate.Language, use), t.display(), age, t.facts.StaleReason))
		}
		if e.request.Sightings {
			d.addSightings(use, t)
			d.addScanned(use, t)
		}
		if e.request.Facts && t.lookedUp() {
			d.Facts[i] = &t.facts
		}
	}
}
