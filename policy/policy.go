package policy

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Policy is an ImageScanPolicy ready to judge. It is immutable and safe for
// concurrent use.
type Policy struct {
	name         string
	enforcement  v1alpha1.Enforcement
	templates    v1alpha1.TemplateAction
	exceptions   v1alpha1.Permission
	pins         bool
	when         v1alpha1.When
	matcher      matcher
	requirements []requirement
	// ofScope are the places of the requirements of each scope, in order.
	ofScope [scopes][]int
	// counted is which vulnerabilities count.
	counted vulnerabilityRule
	// grace is how long it lasts; 0: there's none. graceForExpressions says
	// whether it covers them.
	grace               time.Duration
	graceForExpressions bool
	// evaluations are scratch space, reused.
	evaluations sync.Pool
}

// Compile prepares p. The policy is never nil and fails closed where p is
// invalid: a selector or glob that can't be read matches everything (an
// exclusion nothing), an unknown value is the strictest, and an expression that
// doesn't compile is a finding for every image. The error then lists every
// problem, each with its field.
//
// What p leaves out has the schema's defaults.
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

// Name is the policy's name.
func (p *Policy) Name() string { return p.name }

// Enforcement says what a violation does: Deny, Warn or Audit.
func (p *Policy) Enforcement() v1alpha1.Enforcement { return p.enforcement }

// Templates says what a violation in a workload's pod template does: Deny,
// Warn or Ignore.
func (p *Policy) Templates() v1alpha1.TemplateAction { return p.templates }

// AllowsExceptions tells whether an Exception can let an image past the policy.
func (p *Policy) AllowsExceptions() bool { return p.exceptions == v1alpha1.PermissionAllow }

// NeedsVulnerabilities tells whether findings of the policy may be others once
// the vulnerabilities of the image are known one by one.
func (p *Policy) NeedsVulnerabilities(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool {
		switch f.Check {
		case CheckVulnerabilities:
			return p.counted.narrows()
		case CheckSeverityLevel:
			return len(p.counted.ignored) > 0
		default:
			return false
		}
	})
}

// Pins tells whether the policy has pods run the digest that HSS scanned. One
// that only audits changes nothing.
func (p *Policy) Pins() bool { return p.pins && p.enforcement != v1alpha1.EnforcementAudit }

// MatchesObject tells whether the policy judges pods with objectLabels in a
// namespace with namespaceLabels.
func (p *Policy) MatchesObject(namespaceLabels, objectLabels map[string]string) bool {
	return p.matcher.namespaces.Matches(labels.Set(namespaceLabels)) &&
		p.matcher.objects.Matches(labels.Set(objectLabels))
}

// MatchesImage tells whether the policy judges images of repository, the
// "host/path" of a normalised reference.
func (p *Policy) MatchesImage(repository string) bool {
	return p.matcher.matchesImage(repository)
}

func compile(p *v1alpha1.ImageScanPolicy) (*Policy, field.ErrorList) {
	spec := field.NewPath("spec")
	compiled := &Policy{name: p.Name, pins: p.Spec.Pin}
	errs := compiled.setActions(&p.Spec, spec)
	var bad field.ErrorList
	compiled.matcher, bad = compileMatch(&p.Spec.Match, spec.Child("match"))
	errs = append(errs, bad...)
	compiled.counted = ruleOf(&p.Spec.Require)
	compiled.requirements, bad = compileRequirements(&p.Spec.Require, spec.Child("require"))
	for i := range compiled.requirements {
		sc := compiled.requirements[i].scope
		compiled.ofScope[sc] = append(compiled.ofScope[sc], i)
	}
	return compiled, append(errs, bad...)
}

// setActions sets what violations do: the default if s leaves it out, the
// strictest if it can't be read.
func (p *Policy) setActions(s *v1alpha1.ImageScanPolicySpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	note := func(err *field.Error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err *field.Error
	p.enforcement, err = choose(path.Child("enforcement"), s.Enforcement, v1alpha1.EnforcementDeny,
		v1alpha1.EnforcementDeny, v1alpha1.EnforcementWarn, v1alpha1.EnforcementAudit)
	note(err)
	p.templates, err = choose(path.Child("templates"), s.Templates, v1alpha1.TemplateWarn,
		v1alpha1.TemplateDeny, v1alpha1.TemplateWarn, v1alpha1.TemplateIgnore)
	note(err)
	p.exceptions, err = choose(path.Child("exceptions"), s.Exceptions, v1alpha1.PermissionAllow, v1alpha1.PermissionForbid, v1alpha1.PermissionAllow)
	note(err)
	note(p.setGrace(s, path))
	when := path.Child("when")
	p.when.NotFound, err = chooseAction(when.Child("notFound"), s.When.NotFound)
	note(err)
	p.when.NotScanned, err = chooseAction(when.Child("notScanned"), s.When.NotScanned)
	note(err)
	p.when.Unavailable, err = chooseAction(when.Child("unavailable"), s.When.Unavailable)
	note(err)
	return errs
}

func chooseAction(path *field.Path, action v1alpha1.Action) (v1alpha1.Action, *field.Error) {
	return choose(path, action, v1alpha1.ActionDeny,
		v1alpha1.ActionDeny, v1alpha1.ActionWarn, v1alpha1.ActionAudit, v1alpha1.ActionAllow)
}

// choose returns value if it is one of allowed, whose first is the strictest.
func choose[T ~string](path *field.Path, value, byDefault T, allowed ...T) (T, *field.Error) {
	if value == "" {
		return byDefault, nil
	}
	if slices.Contains(allowed, value) {
		return value, nil
	}
	return allowed[0], field.NotSupported(path, value, allowed)
}
