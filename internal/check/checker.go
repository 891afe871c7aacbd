// Package check evaluates images, manifests and the pods of a cluster outside of
// admission: in a pipeline before anything is applied, or in a cluster before
// anything is enforced.
//
// It sends the webhook's requests to the webhook's gate, so its verdicts are the
// webhook's. Each object is evaluated as if it were created: all its images count.
package check

import (
	"cmp"
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
)

// maxParallel bounds the objects that are evaluated at one time. The inventory
// bounds the calls to HSS.
const maxParallel = 16

// DefaultNamespace is the namespace of objects that name none.
const DefaultNamespace = "default"

// Options are the parts of a Checker. Those marked as optional may be nil.
type Options struct {
	Rules      *Rules
	Namespaces *Namespaces
	Facts      gate.Facts
	Clock      clock.PassiveClock
	// Namespace is that of objects that name none; default: DefaultNamespace.
	Namespace string
	// ExemptNamespaces are not evaluated; see gate.Gate.
	ExemptNamespaces []string
	// Explain adds to each result an explanation, with those of look-ups. Optional.
	Explain lookups
	// TopOwner returns the workload that people know for the owner of a pod that
	// violates a policy; see image.Owners. Optional.
	TopOwner func(ctx context.Context, namespace string, owner image.Owner) (image.Owner, error)
	// Progress receives the number of objects evaluated so far. Optional.
	Progress func(done int)
}

// Checker evaluates objects. It remembers what HSS knows of each image, so that
// one run evaluates all objects by the same results.
type Checker struct {
	Options

	gate   *gate.Gate
	memory *memory
	mu     sync.Mutex // guards done
	done   int
}

// NewChecker returns a Checker.
func NewChecker(o Options) *Checker {
	o.Namespace = cmp.Or(o.Namespace, DefaultNamespace)
	return newChecker(o, &memory{facts: o.Facts})
}

func newChecker(o Options, m *memory) *Checker {
	c := &Checker{Options: o, memory: m, gate: &gate.Gate{
		Policies: o.Rules.Policies, Exceptions: o.Rules.Exceptions, NamespaceLabels: o.Namespaces.NamespaceLabels,
		Facts: m, Clock: o.Clock, ExemptNamespaces: o.ExemptNamespaces, Patient: true,
	}}
	return c
}

// With returns a checker by other rules, and by the same results of HSS.
func (c *Checker) With(rules *Rules) *Checker {
	o := c.Options
	o.Rules, o.Progress = rules, nil
	return newChecker(o, c.memory)
}

// Check evaluates objects and adds the results to the report, in order. It fails
// only if ctx ends or TopOwner fails.
func (c *Checker) Check(ctx context.Context, objects []Object, r *report.Report) error {
	results, err := c.evaluateAll(ctx, objects)
	if err != nil {
		return err
	}
	for i, result := range results {
		if c.TopOwner != nil && len(result.Violations) > 0 {
			owner, err := c.TopOwner(ctx, result.Namespace, objects[i].Owner)
			if err != nil {
				return err
			}
			result.Owner = owner.String()
		}
		r.Add(result)
	}
	return nil
}

func (c *Checker) evaluateAll(ctx context.Context, objects []Object) ([]report.Result, error) {
	results := make([]report.Result, len(objects))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxParallel)
	for i := range objects {
		group.Go(func() error {
			results[i] = c.evaluate(ctx, &objects[i])
			c.advance()
			return ctx.Err()
		})
	}
	return results, group.Wait()
}

func (c *Checker) advance() {
	if c.Progress == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done++
	c.Progress(c.done)
}

func (c *Checker) evaluate(ctx context.Context, o *Object) report.Result {
	request := gate.Request{
		Namespace: cmp.Or(o.Namespace, c.Namespace), Name: o.Name, Workload: o.Workload, BeforePinning: !o.running,
	}
	decision := c.gate.Decide(ctx, request)
	images := make([]report.Image, len(o.Workload.Uses))
	for i, use := range o.Workload.Uses {
		facts, _ := c.memory.of(use.Image)
		images[i] = report.NewImage(use, facts, c.Clock.Now())
		images[i].Line = o.lines[use.Image]
	}
	result := report.NewResult(&decision, images)
	result.Source, result.Line, result.Owner = o.Source, o.Line, o.Owner.String()
	if c.Explain != nil {
		result.Explanation = c.explain(ctx, o, request.Namespace, &result)
	}
	return result
}

// Compare evaluates objects by two checkers and adds the differences. It fails only
// if ctx ends.
func Compare(ctx context.Context, before, after *Checker, objects []Object, c *report.Changes) error {
	was, err := before.evaluateAll(ctx, objects)
	if err != nil {
		return err
	}
	is, err := after.evaluateAll(ctx, objects)
	if err != nil {
		return err
	}
	for i := range objects {
		c.Add(&was[i], &is[i])
	}
	return nil
}

// memory keeps what HSS knows of each image during one run.
type memory struct {
	facts gate.Facts

	// known holds the facts of each image by its reference, detailed those with the
	// single vulnerabilities, for images whose verdict needed them.
	known, detailed sync.Map
}

// Known returns what is known of the image without a request to HSS.
func (m *memory) Known(ref image.Reference) (policy.Facts, bool) {
	if f, ok := get(&m.known, ref); ok {
		return f, true
	}
	f, ok := m.facts.Known(ref)
	if ok {
		m.known.Store(ref, f)
	}
	return f, ok
}

// Facts looks the image up.
func (m *memory) Facts(ctx context.Context, ref image.Reference) policy.Facts {
	f := m.facts.Facts(ctx, ref)
	m.known.Store(ref, f)
	return f
}

// WithVulnerabilities looks the vulnerabilities of the image up, once.
func (m *memory) WithVulnerabilities(ctx context.Context, ref image.Reference, f policy.Facts, needed bool) policy.Facts {
	if known, ok := get(&m.detailed, ref); ok {
		return known
	}
	f = m.facts.WithVulnerabilities(ctx, ref, f, needed)
	m.detailed.Store(ref, f)
	return f
}

func get(from *sync.Map, ref image.Reference) (policy.Facts, bool) {
	f, ok := from.Load(ref)
	facts, _ := f.(policy.Facts)
	return facts, ok
}

// of returns the facts of an image as written, with its vulnerabilities if
// they were looked up; nil if the image was not.
func (m *memory) of(written string) (f *policy.Facts, detailed bool) {
	ref, err := image.Parse(written)
	if err != nil {
		return nil, false
	}
	if found, ok := get(&m.detailed, ref); ok {
		return &found, true
	}
	if found, ok := get(&m.known, ref); ok {
		return &found, false
	}
	return nil, false
}
