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
	"github.com/hssgate/hssgate/tracing"
)

const (
	// MaxImages bounds the different images of one object that policies match. Of
	// an object with more, none is looked up, and each violates its policies.
	MaxImages = 64
	// maxParallelLookups bounds what one object asks at once; the inventory has a
	// bound of its own for all of them together.
	maxParallelLookups = 16
)

// Policies gives the policies in force.
type Policies interface {
	Index() *Index
}

// Namespaces gives a namespace's labels, which aren't to be changed.
type Namespaces interface {
	NamespaceLabels(ctx context.Context, name string) (map[string]string, error)
}

// Facts gives what HSS knows of an image.
type Facts interface {
	// Known returns what is known and fresh, at once.
	Known(ref image.Reference) (facts policy.Facts, ok bool)
	// Facts asks if it must, and returns by the time that ctx ends.
	Facts(ctx context.Context, ref image.Reference) policy.Facts
}

// Gate decides about objects that name images. It is safe for concurrent use.
type Gate struct {
	Policies   Policies
	Namespaces Namespaces
	Facts      Facts
	Clock      clock.PassiveClock
	// Vulnerabilities tells those of images that fail one by one; nil: nobody
	// does, and their number decides.
	Vulnerabilities Vulnerabilities
	// Patient has a decision wait for all that it could say about vulnerabilities,
	// not only for what decides: nobody waits for the decision.
	Patient bool
	// Exceptions gives those in force; nil: there are none.
	Exceptions Exceptions
	// Histories gives what ran and passed, for policies that give a grace; nil:
	// nothing did.
	Histories Histories
	// ExemptNamespaces are never judged, whatever the policies say: a cluster
	// must be able to start, and hssgate too. No one can choose a namespace's
	// name who may not create pods in it.
	ExemptNamespaces []string

	references parser
}

// Request is an object to decide about.
type Request struct {
	// Namespace and Name say which object it is.
	Namespace string
	Name      string
	// Workload holds its images; on an update, only the new ones.
	Workload image.Workload
	// BeforePinning says that a pod has not come to where images are pinned, as
	// the pods of a template haven't: it is judged as it would come from there.
	BeforePinning bool
	// Sightings asks for Decision.Sightings.
	Sightings bool
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
	if len(r.Workload.Uses) == 0 || g.Exempts(r.Namespace) {
		return
	}
	subjects, policies, err := g.concern(ctx, r)
	if err != nil {
		d.Notices = append(d.Notices, err.Error())
	}
	if len(policies) == 0 {
		return
	}
	g.lookUp(ctx, r, subjects, policies)
	d.Examined = len(subjects)
	g.judge(ctx, r, subjects, policies, d)
}

// concern returns the object's images and the policies that judge the object;
// without any, the images may be missing.
func (g *Gate) concern(ctx context.Context, r Request) ([]subject, []*policy.Policy, error) {
	judged, err := g.scope(ctx, r.Namespace)
	if len(judged.policies) == 0 {
		return nil, nil, err
	}
	subjects := g.parse(r.Workload.Uses)
	return subjects, matching(judged.candidates(r.Workload.Labels, subjects), r.Workload), err
}

// References returns the images of the object that some policy judges: those
// whose facts a decision needs. It asks nobody but for the namespace's labels.
func (g *Gate) References(ctx context.Context, r Request) []image.Reference {
	if len(r.Workload.Uses) == 0 || g.Exempts(r.Namespace) {
		return nil
	}
	// Labels that can't be read make more policies match, never fewer.
	subjects, policies, _ := g.concern(ctx, r)
	places := distinct(subjects, policies)
	if len(places) > MaxImages {
		return nil
	}
	refs := make([]image.Reference, len(places))
	for n, i := range places {
		refs[n] = subjects[i].ref
	}
	return refs
}

// leaveTime returns a context that ends a little before ctx does: what HSS has
// said by then, and what it has not, is still to be judged, and expressions stop
// with ctx.
func leaveTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	const part, most = 8, 250 * time.Millisecond
	return context.WithDeadline(ctx, deadline.Add(-min(time.Until(deadline)/part, most)))
}

