package gate

import (
	"context"
	"slices"
	"time"

	"github.com/hssgate/hssgate/policy"
)

// addAffected evaluates images that may have forbidden vulnerabilities again, by the index of the images that have them:
// most images are not among these, and then need no list of their own.
func (e *evaluation) addAffected(ctx context.Context) {
	wanted := e.wanting(func(t *target) bool { return slices.ContainsFunc(t.verdicts, forbids) })
	if len(wanted) == 0 {
		return
	}
	again := func(v *verdict) bool { return forbids(*v) }
	e.improve(ctx, wanted, again, func(ctx context.Context, t *target) {
		half, done := halfOf(ctx) // without an index in time, there is still some for the lists
		defer done()
		var ids []string
		for _, v := range t.verdicts {
			if forbids(v) {
				ids = append(ids, v.policy.Forbidden()...)
			}
		}
		slices.Sort(ids)
		t.facts.Affected = append(e.gate.Facts.Affected(half, t.ref, slices.Compact(ids)), t.facts.Affected...)
	})
}

// addKnown adds the indexes that are in memory.
func (e *evaluation) addKnown(t *target) {
	for i := range t.verdicts {
		if ids := t.verdicts[i].policy.Forbidden(); len(ids) > 0 && t.facts.State == policy.StateFound {
			t.facts.Affected = append(e.gate.Facts.KnownAffected(t.ref, ids), t.facts.Affected...)
		}
	}
}

// halfOf returns a context that ends when half of the time that ctx has left is over.
func halfOf(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/2))
}

// addCVEs evaluates images again whose findings depend on CVEs that are not known.
func (e *evaluation) addCVEs(ctx context.Context) {
	wanted := e.wanting(func(t *target) bool { return e.needsOf(t) != policy.CVENeeds{} })
	if len(wanted) == 0 {
		return
	}
	again := func(v *verdict) bool { return len(v.findings) > 0 || v.policy.NeedsVulnerabilities(nil) }
	e.improve(ctx, wanted, again, func(ctx context.Context, t *target) {
		t.facts = e.gate.Facts.WithCVEs(ctx, t.ref, t.facts, e.needsOf(t))
	})
}

// needsOf returns what the verdicts on an image depend on, and is not known.
func (e *evaluation) needsOf(t *target) (d policy.CVENeeds) {
	for i := range t.verdicts {
		more := e.cveNeeds(t, &t.verdicts[i])
		d.CVEs, d.Times = d.CVEs || more.CVEs, d.Times || more.Times
	}
	return d
}

// cveNeeds returns what a verdict depends on, and is not known.
func (e *evaluation) cveNeeds(t *target, v *verdict) (d policy.CVENeeds) {
	if len(v.findings) == 0 && !v.policy.NeedsVulnerabilities(nil) {
		return d
	}
	d = v.policy.CVENeeds(&t.facts, v.findings)
	if !d.CVEs {
		d.CVEs = slices.ContainsFunc(e.covering(t, v.policy), func(x *policy.Exception) bool { return x.NeedsCVEs(&t.facts) })
	}
	return d
}

// forbids reports whether the image may have a forbidden vulnerability, and is not known to.
func forbids(v verdict) bool {
	return slices.ContainsFunc(v.findings, func(f policy.Finding) bool { return f.Check == policy.CheckForbidden && f.Unsure })
}
