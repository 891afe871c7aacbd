package report

import (
	"fmt"
	"slices"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Audit counts running pods, as the status of each policy does.
type Audit struct {
	// Pods are all of them, Violating those that violate a policy, whatever its
	// enforcement. Unknown are others that could not be evaluated for a policy, since
	// no scan result was available from HSS.
	Pods      int `json:"pods"`
	Violating int `json:"violating"`
	Unknown   int `json:"unknown"`
	// Policies are those in force.
	Policies []PolicyCounts `json:"policies"`
}

// PolicyCounts counts pods for one policy.
type PolicyCounts struct {
	Policy      string               `json:"policy"`
	Enforcement v1alpha1.Enforcement `json:"enforcement"`
	// Evaluated are the pods that the policy evaluated. Of these, Violations violate
	// it, and Excepted are allowed by an exception. Unknown could not be evaluated,
	// since no scan result was available from HSS.
	Evaluated  int `json:"evaluated"`
	Violations int `json:"violations"`
	Unknown    int `json:"unknown"`
	Excepted   int `json:"excepted"`
}

func (a *Audit) count(r *Result) {
	a.Pods++
	violating, unknown := false, false
	for i := range a.Policies {
		c := &a.Policies[i]
		if !slices.Contains(r.Policies, c.Policy) {
			continue
		}
		violates, lacks, excepted := r.compliance(c.Policy)
		switch {
		case violates:
			c.Violations++
			violating = true
		case lacks:
			c.Unknown++
			unknown = true
			continue
		case excepted:
			c.Excepted++
		}
		c.Evaluated++
	}
	switch {
	case violating:
		a.Violating++
	case unknown:
		a.Unknown++
	}
}

// compliance reports whether the object violates a policy, whether it lacks a scan
// result that the policy needs, and whether an exception allows what the policy finds.
func (r *Result) compliance(name string) (violates, lacks, excepted bool) {
	lacks = slices.Contains(r.Unknown, name)
	hasResult := func(f policy.Finding) bool { return f.Check != policy.CheckUnavailable }
	for i := range r.Violations {
		v := &r.Violations[i]
		switch {
		case v.Policy != name:
		case v.PodEffect == gate.EffectExcepted:
			excepted = true
		case slices.ContainsFunc(v.Findings, hasResult):
			violates = true
		default:
			lacks = true
		}
	}
	return violates, lacks, excepted
}

func (a *Audit) headline() string {
	switch {
	case a.Violating > 0:
		return fmt.Sprintf("%d of %s", a.Violating, plural(a.Pods, "running pod violates a policy", "running pods violate a policy"))
	case a.Unknown > 0:
		return fmt.Sprintf("%d of %s could not be evaluated", a.Unknown, plural(a.Pods, "running pod", "running pods"))
	default:
		return "no running pod violates a policy"
	}
}
