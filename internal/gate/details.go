package gate

import (
	"context"
	"slices"
	"time"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// How long a decision waits for details, by what they are needed for.
const (
	unneeded time.Duration = -1
	// ifKnown: to name the worst of what is denied without them. They are not fetched.
	ifKnown time.Duration = -2
	// forRecord: for the record of an object that is admitted.
	forRecord time.Duration = 0
	// forDenial: to name the worst. The next denial has those that come later.
	forDenial = 500 * time.Millisecond
	// forVerdict: the verdict depends on them. It waits as long as the review may.
	forVerdict = time.Hour
)

// addDetails fetches the details of images that fail by them, in parallel, and evaluates these images again. It waits as
// long as what they are needed for is worth.
func (e *evaluation) addDetails(ctx context.Context) {
	wanted := e.wanting(func(t *target) bool {
		t.details = e.details(ctx, t)
		return len(t.details) > 0
	})
	if len(wanted) == 0 {
		return
	}
	again := func(v *verdict) bool {
		return len(v.findings) > 0 || v.policy.NeedsSecrets() || v.policy.NeedsVulnerabilities(nil)
	}
	e.improve(ctx, wanted, again, func(ctx context.Context, t *target) {
		t.facts = e.gate.Facts.WithDetails(ctx, t.ref, t.facts, t.details)
	})
}

// wanting returns the images that HSS knows and of which more is wanted.
func (e *evaluation) wanting(more func(*target) bool) (wanted []*target) {
	for i := range e.targets {
		if t := &e.targets[i]; t.err == nil && t.facts.State == policy.StateFound && more(t) {
			wanted = append(wanted, t)
		}
	}
	return wanted
}

// improve adds facts to images, in parallel, and evaluates them again by those policies whose findings may change. It takes
// as long as add, and at most as long as the review may.
func (e *evaluation) improve(ctx context.Context, images []*target, again func(*verdict) bool, add func(context.Context, *target)) {
	leaving, done := leaveTime(policy.WithNamespace(ctx, e.request.Namespace))
	defer done()
	inParallel(images, func(t *target) { add(leaving, t) })
	for _, t := range images {
		e.prepare(t)
		for i := range t.verdicts {
			if v := &t.verdicts[i]; again(v) {
				v.findings = v.policy.Evaluate(ctx, t.evaluated, e.now)
			}
		}
	}
}

// details returns which details of an image are wanted.
func (e *evaluation) details(ctx context.Context, t *target) (wanted policy.Details) {
	for i := range t.verdicts {
		v := &t.verdicts[i]
		if v.policy.NeedsSecrets() {
			e.want(&wanted, policy.DetailSecrets, forVerdict)
		}
		if len(v.findings) > 0 || v.policy.NeedsVulnerabilities(nil) {
			e.want(&wanted, policy.DetailVulnerabilities, e.waitForVulnerabilities(ctx, t, v))
		}
		if slices.ContainsFunc(v.findings, func(f policy.Finding) bool { return f.Check == policy.CheckMaliciousFiles }) {
			e.want(&wanted, policy.DetailMaliciousFiles, e.waitToName(v))
		}
	}
	return wanted
}

func (e *evaluation) want(wanted *policy.Details, kind policy.Detail, wait time.Duration) {
	if wait == unneeded {
		return
	}
	w := policy.Wanted{Wait: wait, Needed: wait == forVerdict}
	if e.gate.Patient && wait != ifKnown {
		w.Wait = forVerdict
	}
	wanted.Add(kind, w)
}

func (e *evaluation) waitForVulnerabilities(ctx context.Context, t *target, v *verdict) time.Duration {
	counts := slices.ContainsFunc(v.findings, func(f policy.Finding) bool { return CountsVulnerabilities(f.Check) })
	reads := slices.ContainsFunc(v.findings, func(f policy.Finding) bool { return f.Check == policy.CheckExpression })
	needs := func(x *policy.Exception) bool {
		return x.NeedsVulnerabilities(ctx, v.policy, t.evaluated, v.findings, e.now)
	}
	switch {
	case v.policy.NeedsVulnerabilities(v.findings), (counts || reads) && slices.ContainsFunc(e.covering(t, v.policy), needs):
		return forVerdict
	case !counts:
		return unneeded
	case !slices.ContainsFunc(v.findings, func(f policy.Finding) bool { return CountsVulnerabilities(f.Check) && f.Check != policy.CheckForbidden }):
		return ifKnown
	}
	return e.waitToName(v)
}

// waitToName returns how long to wait for what is only named.
func (e *evaluation) waitToName(v *verdict) time.Duration {
	if v.policy.Enforcement() == v1alpha1.EnforcementDeny && !e.onlyWarns(v.policy) {
		return forDenial
	}
	return forRecord
}

// CountsVulnerabilities reports whether vulnerabilities can explain findings of a check.
func CountsVulnerabilities(c policy.Check) bool {
	return c == policy.CheckVulnerabilities || c == policy.CheckForbidden || c == policy.CheckSeverityLevel
}
