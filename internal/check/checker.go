// Package check evaluates images, manifests and the pods of a cluster outside of admission: in a pipeline before
// anything is applied, or in a cluster before anything is enforced.
//
// It sends the webhook's requests to the webhook's gate, so its verdicts are the webhook's. Each object is evaluated as
// if it were created: all its images count.
package check

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
)

// maxParallel bounds the objects that are evaluated at one time. The inventory bounds the calls to HSS.
const maxParallel = 16

// Options are the parts of a Checker. Those marked as optional may be nil.
type Options struct {
	Resources Resources
	// MaxLifetime is the longest that an exception lasts from its creation. One that no
	// API server has seen counts as if it were created at the time Now.
	MaxLifetime time.Duration
	// Clock is the real one by default, and Now its time.
	Clock clock.PassiveClock
	Now   time.Time
	Facts gate.Facts
	// Namespaces are labels by namespace, as files have them.
	Namespaces map[string]map[string]string
	// NamespaceLabels returns the labels of any other namespace. Optional.
	NamespaceLabels func(ctx context.Context, name string) (map[string]string, error)
	// Namespace is that of objects that name none; default: metav1.NamespaceDefault.
	Namespace string
	// ExemptNamespaces are not evaluated; see gate.Gate.
	ExemptNamespaces []string
	// Explain adds to each result an explanation, with those of look-ups. Optional.
	Explain lookups
	// TopOwner returns the workload that people know for the owner of a pod; see image.Owners. Optional.
	TopOwner func(ctx context.Context, namespace string, owner image.Owner) (image.Owner, error)
	// Before evaluates by other policies: the results are compared with its. Optional.
	Before *Checker
	// Progress receives the number of objects evaluated so far, one call at a time. Optional.
	Progress func(done int)
}

// Checker evaluates objects.
type Checker struct {
	Options

	gate *gate.Gate
	mu   sync.Mutex
	done int // guarded by mu
}

// NewChecker returns a Checker, also with an error that lists every problem: as in the webhook, an invalid policy fails
// closed, and an invalid exception has no effect.
func NewChecker(o Options) (*Checker, error) {
	o.Namespace, o.Clock = cmp.Or(o.Namespace, metav1.NamespaceDefault), cmp.Or[clock.PassiveClock](o.Clock, clock.RealClock{})
	o.Now = cmp.Or(o.Now, o.Clock.Now())
	policies, err := o.policies()
	exceptions, invalid := o.exceptions()
	return &Checker{Options: o, gate: &gate.Gate{
		Policies: func() []*policy.Policy { return policies },
		Exceptions: func(namespace string) []*policy.Exception {
			return slices.Concat(exceptions[namespace], exceptions[""])
		},
		NamespaceLabels: o.namespaceLabels,
		Facts:           o.Facts, Clock: o.Clock, ExemptNamespaces: o.ExemptNamespaces, Patient: true,
	}}, errors.Join(err, invalid)
}

func (o *Options) namespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	labels, known := o.Namespaces[name]
	switch {
	case known:
		return labels, nil
	case o.NamespaceLabels == nil:
		return nil, errors.New("no Namespace of that name is among the files, and no labels were given for it")
	}
	return o.NamespaceLabels(ctx, name)
}

// Policies returns the policies in the order of their names.
func (c *Checker) Policies() []*policy.Policy { return c.gate.Policies() }

// Exceptions returns the exceptions that count in a namespace.
func (c *Checker) Exceptions(namespace string) []*policy.Exception {
	return c.gate.Exceptions(namespace)
}

const batch = 500 // the number of objects whose results are held before those that are alike become one

// Check evaluates objects and adds the results to the report, in order. It fails only if ctx ends or TopOwner fails.
func (c *Checker) Check(ctx context.Context, objects []Object, r *report.Report) error {
	r.Policies = []string{}
	for _, p := range c.gate.Policies() {
		r.Policies = append(r.Policies, p.Name())
		if r.Audit != nil {
			r.Audit.Policies = append(r.Audit.Policies, report.PolicyCounts{Policy: p.Name(), Enforcement: p.Enforcement()})
		}
	}
	for some := range slices.Chunk(objects, batch) {
		results, before, err := c.evaluateAll(ctx, some)
		if err != nil {
			return err
		}
		for i, result := range results {
			if c.TopOwner != nil && len(result.Violations) > 0 {
				owner, err := c.TopOwner(ctx, result.Namespace, some[i].Owner)
				if err != nil {
					return err
				}
				result.Owner = owner.String()
			}
			if c.Before != nil {
				r.Compare(&before[i], result)
			} else {
				r.Add(result)
			}
		}
	}
	r.Finish()
	return nil
}

func (c *Checker) evaluateAll(ctx context.Context, objects []Object) (results, before []report.Result, err error) {
	results, before = make([]report.Result, len(objects)), make([]report.Result, len(objects))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxParallel)
	for i := range objects {
		group.Go(func() error {
			results[i] = c.evaluate(ctx, &objects[i])
			if c.Before != nil {
				before[i] = c.Before.evaluate(ctx, &objects[i])
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.done++; c.Progress != nil {
				c.Progress(c.done)
			}
			return ctx.Err()
		})
	}
	return results, before, group.Wait()
}

func (c *Checker) evaluate(ctx context.Context, o *Object) report.Result {
	request := o.Request
	request.Namespace, request.Facts = cmp.Or(o.Namespace, c.Namespace), true
	decision := c.gate.Decide(ctx, request)
	decision.Unlogged = true
	images := make([]report.Image, len(o.Workload.Uses))
	for i, use := range o.Workload.Uses {
		images[i] = report.NewImage(use, decision.Facts[i], c.Clock.Now())
		images[i].Line = o.lines[use.Image]
	}
	result := report.NewResult(&decision, images)
	result.Source, result.Line, result.Owner = o.Source, o.Line, o.Owner.String()
	if c.Explain != nil {
		result.Explanation = c.explain(ctx, &request, &decision, images)
	}
	return result
}
