package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Audit is what a report of an audit has besides: counts of running pods, in
// the way in which the status of each policy has them.
type Audit struct {
	// Pods are all of them, Violating those that violate a policy, whatever it does
	// then, and Unknown those that violate none as far as is known, since no scan
	// result was available from HSS.
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
	// it, and Excepted are let past by an exception. Unknown could not be evaluated,
	// since no scan result was available from HSS.
	Evaluated  int `json:"evaluated"`
	Violations int `json:"violations"`
	Unknown    int `json:"unknown"`
	Excepted   int `json:"excepted"`
}

// NewAudit returns the counts of an audit that has judged nothing yet.
func NewAudit(policies []v1alpha1.ImageScanPolicy) *Audit {
	a := &Audit{Policies: make([]PolicyCounts, len(policies))}
	for i := range policies {
		enforcement := policies[i].Spec.Enforcement
		if enforcement == "" {
			enforcement = v1alpha1.EnforcementDeny
		}
		a.Policies[i] = PolicyCounts{Policy: policies[i].Name, Enforcement: enforcement}
	}
	return a
}

// AuditOutputs are the outputs of an audit.
func AuditOutputs() []Output {
	return []Output{TableOutput, WideOutput, JSON, YAML, Markdown, HTML}
}

// count adds what came of one pod.
func (a *Audit) count(r *Result) {
	a.Pods++
	violating, unknown := false, false
	for i := range a.Policies {
		c := &a.Policies[i]
		if !slices.Contains(r.Policies, c.Policy) {
			continue
		}
		standing := r.standing(c.Policy)
		if standing != standsUnknown {
			c.Evaluated++
		}
		switch standing {
		case standsViolating:
			c.Violations++
			violating = true
		case standsUnknown:
			c.Unknown++
			unknown = true
		case standsExcepted:
			c.Excepted++
		case standsWell:
		}
	}
	switch {
	case violating:
		a.Violating++
	case unknown:
		a.Unknown++
	}
}

// standing is how an object stands by one policy.
type standing int

const (
	standsWell standing = iota
	standsExcepted
	standsUnknown
	standsViolating
)

// standing returns the worst that a policy has against the object.
func (r *Result) standing(policy string) standing {
	worst := standsWell
	if slices.Contains(r.Unknown, policy) {
		worst = standsUnknown
	}
	for i := range r.Violations {
		if v := &r.Violations[i]; v.Policy == policy {
			worst = max(worst, v.standing())
		}
	}
	return worst
}

func (v *Violation) standing() standing {
	hasResult := func(f Finding) bool { return f.Check != policy.CheckUnavailable }
	switch {
	case v.PodEffect == gate.EffectExcepted:
		return standsExcepted
	case slices.ContainsFunc(v.Findings, hasResult):
		return standsViolating
	default:
		return standsUnknown
	}
}

// Headline says in a few words what the audit found.
func (a *Audit) Headline() string {
	switch {
	case a.Violating > 0:
		return fmt.Sprintf("%d of %s", a.Violating, plural(a.Pods, "running pod violates a policy", "running pods violate a policy"))
	case a.Unknown > 0:
		return fmt.Sprintf("%d of %s could not be evaluated", a.Unknown, plural(a.Pods, "running pod", "running pods"))
	default:
		return "no running pod violates a policy"
	}
}

// outcome is Denied if a pod violates any policy, whatever that does then.
func (a *Audit) outcome() Verdict {
	switch {
	case a.Violating > 0:
		return Denied
	case a.Unknown > 0:
		return Unknown
	default:
		return Admitted
	}
}

// auditColumns are the titles of the counts.
func auditColumns() []string {
	return []string{"POLICY", "ENFORCEMENT", "EVALUATED", "VIOLATIONS", "UNKNOWN", "EXCEPTED"}
}

func (c *PolicyCounts) cells() []string {
	return []string{
		clean(c.Policy), string(c.Enforcement), strconv.Itoa(c.Evaluated), strconv.Itoa(c.Violations), strconv.Itoa(c.Unknown), strconv.Itoa(c.Excepted),
	}
}

// numbersFrom is the first column that holds a number, which ends where the
// column does.
const numbersFrom = 2

// text is the counts as a table.
func (a *Audit) text() string {
	rows := [][]string{auditColumns()}
	for i := range a.Policies {
		rows = append(rows, a.Policies[i].cells())
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], columns(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			blanks := strings.Repeat(" ", widths[i]-columns(cell))
			if i < numbersFrom {
				line.WriteString(cell + blanks + gap)
				continue
			}
			line.WriteString(blanks + cell + gap)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// markdown writes the counts as a table.
func (a *Audit) markdown(b *strings.Builder) {
	b.WriteString("\n| Policy | Enforcement | Evaluated | Violations | Unknown | Excepted |\n| --- | --- | ---: | ---: | ---: | ---: |\n")
	for i := range a.Policies {
		cells := a.Policies[i].cells()
		for n := range cells {
			cells[n] = inline(cells[n])
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
}

// Reown shows pods as their owners'. Those that violate something, or can't be
// judged, get another owner, such as a ReplicaSet's Deployment, and join what is
// alike then.
func (r *Report) Reown(owner func(namespace, owner string) (string, error)) error {
	before := r.Results
	r.Results, r.alike = nil, nil
	var failed error
	for _, one := range before {
		if failed == nil && one.Owner != "" && len(one.Violations) > 0 {
			one.Owner, failed = reowned(&one, owner)
		}
		one.OfOwner = one.Owner != ""
		r.join(one)
	}
	return failed
}

func reowned(one *Result, owner func(namespace, owner string) (string, error)) (string, error) {
	found, err := owner(one.Namespace, one.Owner)
	if err != nil {
		return one.Owner, err
	}
	return found, nil
}
