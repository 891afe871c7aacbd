package check

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/report"
)

// maxParallel bounds the objects that are judged at one time. The inventory
// bounds the calls to HSS.
const maxParallel = 16

// Options are what a Checker is made of. All of them are required but where it
// says otherwise.
type Options struct {
	Policies   gate.Policies
	Namespaces gate.Namespaces
	// Facts is who knows what HSS says of an image.
	Facts gate.Facts
	// Vulnerabilities is who knows the vulnerabilities of images that fail; nil:
	// nobody does.
	Vulnerabilities gate.Vulnerabilities
	Clock           clock.PassiveClock
	// Namespace is where objects go that name none; empty: DefaultNamespace.
	Namespace string
	// Exceptions gives those in force; nil: there are none.
	Exceptions gate.Exceptions
	// Histories gives what is known to have run and passed; nil: nothing did, and
	// no image has a grace.
	Histories gate.Histories
	// ExemptNamespaces are never judged; see gate.Gate.
	ExemptNamespaces []string
	// Explain tells how it comes to each verdict; nil: nobody wants to know.
	Explain *Explainer
	// Progress hears how many objects have been judged; nil: nobody. It is
	// called by one goroutine at a time.
	Progress func(done int)
}

// Checker judges objects. What HSS said of an image once, it remembers.
type Checker struct {
	Options

	gate   *gate.Gate
	memory *memory
	done   int
}

// NewChecker returns a Checker that has judged nothing yet.
func NewChecker(o Options) *Checker {
	o.Namespace = cmp.Or(o.Namespace, DefaultNamespace)
	c := &Checker{Options: o, memory: newMemory(o.Facts, o.Vulnerabilities)}
	c.gate = &gate.Gate{
		Policies: o.Policies, Namespaces: o.Namespaces, Facts: c.memory, Clock: o.Clock,
		Exceptions: o.Exceptions, Histories: o.Histories, ExemptNamespaces: o.ExemptNamespaces, Patient: true,
	}
	if o.Vulnerabilities != nil {
		c.gate.Vulnerabilities = c.memory
	}
	return c
}

// Check judges objects and adds what came of it to the report, in order. The
// error is that of ctx.
func (c *Checker) Check(ctx context.Context, objects []Object, r *report.Report) error {
	for some := range slices.Chunk(objects, maxParallel) {
		results, err := c.judgeAll(ctx, some)
		if err != nil {
			return err
		}
		for _, result := range results {
			r.Add(result)
		}
		c.progress(len(some))
	}
	return nil
}

// judgeAll judges some objects side by side.
func (c *Checker) judgeAll(ctx context.Context, objects []Object) ([]report.Result, error) {
	results := make([]report.Result, len(objects))
	group, groupCtx := errgroup.WithContext(ctx)
	for i := range objects {
		group.Go(func() error {
			results[i] = c.judge(groupCtx, &objects[i])
			return groupCtx.Err()
		})
	}
	return results, group.Wait()
}

func (c *Checker) progress(more int) {
	c.done += more
	if c.Progress != nil {
		c.Progress(c.done)
	}
}

func (c *Checker) judge(ctx context.Context, o *Object) report.Result {
	request := gate.Request{Namespace: cmp.Or(o.Namespace, c.Namespace), Name: o.Name, Workload: o.Workload, BeforePinning: !o.running}
	decision := c.gate.Decide(ctx, request)
	decision.Unlogged = true
	result := report.NewResult(&decision, c.images(o))
	result.Source, result.Line, result.Owner = o.Source, o.Line, o.Owner
	if c.Explain != nil {
		result.Explanation = c.Explain.explain(ctx, c, o, &request, &result)
	}
	return result
}

// images tells what HSS said of the object's images.
func (c *Checker) images(o *Object) []report.Image {
	now := c.Clock.Now()
	images := make([]report.Image, len(o.Workload.Uses))
	for i, use := range o.Workload.Uses {
		images[i] = report.NewImage(use, c.said(use.Image), now)
		images[i].Line = o.lines[use.Image]
	}
	return images
}

// detailed is what HSS said of an image whose vulnerabilities were needed, or
// nil.
func (c *Checker) detailed(written string) *policy.Facts {
	ref, err := image.Parse(written)
	if err != nil {
		return nil
	}
	f, ok := c.memory.details(ref)
	if !ok {
		return nil
	}
	return &f
}

// said is what HSS said of an image; nil if nobody asked.
func (c *Checker) said(written string) *policy.Facts {
	if f := c.detailed(written); f != nil {
		return f
	}
	ref, err := image.Parse(written)
	if err != nil {
		return nil
	}
	f, ok := c.memory.said(ref)
	if !ok {
		return nil
	}
	return &f
}
