package check

import (
	"context"
	"slices"

	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/report"
)

// Simulation judges objects by two sets of policies, and keeps where the
// verdicts differ.
type Simulation struct {
	before, after *Checker
	progress      func(done int)
}

// NewSimulation compares o.Policies with after. Progress is that of the whole.
func NewSimulation(o Options, after *Policies) *Simulation {
	s := &Simulation{progress: o.Progress}
	o.Progress = nil
	s.before = NewChecker(o)
	o.Facts, o.Policies = s.before.memory, after
	if o.Vulnerabilities != nil {
		o.Vulnerabilities = s.before.memory
	}
	s.after = NewChecker(o)
	return s
}

// Compare judges objects and adds what would change. The error is that of ctx.
func (s *Simulation) Compare(ctx context.Context, objects []Object, c *report.Changes) error {
	for some := range slices.Chunk(objects, maxParallel) {
		before, err := s.before.judgeAll(ctx, some)
		if err != nil {
			return err
		}
		after, err := s.after.judgeAll(ctx, some)
		if err != nil {
			return err
		}
		for i := range some {
			c.Add(&before[i], &after[i])
		}
		if s.progress != nil {
			s.progress(c.Objects)
		}
	}
	return nil
}

// Replace returns the policies with those of the same name replaced by others,
// and the rest of the others added.
func Replace(policies, others []v1alpha1.ImageScanPolicy) []v1alpha1.ImageScanPolicy {
	replaced := slices.Clone(policies)
	for _, other := range others {
		same := func(p v1alpha1.ImageScanPolicy) bool { return p.Name == other.Name }
		if i := slices.IndexFunc(replaced, same); i >= 0 {
			replaced[i] = other
			continue
		}
		replaced = append(replaced, other)
	}
	return replaced
}
