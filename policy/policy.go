// Package policy evaluates images: an ImageScanPolicy, what HSS knows of an
// image, and a point in time give findings. It does no I/O, and the same input
// always gives the same findings in the same order.
//
//   - What is unknown fails: a severity or scan status that HSS's documentation
//     does not name, a missing number, a policy that is invalid.
//   - Only a successful scan has a result. A failed one is reported once.
//   - An image that is being scanned again keeps its last completed result.
//   - Every record that fits the reference must pass, and every architecture.
//
// The limits and patterns of policies and exceptions are those of their schema in
// v1alpha1, and are not checked here again.
//
// Each requirement has a file of its own, check_….go. docs/contributing.md shows
// how to add one.
package policy

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Policy is a compiled ImageScanPolicy. It is immutable and safe for concurrent
// use.
type Policy struct {
	matcher

	name        string
	enforcement v1alpha1.Enforcement
	templates   v1alpha1.TemplateAction
	exceptions  v1alpha1.Permission
	pins        bool
	when        v1alpha1.When
	counting    counting
	rules       []compiledRule
	// needsResult reports whether any rule needs the result of a scan.
	needsResult    bool
	hasExpressions bool

	grace               time.Duration
	graceForExpressions bool
}

// Compile prepares p for evaluation, with the schema's defaults for what is left
// out. The policy is never nil. Where p is invalid, it fails closed: an invalid
// selector or glob matches everything (an exclusion nothing), an unknown value is
// the strictest, and an expression that does not compile is a finding for every
// image. The error then lists every problem with its field.
func Compile(p *v1alpha1.ImageScanPolicy) (*Policy, error) {
	if p == nil {
		compiled, _ := compile(&v1alpha1.ImageScanPolicy{})
		return compiled, errors.New("there is no policy to compile")
	}
	compiled, errs := compile(p)
	if len(errs) > 0 {
		return compiled, fmt.Errorf("policy %q is invalid: %w", p.Name, errs.ToAggregate())
	}
	return compiled, nil
}

// Validate returns every problem of p, with its field, that the schema does not find:
// invalid expressions, globs and selectors, and values of a newer schema.
func Validate(p *v1alpha1.ImageScanPolicy) field.ErrorList {
	_, errs := compile(p)
	return errs
}

func compile(p *v1alpha1.ImageScanPolicy) (*Policy, field.ErrorList) {
	s, spec := &p.Spec, field.NewPath("spec")
	compiled := &Policy{
		name: p.Name, pins: s.Pin, counting: countingOf(&s.Require), hasExpressions: len(s.Require.Expressions) > 0,
	}
	if s.Grace != nil {
		compiled.grace, compiled.graceForExpressions = s.Grace.Period.Duration, onlyReadResults(s.Require.Expressions)
	}
	errs := compiled.setActions(s, spec)
	errs = append(errs, compiled.setMatch(&s.Match, spec.Child("match"))...)
	require := spec.Child("require")
	for _, c := range checks() {
		rules, invalid := c.compile(&s.Require, require)
		errs = append(errs, invalid...)
		for _, r := range rules {
			compiled.rules = append(compiled.rules, compiledRule{check: c, rule: r})
			compiled.needsResult = compiled.needsResult || c.needsResult
		}
	}
	return compiled, errs
}

func (p *Policy) setActions(s *v1alpha1.ImageScanPolicySpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	p.enforcement = choose(&errs, path.Child("enforcement"), s.Enforcement, v1alpha1.EnforcementDeny,
		v1alpha1.EnforcementDeny, v1alpha1.EnforcementWarn, v1alpha1.EnforcementAudit)
	p.templates = choose(&errs, path.Child("templates"), s.Templates, v1alpha1.TemplateWarn,
		v1alpha1.TemplateDeny, v1alpha1.TemplateWarn, v1alpha1.TemplateIgnore)
	p.exceptions = choose(&errs, path.Child("exceptions"), s.Exceptions, v1alpha1.PermissionAllow,
		v1alpha1.PermissionForbid, v1alpha1.PermissionAllow)
	action := func(name string, a v1alpha1.Action) v1alpha1.Action {
		return choose(&errs, path.Child("when", name), a, v1alpha1.ActionDeny,
			v1alpha1.ActionDeny, v1alpha1.ActionWarn, v1alpha1.ActionAudit, v1alpha1.ActionAllow)
	}
	p.when.NotFound = action("notFound", s.When.NotFound)
	p.when.NotScanned = action("notScanned", s.When.NotScanned)
	p.when.Unavailable = action("unavailable", s.When.Unavailable)
	return errs
}

// choose returns value if it is allowed, the default if it is empty, and else the
// first one allowed, which is the strictest, with an error.
func choose[T ~string](errs *field.ErrorList, path *field.Path, value, byDefault T, allowed ...T) T {
	switch {
	case value == "":
		return byDefault
	case slices.Contains(allowed, value):
		return value
	}
	*errs = append(*errs, field.NotSupported(path, value, allowed))
	return allowed[0]
}

// Name returns the policy's name.
func (p *Policy) Name() string { return p.name }

// Enforcement returns what a violation does: Deny, Warn or Audit.
func (p *Policy) Enforcement() v1alpha1.Enforcement { return p.enforcement }

// Templates returns what a violation in a workload's pod template does: Deny,
// Warn or Ignore.
func (p *Policy) Templates() v1alpha1.TemplateAction { return p.templates }

// AllowsExceptions reports whether exceptions count for the policy.
func (p *Policy) AllowsExceptions() bool { return p.exceptions == v1alpha1.PermissionAllow }

// Pins reports whether the policy adds digests to pods. One that only audits
// changes nothing.
func (p *Policy) Pins() bool { return p.pins && p.enforcement != v1alpha1.EnforcementAudit }

// PinRequested reports whether spec.pin is set, even if the policy only audits.
func (p *Policy) PinRequested() bool { return p.pins }

// Requirement is something that a policy requires of images.
type Requirement struct {
	Check Check
	// Text is what is required, in a few words.
	Text string
}

// Requirements returns what the policy requires, in the order of findings.
func (p *Policy) Requirements() []Requirement {
	var all []Requirement
	for i := range p.rules {
		if r := &p.rules[i]; r.text != "" {
			all = append(all, Requirement{r.id, r.text})
		}
	}
	return all
}

// NeedsVulnerabilities reports whether findings of the policy could change once
// the vulnerabilities of the image are known one by one.
func (p *Policy) NeedsVulnerabilities(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool {
		switch f.Check {
		case CheckVulnerabilities:
			return p.counting.excludes()
		case CheckSeverityLevel:
			return len(p.counting.ignored) > 0
		default:
			return false
		}
	})
}
