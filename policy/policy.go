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
// Each requirement has a file of its own, check_….go; the two that only count share
// one. docs/contributing.md shows how to add one.
package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy/glob"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Policy is a compiled ImageScanPolicy. It is immutable and safe for concurrent
// use.
type Policy struct {
	matcher

	name        string
	language    language.Language
	enforcement v1alpha1.Enforcement
	templates   v1alpha1.TemplateAction
	exceptions  v1alpha1.Permission
	pins        bool
	when        v1alpha1.When
	counting    counting
	ignored     []v1alpha1.IgnoredVulnerability
	forbidden   []string
	rules       []*compiledRule
	byScope     [ofScan + 1][]*compiledRule
	// needsResult reports whether any rule needs the result of a scan.
	needsResult    bool
	hasExpressions bool
	// secrets reports whether these are limited.
	secrets bool
	reads   reads
	grace   time.Duration
}

// Compile prepares p for evaluation, with the schema's defaults for what is left
// out. The policy is never nil. Where p is invalid, it fails closed: an invalid
// selector or glob matches everything (an exclusion nothing), an unknown value is
// the strictest, and an expression that does not compile is a finding for every
// image. It also returns every problem, with its field, that the schema does not
// find: these, and values of a newer schema.
func Compile(p *v1alpha1.ImageScanPolicy) (*Policy, field.ErrorList) {
	s, spec := &p.Spec, field.NewPath("spec")
	compiled := &Policy{
		name: p.Name, pins: s.Pin, hasExpressions: len(s.Require.Expressions) > 0, secrets: s.Require.Secrets != nil,
		counting:  countingOf(&s.Require),
		forbidden: slices.Clone(s.Require.ForbiddenVulnerabilities), reads: readsOf(s.Require.Expressions),
	}
	if s.Grace != nil {
		compiled.grace = s.Grace.Period.Duration
	}
	errs := compiled.setActions(s, spec)
	errs = append(errs, compiled.setMatch(&s.Match, spec.Child("match"))...)
	require := spec.Child("require")
	var duplicates field.ErrorList
	compiled.ignored, duplicates = compileIgnored(s.Require.IgnoreVulnerabilities, require.Child("ignoreVulnerabilities"))
	errs = append(errs, duplicates...)
	for _, c := range checks() {
		rules, invalid := c.compile(&s.Require, require)
		errs = append(errs, invalid...)
		for _, r := range rules {
			one := &compiledRule{check: c, rule: r, place: len(compiled.rules)}
			compiled.rules, compiled.byScope[c.scope] = append(compiled.rules, one), append(compiled.byScope[c.scope], one)
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

// In returns the policy with its findings in a language.
func (p *Policy) In(l language.Language) *Policy {
	in := *p
	in.language = l
	return &in
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
	for _, r := range p.rules {
		if r.text != "" {
			all = append(all, Requirement{r.id, r.text})
		}
	}
	return all
}

// NeedsVulnerabilities reports whether findings of the policy could change once
// the vulnerabilities of the image are known one by one.
func (p *Policy) NeedsVulnerabilities(findings []Finding) bool {
	certain := slices.ContainsFunc(findings, func(f Finding) bool { return f.Check == CheckForbidden && !f.Unsure })
	return p.reads.findings || slices.ContainsFunc(findings, func(f Finding) bool {
		switch f.Check {
		case CheckForbidden:
			return !certain
		case CheckVulnerabilities:
			return p.counting.needsList()
		case CheckSeverityLevel, CheckExpression:
			return p.counting.ignores
		default:
			return false
		}
	})
}

// Forbidden returns the forbidden vulnerabilities, which must not be changed.
func (p *Policy) Forbidden() []string { return p.forbidden }

// matcher selects the pods and images that a policy evaluates.
type matcher struct {
	namespaces, pods labels.Selector
	// allImages is true without globs, and if any of them is invalid.
	allImages          bool
	included, excluded glob.Set
}

// SelectsNamespaces reports whether the policy has a namespace selector. Only then
// the labels of a namespace must be known.
func (m *matcher) SelectsNamespaces() bool { return !m.namespaces.Empty() }

// MatchesNamespace reports whether the policy selects a namespace with these labels.
func (m *matcher) MatchesNamespace(namespaceLabels map[string]string) bool {
	return m.namespaces.Matches(labels.Set(namespaceLabels))
}

// MatchesPod reports whether the policy selects a pod with these labels in a
// namespace that it selects.
func (m *matcher) MatchesPod(podLabels map[string]string) bool {
	return m.pods.Matches(labels.Set(podLabels))
}

// MatchesImage reports whether the policy selects images of a repository, the
// "host/path" of a normalised reference.
func (m *matcher) MatchesImage(repository string) bool {
	return (m.allImages || m.included.Match(repository)) && !m.excluded.Match(repository)
}

// MayMatch reports whether the policy may match an image that an exception
// selects by pattern, a glob or a digest.
func (m *matcher) MayMatch(pattern string) bool {
	return namesDigest(pattern) || strings.Contains(pattern, "*") || m.MatchesImage(glob.Normalize(pattern))
}

// setMatch matches too much rather than too little where match is invalid.
func (m *matcher) setMatch(match *v1alpha1.Match, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	m.namespaces = compileSelector(&errs, match.NamespaceSelector, path.Child("namespaceSelector"))
	m.pods = compileSelector(&errs, match.ObjectSelector, path.Child("objectSelector"))
	m.included = compileGlobs(&errs, match.Images, path.Child("images"))
	m.allImages = len(m.included) < len(match.Images) || len(match.Images) == 0
	m.excluded = compileGlobs(&errs, match.ExcludeImages, path.Child("excludeImages"))
	return errs
}

// compileSelector returns a selector of everything for one that is invalid.
func compileSelector(errs *field.ErrorList, s *metav1.LabelSelector, path *field.Path) labels.Selector {
	if s == nil {
		return labels.Everything()
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		*errs = append(*errs, field.Invalid(path, field.OmitValueType{}, err.Error()))
		return labels.Everything()
	}
	return selector
}

// compileGlobs leaves out patterns that are invalid, and digests, which only
// exceptions name.
func compileGlobs(errs *field.ErrorList, patterns []string, path *field.Path) (globs glob.Set) {
	for i, pattern := range patterns {
		if namesDigest(pattern) {
			continue
		}
		g, err := glob.Compile(pattern)
		if err != nil {
			*errs = append(*errs, field.Invalid(path.Index(i), pattern, err.Error()))
			continue
		}
		globs = append(globs, g)
	}
	return globs
}

// MatchesNothing returns why m can match no image of any pod, and an empty string
// where it may match one. Nothing is evaluated in the exempt namespaces.
func MatchesNothing(m *v1alpha1.Match, exempt []string) string {
	if s, err := metav1.LabelSelectorAsSelector(m.NamespaceSelector); err == nil {
		if name, only := s.RequiresExactMatch(corev1.LabelMetadataName); only && slices.Contains(exempt, name) {
			return fmt.Sprintf("match.namespaceSelector selects only namespace %s, which is exempt", name)
		}
	}
	images := m.Images
	if len(images) == 0 {
		images = []string{"**"}
	}
	for _, image := range images {
		if !slices.ContainsFunc(m.ExcludeImages, func(excluded string) bool { return glob.Covers(excluded, image) }) {
			return ""
		}
	}
	return "match.excludeImages excludes every image that the policy could match"
}