// scope returns the policies of a namespace. If its labels can't be read, a
// policy that selects by them is taken to match: not knowing must not be a way
// past it.
func (g *Gate) scope(ctx context.Context, namespace string) (*scope, error) {
	index := g.Policies.Index()
	if !index.selects {
		return index.inNamespace(nil), nil
	}
	labels, err := g.Namespaces.NamespaceLabels(ctx, namespace)
	if err != nil {
		return index.everywhere(), fmt.Errorf("labels of namespace %q cannot be read, so every policy that selects by them applies: %w", namespace, err)
	}
	return index.inNamespace(labels), nil
}

func matching(candidates []*policy.Policy, w image.Workload) []*policy.Policy {
	judges := func(p *policy.Policy) bool {
		return p.MatchesPod(w.Labels) && (!w.Template || p.Templates() != v1alpha1.TemplateIgnore)
	}
	rejects := func(p *policy.Policy) bool { return !judges(p) }
	if !slices.ContainsFunc(candidates, rejects) {
		return candidates
	}
	// Candidates may be the index's own slice.
	return slices.DeleteFunc(slices.Clone(candidates), rejects)
}

// subject is one image of the object on its way to a verdict.
type subject struct {
	use image.Use
	parsed
	facts policy.Facts
	// same is the place of an earlier subject with the same reference, or its own.
	same int
	// pinAhead says that the image is still to be pinned before it is judged.
	pinAhead bool
	// matched tells whether any policy judges it.
	matched bool
}

func (s *subject) matches(p *policy.Policy) bool {
	return s.err != nil || p.MatchesImage(s.repository)
}

// lookUp gets the facts of every image that a policy matches, each once: from
// memory if they are fresh, else side by side.
func (g *Gate) lookUp(ctx context.Context, r Request, subjects []subject, policies []*policy.Policy) {
	places := distinct(subjects, policies)
	var missing []int
	for _, i := range places {
		var known bool
		if len(places) > MaxImages {
			subjects[i].facts, known = tooMany(subjects[i].ref, len(places)), true
		} else {
			subjects[i].facts, known = g.known(subjects[i].ref)
		}
		if !known {
			missing = append(missing, i)
		}
	}
	if len(missing) > 0 {
		ctx, done := leaveTime(ctx)
		defer done()
		g.ask(policy.WithNamespace(ctx, r.Namespace), subjects, missing)
	}
	for i := range subjects {
		subjects[i].facts = subjects[subjects[i].same].facts
	}
}

// distinct returns the places of the images that a policy matches, each once, and
// notes where the others are the same.
func distinct(subjects []subject, policies []*policy.Policy) (places []int) {
	first := make(map[image.Reference]int, len(subjects))
	for i := range subjects {
		s := &subjects[i]
		s.same = i
		if s.err != nil || !slices.ContainsFunc(policies, s.matches) {
			continue
		}
		if earlier, ok := first[s.ref]; ok {
			s.same = earlier
			continue
		}
		first[s.ref] = i
		places = append(places, i)
	}
	return places
}

// tooMany returns the facts of one of too many images.
func tooMany(ref image.Reference, images int) policy.Facts {
	return policy.Facts{
		Image: policy.Image{Reference: ref.String(), Host: ref.Host, Path: ref.Path, Tag: ref.Tag, Digest: ref.Digest},
		State: policy.StateUnavailable, Cause: policy.CauseSize,
		Reason: fmt.Sprintf("the object names %d different images, at most %d are looked up", images, MaxImages),
	}
}

func (g *Gate) ask(ctx context.Context, subjects []subject, missing []int) {
	if len(missing) == 1 {
		s := &subjects[missing[0]]
		s.facts = g.asked(ctx, s.ref)
		return
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxParallelLookups)
	for _, i := range missing {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			subjects[i].facts = g.asked(ctx, subjects[i].ref)
		})
	}
	wg.Wait()
}

// known turns a panic into not knowing.
func (g *Gate) known(ref image.Reference) (facts policy.Facts, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return g.Facts.Known(ref)
}

// asked turns a panic into facts that nobody can be admitted by: in a goroutine
// of its own it would end the process.
func (g *Gate) asked(ctx context.Context, ref image.Reference) (facts policy.Facts) {
	ctx, span := tracing.Start(ctx, tracing.SpanLookup)
	defer func() { endLookup(span, &ref, &facts) }()
	defer func() {
		if r := recover(); r != nil {
			facts = policy.Facts{State: policy.StateUnavailable, Cause: policy.CauseConfiguration, Reason: fmt.Sprintf("internal error: %v", r)}
		}
	}()
	return g.Facts.Facts(ctx, ref)
}

