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
	forbids := func(v *verdict) bool { return hasFinding(v, policy.CheckForbidden) }
	wants := func(_ *target, v *verdict) bool { return forbids(v) }
	half := ctx
	if deadline, ok := ctx.Deadline(); ok { // without an index in time, there is still some for the lists
		var done context.CancelFunc
		half, done = context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/2))
		defer done()
	}
	e.improve(half, forbids, wants, func(ctx context.Context, t *target) {
		var ids []string
		for i := range t.verdicts {
			if v := &t.verdicts[i]; forbids(v) {
				ids = append(ids, v.policy.Forbidden()...)
			}
		}
		slices.Sort(ids)
		t.facts.Affected = e.gate.Facts.Affected(ctx, t.ref, slices.Compact(ids))
	})
}

// addCVEs evaluates images again whose findings depend on CVEs that are not known.
func (e *evaluation) addCVEs(ctx context.Context) {
	fails := func(v *verdict) bool { return len(v.findings) > 0 || v.policy.NeedsVulnerabilities(v.findings) }
	wants := func(t *target, v *verdict) bool { return e.cveNeeds(t, v) != policy.CVENeeds{} }
	e.improve(ctx, fails, wants, func(ctx context.Context, t *target) {
		var d policy.CVENeeds
		for i := range t.verdicts {
			more := e.cveNeeds(t, &t.verdicts[i])
			d.CVEs, d.Times = d.CVEs || more.CVEs, d.Times || more.Times
		}
		t.facts = e.gate.Facts.WithCVEs(ctx, t.ref, t.facts, d)
	})
}

// details returns what a verdict depends on, and is not known.
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

// improve adds facts to the images with a verdict that wants some, in parallel, and evaluates again. It waits as long as
// the review may, since the verdict depends on them.
func (e *evaluation) improve(ctx context.Context, again func(*verdict) bool, wants func(*target, *verdict) bool, add func(context.Context, *target)) {
	var wanted []*target
	for i := range e.targets {
		t := &e.targets[i]
		for k := range t.verdicts {
			if t.err == nil && t.facts.State == policy.StateFound && wants(t, &t.verdicts[k]) {
				wanted = append(wanted, t)
				break
			}
		}
	}
	if len(wanted) == 0 {
		return
	}
	leaving, done := leaveTime(policy.WithNamespace(ctx, e.request.Namespace))
	defer done()
	inParallel(wanted, func(t *target) { add(leaving, t) })
	for _, t := range wanted {
		e.prepare(t)
		for i := range t.verdicts {
			if v := &t.verdicts[i]; again(v) {
				v.findings = v.policy.Evaluate(ctx, t.evaluated, e.now)
			}
		}
	}
}

func hasFinding(v *verdict, c policy.Check) bool {
	return len(v.findings) > 0 && slices.ContainsFunc(v.findings, func(f policy.Finding) bool { return f.Check == c })
}
