package gate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// maxParallelLookups bounds what one object asks at once; the inventory has a
// bound of its own for all of them together.
const maxParallelLookups = 16

// Policies gives the policies in force. The slice is shared: it isn't changed.
type Policies interface {
	Policies() []*policy.Policy
}

// Namespaces gives a namespace's labels.
type Namespaces interface {
	NamespaceLabels(ctx context.Context, name string) (map[string]string, error)
}

// Facts gives what HSS knows of an image, by the time that ctx ends.
type Facts interface {
	Facts(ctx context.Context, ref image.Reference) policy.Facts
}

// Gate decides about objects that name images. It is safe for concurrent use.
// All of its fields but ExemptNamespaces are required.
type Gate struct {
	Policies   Policies
	Namespaces Namespaces
	Facts      Facts
	Clock      clock.PassiveClock
	// ExemptNamespaces are never judged, whatever the policies say: a cluster
	// must be able to start, and hssgate too. No one can choose a namespace's
	// name who may not create pods in it.
	ExemptNamespaces []string
}

// Request is an object to decide about.
type Request struct {
	// Namespace and Name say which object it is.
	Namespace string
	Name      string
	// Workload holds its images; on an update, only the new ones.
	Workload image.Workload
}

// Decide judges every image of the object by every policy that matches it. It
// returns when all is known or ctx ends; what HSS did not answer by then is
// unavailable, and each policy says what follows.
func (g *Gate) Decide(ctx context.Context, r Request) Decision {
	d := Decision{Kind: r.Workload.Kind, Namespace: r.Namespace, Name: r.Name}
	g.examine(ctx, r, &d)
	d.conclude()
	return d
}

func (g *Gate) examine(ctx context.Context, r Request, d *Decision) {
	if len(r.Workload.Uses) == 0 || g.exempts(r.Namespace) {
		return
	}
	policies, err := g.matching(ctx, r)
	if err != nil {
		d.Notices = append(d.Notices, err.Error())
	}
	if len(policies) == 0 {
		return
	}
	subjects := parse(r.Workload.Uses)
	g.lookUp(ctx, subjects, policies)
	d.Examined = len(subjects)
	for _, s := range subjects {
		g.judge(ctx, s, policies, r.Workload.Template, d)
	}
}

// matching returns the policies that match the object. If the namespace's
// labels can't be read, a policy that selects by them is taken to match: not
// knowing must not be a way past it.
func (g *Gate) matching(ctx context.Context, r Request) ([]*policy.Policy, error) {
	var labels map[string]string
	var labelsErr error
	var asked bool
	var matching []*policy.Policy
	for _, p := range g.Policies.Policies() {
		if r.Workload.Template && p.Templates() == v1alpha1.TemplateIgnore || !p.MatchesPod(r.Workload.Labels) {
			continue
		}
		if p.SelectsNamespaces() {
			if !asked {
				labels, labelsErr = g.Namespaces.NamespaceLabels(ctx, r.Namespace)
				asked = true
			}
			if labelsErr == nil && !p.MatchesNamespace(labels) {
				continue
			}
		}
		matching = append(matching, p)
	}
	if labelsErr != nil {
		labelsErr = fmt.Errorf("labels of namespace %q cannot be read, so every policy that selects by them applies: %w", r.Namespace, labelsErr)
	}
	return matching, labelsErr
}

// subject is one image of the object on its way to a verdict.
type subject struct {
	use   image.Use
	ref   image.Reference
	err   error
	facts policy.Facts
}

func parse(uses []image.Use) []*subject {
	subjects := make([]*subject, len(uses))
	for i, use := range uses {
		ref, err := image.Parse(use.Image)
		subjects[i] = &subject{use: use, ref: ref, err: err}
	}
	return subjects
}

func (s *subject) matches(p *policy.Policy) bool {
	return s.err != nil || p.MatchesImage(s.ref.Repository())
}

// lookUp asks for the facts of every image that a policy matches, each once,
// side by side.
func (g *Gate) lookUp(ctx context.Context, subjects []*subject, policies []*policy.Policy) {
	byReference := make(map[image.Reference][]*subject, len(subjects))
	for _, s := range subjects {
		if s.err == nil && matchesAny(s, policies) {
			byReference[s.ref] = append(byReference[s.ref], s)
		}
	}
	if len(byReference) == 1 {
		for ref, same := range byReference {
			g.ask(ctx, ref, same)
		}
		return
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxParallelLookups)
	for ref, same := range byReference {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			g.ask(ctx, ref, same)
		})
	}
	wg.Wait()
}

func (g *Gate) ask(ctx context.Context, ref image.Reference, same []*subject) {
	facts := g.facts(ctx, ref)
	for _, s := range same {
		s.facts = facts
	}
}

// facts turns a panic into facts that nobody can be admitted by: in a goroutine
// of its own it would end the process.
func (g *Gate) facts(ctx context.Context, ref image.Reference) (facts policy.Facts) {
	defer func() {
		if r := recover(); r != nil {
			facts = policy.Facts{State: policy.StateUnavailable, Reason: fmt.Sprintf("internal error: %v", r)}
		}
	}()
	return g.Facts.Facts(ctx, ref)
}

func matchesAny(s *subject, policies []*policy.Policy) bool {
	return slices.ContainsFunc(policies, s.matches)
}

func (g *Gate) judge(ctx context.Context, s *subject, policies []*policy.Policy, template bool, d *Decision) {
	now := g.Clock.Now()
	matched := false
	for _, p := range policies {
		if !s.matches(p) {
			continue
		}
		matched = true
		d.addPolicy(p.Name())
		d.Violations = append(d.Violations, violations(s, p, template, s.findings(ctx, p, now))...)
	}
	if matched && s.facts.Stale {
		d.Notices = append(d.Notices, staleNotice(s, now))
	}
}

func (s *subject) findings(ctx context.Context, p *policy.Policy, now time.Time) []policy.Finding {
	if s.err != nil {
		return []policy.Finding{{Check: CheckReference, Message: s.err.Error(), Action: v1alpha1.ActionDeny}}
	}
	return p.Evaluate(ctx, s.facts, now)
}

// Denies reports whether any policy in force denies in the namespace: then an
// object there that can't be judged must not pass. An empty namespace is one
// that isn't known.
func (g *Gate) Denies(namespace string) bool {
	return !g.exempts(namespace) && slices.ContainsFunc(g.Policies.Policies(), func(p *policy.Policy) bool {
		return p.Enforcement() == v1alpha1.EnforcementDeny
	})
}

func (g *Gate) exempts(namespace string) bool {
	return slices.Contains(g.ExemptNamespaces, namespace)
}