// judgement is what the judging of one object's images has in common.
type judgement struct {
	gate     *Gate
	request  Request
	template bool
	now      time.Time
	// active are the namespace's exceptions, once exceptions has been called.
	active []*policy.Exception
	looked bool
}

// verdict is what a policy finds in a subject: nothing, if it passes.
type verdict struct {
	subject  *subject
	policy   *policy.Policy
	findings []policy.Finding
}

func (g *Gate) judge(ctx context.Context, r Request, subjects []subject, policies []*policy.Policy, d *Decision) {
	j := &judgement{gate: g, request: r, template: r.Workload.Template, now: g.Clock.Now()}
	j.pinAhead(subjects, policies)
	judged := j.evaluate(ctx, subjects, policies, d)
	j.detail(ctx, subjects, judged)
	for i := range judged {
		f := &judged[i]
		if r.Sightings {
			d.see(f.subject, f.policy, f.findings)
		}
		if len(f.findings) > 0 {
			d.Violations = append(d.Violations, j.violations(ctx, f.subject, f.policy, f.findings)...)
		}
	}
	for i := range subjects {
		if s := &subjects[i]; s.matched && s.facts.Stale {
			d.Notices = append(d.Notices, staleNotice(s, j.now))
		}
	}
}

// evaluate judges every image by every policy that matches it, and returns those
// that fail; where sightings are wanted, those that pass, too.
func (j *judgement) evaluate(ctx context.Context, subjects []subject, policies []*policy.Policy, d *Decision) []verdict {
	var judged []verdict
	judging, unknown := make([]bool, len(policies)), make([]bool, len(policies))
	for i := range subjects {
		s := &subjects[i]
		for k, p := range policies {
			if !s.matches(p) {
				continue
			}
			s.matched, judging[k] = true, true
			unknown[k] = unknown[k] || s.unknown()
			findings := s.findings(ctx, p, j.now)
			if len(findings) > 0 || j.request.Sightings {
				judged = append(judged, verdict{s, p, findings})
			}
		}
	}
	d.Policies = make([]string, 0, len(policies))
	for k, p := range policies {
		if judging[k] {
			d.Policies = append(d.Policies, p.Name())
		}
		if unknown[k] {
			d.Unknown = append(d.Unknown, p.Name())
		}
	}
	return judged
}

// pinAhead has the subjects judged as they will come, if images are still to be
// pinned: with the digest that HSS scanned, where a policy asks for it.
func (j *judgement) pinAhead(subjects []subject, policies []*policy.Policy) {
	if !j.template && !j.request.BeforePinning {
		return
	}
	for i := range subjects {
		s := &subjects[i]
		s.pinAhead = s.err == nil && slices.ContainsFunc(policies, func(p *policy.Policy) bool { return p.Pins() && s.matches(p) })
	}
}

// judged are the facts that the subject is judged by.
func (s *subject) judged() policy.Facts {
	if s.pinAhead {
		return s.facts.AsPinned()
	}
	return s.facts
}

// unknown reports whether no scan result is available for the image.
func (s *subject) unknown() bool {
	return s.err == nil && s.facts.State != policy.StateNotFound && (s.facts.State != policy.StateFound || len(s.facts.Records) == 0)
}

func (s *subject) findings(ctx context.Context, p *policy.Policy, now time.Time) []policy.Finding {
	if s.err != nil {
		return []policy.Finding{{Check: CheckReference, Message: s.err.Error(), Action: v1alpha1.ActionDeny}}
	}
	return p.Evaluate(ctx, s.judged(), now)
}

// Denies reports whether any policy in force denies in the namespace: then an
// object there that can't be judged must not pass. An empty namespace is one
// that isn't known.
func (g *Gate) Denies(namespace string) bool {
	return !g.Exempts(namespace) && g.Policies.Index().denies
}

// Exempts reports whether the namespace is never judged.
func (g *Gate) Exempts(namespace string) bool {
	return slices.Contains(g.ExemptNamespaces, namespace)
}
