package gate

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Vulnerabilities tells the vulnerabilities of images one by one.
type Vulnerabilities interface {
	// WithVulnerabilities returns the facts with the vulnerabilities of their
	// scans, as far as they are known by the time that ctx ends. It asks for the
	// others all the same. They are needed if a verdict depends on them.
	WithVulnerabilities(ctx context.Context, ref image.Reference, f policy.Facts, needed bool) policy.Facts
}

// Knowledge is what HSS knows of images, and of each vulnerability in them.
type Knowledge interface {
	Facts
	Vulnerabilities
}

// namesTime is how long a denial waits for the names of what is wrong with an
// image that is denied anyway. The next one will have them.
const namesTime = 500 * time.Millisecond

// interest is what the vulnerabilities of an image are wanted for.
type interest int

const (
	// forNothing: nothing is said about them.
	forNothing interest = iota
	// forRecords: for what is recorded of an object that is admitted.
	forRecords
	// forDenial: to name the worst.
	forDenial
	// forVerdict: the verdict depends on them.
	forVerdict
)

// detail gets the vulnerabilities of images that fail by them, each image's
// once and side by side, and judges these anew.
func (j *judgement) detail(ctx context.Context, subjects []subject, judged []verdict) {
	if j.gate.Vulnerabilities == nil || len(judged) == 0 {
		return
	}
	wanted := map[int]interest{}
	for i := range judged {
		if f := &judged[i]; f.subject.err == nil && f.subject.facts.State == policy.StateFound {
			wanted[f.subject.same] = max(wanted[f.subject.same], j.interest(f))
		}
	}
	j.ask(ctx, subjects, wanted)
	for i := range judged {
		f := &judged[i]
		if wanted[f.subject.same] == forNothing {
			continue
		}
		f.findings = f.subject.findings(ctx, f.policy, j.now)
	}
}

// interest is what the vulnerabilities of an image that fails are wanted for.
func (j *judgement) interest(f *verdict) interest {
	counts := func(one policy.Finding) bool { return countsVulnerabilities(one.Check) }
	explained := func(one policy.Finding) bool { return counts(one) || one.Check == policy.CheckExpression }
	switch {
	case f.policy.NeedsVulnerabilities(f.findings):
		return forVerdict
	case slices.ContainsFunc(f.findings, explained) && slices.ContainsFunc(j.covering(f.subject, f.policy), (*policy.Exception).NamesVulnerabilities):
		return forVerdict
	case !slices.ContainsFunc(f.findings, counts):
		return forNothing
	case f.policy.Enforcement() == v1alpha1.EnforcementDeny && (!j.template || f.policy.Templates() != v1alpha1.TemplateWarn):
		return forDenial
	}
	return forRecords
}

// countsVulnerabilities tells of the checks that vulnerabilities can explain.
func countsVulnerabilities(c policy.Check) bool {
	return c == policy.CheckVulnerabilities || c == policy.CheckSeverityLevel
}

// ask gets the vulnerabilities of images, by their places.
func (j *judgement) ask(ctx context.Context, subjects []subject, wanted map[int]interest) {
	ctx, done := leaveTime(policy.WithNamespace(ctx, j.request.Namespace))
	defer done()
	names, namesDone := context.WithTimeout(ctx, namesTime)
	defer namesDone()
	over, cancel := context.WithCancel(ctx)
	cancel()
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxParallelLookups)
	for place, why := range wanted {
		s, until := &subjects[place], ctx
		switch {
		case why == forNothing:
			continue
		case j.gate.Patient || why == forVerdict:
		case why == forDenial:
			until = names
		default:
			until = over
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			s.facts = j.gate.detailed(until, s, why == forVerdict)
		})
	}
	wg.Wait()
	for i := range subjects {
		if s := &subjects[i]; wanted[s.same] != forNothing {
			s.facts = subjects[s.same].facts
		}
	}
}

// detailed turns a panic into not knowing: the numbers decide.
func (g *Gate) detailed(ctx context.Context, s *subject, needed bool) (facts policy.Facts) {
	defer func() {
		if recover() != nil {
			facts = s.facts
		}
	}()
	return g.Vulnerabilities.WithVulnerabilities(ctx, s.ref, s.facts, needed)
}
