package gate

import (
	"context"
	"slices"
	"time"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// How long a decision waits for vulnerabilities, by what they are needed for.
const (
	unneeded time.Duration = -1
	// forRecord: for the record of an object that is admitted.
	forRecord time.Duration = 0
	// forDenial: to name the worst. The next denial has those that come later.
	forDenial = 500 * time.Millisecond
	// forVerdict: the verdict depends on them. It waits as long as the review may.
	forVerdict = time.Hour
)

// addVulnerabilities fetches the vulnerabilities of images that fail by them, in parallel, and evaluates these images
// again. It waits as long as what they are needed for is worth.
func (e *evaluation) addVulnerabilities(ctx context.Context) {
	var wanted []*target
	for i := range e.targets {
		t := &e.targets[i]
		if t.wait = e.wait(t); t.wait != unneeded {
			wanted = append(wanted, t)
		}
	}
	if len(wanted) == 0 {
		return
	}
	leaving, done := leaveTime(policy.WithNamespace(ctx, e.request.Namespace))
	defer done()
	inParallel(wanted, func(t *target) {
		wait := t.wait
		if e.gate.Patient {
			wait = forVerdict
		}
		until, cancel := context.WithTimeout(leaving, wait)
		defer cancel()
		t.facts = e.gate.Facts.WithVulnerabilities(until, t.ref, t.facts, t.wait == forVerdict)
	})
	for _, t := range wanted {
		e.prepare(t)
		for i := range t.verdicts {
			if v := &t.verdicts[i]; len(v.findings) > 0 {
				v.findings = v.policy.Evaluate(ctx, t.evaluated, e.now)
			}
		}
	}
}

// wait returns how long to wait for the vulnerabilities of an image.
func (e *evaluation) wait(t *target) time.Duration {
	longest := unneeded
	if t.err != nil || t.facts.State != policy.StateFound {
		return longest
	}
	for i := range t.verdicts {
		if v := &t.verdicts[i]; len(v.findings) > 0 {
			longest = max(longest, e.waitFor(t, v))
		}
	}
	return longest
}

func (e *evaluation) waitFor(t *target, v *verdict) time.Duration {
	counts := slices.ContainsFunc(v.findings, func(f policy.Finding) bool { return countsVulnerabilities(f.Check) })
	reads := slices.ContainsFunc(v.findings, func(f policy.Finding) bool { return f.Check == policy.CheckExpression })
	switch {
	case v.policy.NeedsVulnerabilities(v.findings):
		return forVerdict
	case (counts || reads) && slices.ContainsFunc(e.covering(t, v.policy), (*policy.Exception).NamesVulnerabilities):
		return forVerdict
	case !counts:
		return unneeded
	case v.policy.Enforcement() == v1alpha1.EnforcementDeny && !e.onlyWarns(v.policy):
		return forDenial
	}
	return forRecord
}

// countsVulnerabilities reports whether vulnerabilities can explain findings of a check.
func countsVulnerabilities(c policy.Check) bool {
	return c == policy.CheckVulnerabilities || c == policy.CheckSeverityLevel
}
