package policy

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The number of vulnerabilities that HSS found in an image is bounded; those that
are too mild, that nothing fixes or that are to be ignored can be left out.

	forbids:  more than vulnerabilities.max, a missing number
	allows:   0 to the maximum
	judges:   each record and each of its architectures
*/

func checkVulnerabilities() check {
	return check{id: CheckVulnerabilities, scope: ofScan, needsResult: true, compile: compileVulnerabilities}
}

func compileVulnerabilities(r *v1alpha1.Requirements, path *field.Path) ([]judge, field.ErrorList) {
	errs := validateVulnerabilities(r.IgnoreVulnerabilities, path.Child("ignoreVulnerabilities"))
	if r.Vulnerabilities == nil {
		if len(r.IgnoreVulnerabilities) > 0 {
			errs = append(errs, field.Forbidden(path.Child("ignoreVulnerabilities"), "needs vulnerabilities: nothing else counts them"))
		}
		return nil, errs
	}
	path = path.Child("vulnerabilities")
	rule := ruleOf(r)
	if rule.minSeverity != "" && severityRank(rule.minSeverity) <= severityRank(v1alpha1.SeveritySecurity) {
		errs = append(errs, field.NotSupported(path.Child("minSeverity"), rule.minSeverity, []v1alpha1.Severity{v1alpha1.SeverityLow, v1alpha1.SeverityMedium, v1alpha1.SeverityHigh}))
		rule.minSeverity = ""
	}
	counted := counted{one: "vulnerability", many: "vulnerabilities", of: rule.count, more: rule.says}
	judges, bad := compileCount(counted, &v1alpha1.CountRequirement{Max: r.Vulnerabilities.Max}, path)
	return judges, append(errs, bad...)
}

// ruleOf is what a policy says about vulnerabilities, which it may not at all.
func ruleOf(r *v1alpha1.Requirements) vulnerabilityRule {
	rule := vulnerabilityRule{ignored: slices.Clone(r.IgnoreVulnerabilities)}
	if r.Vulnerabilities != nil {
		rule.minSeverity, rule.fixableOnly = r.Vulnerabilities.MinSeverity, r.Vulnerabilities.FixableOnly
	}
	return rule
}

// vulnerabilityRule tells which vulnerabilities count.
type vulnerabilityRule struct {
	minSeverity v1alpha1.Severity
	fixableOnly bool
	ignored     []string
}

// narrows tells whether any can be left out.
func (r *vulnerabilityRule) narrows() bool {
	return r.minSeverity != "" || r.fixableOnly || len(r.ignored) > 0
}

// count is the number of those that count. All do that aren't known one by one.
func (r *vulnerabilityRule) count(s *Scan) *int {
	if s.Vulnerabilities == nil || s.Found == nil || !r.narrows() {
		return s.Vulnerabilities
	}
	return new(s.number(r.counts))
}

// counts tells whether one counts: what isn't known of it is for the worst.
func (r *vulnerabilityRule) counts(v Vulnerability) bool {
	switch {
	case slices.Contains(r.ignored, v.ID):
		return false
	case r.fixableOnly && v.Fix == "":
		return false
	case r.minSeverity != "" && severityRank(v.Severity) > 0:
		return severityRank(v.Severity) >= severityRank(r.minSeverity)
	}
	return true
}

// says explains the number of a scan, in words after it.
func (r *vulnerabilityRule) says(s *Scan) string {
	if s.Found == nil {
		return r.saysUnlisted(s)
	}
	var parts []string
	if r.narrows() {
		if r.minSeverity != "" && r.minSeverity != v1alpha1.SeverityLow {
			parts = append(parts, "of severity "+string(r.minSeverity)+orWorse(r.minSeverity))
		}
		if r.fixableOnly {
			parts = append(parts, "with a fix")
		}
		parts = []string{strings.Join(parts, ", "), fmt.Sprintf("%d in all", s.number(every))}
	}
	parts = append(parts, worst(*r.count(s), s.Found, r.counts))
	return inParentheses(parts...)
}

// saysUnlisted explains why all count that might not.
func (r *vulnerabilityRule) saysUnlisted(s *Scan) string {
	switch {
	case !r.narrows():
		return ""
	case s.Unlisted == "":
		return " (all count, since they are not known one by one)"
	}
	return fmt.Sprintf(" (all count, since they are not known one by one: %s)", clean(s.Unlisted))
}

// inParentheses puts parts that aren't empty behind a text.
func inParentheses(parts ...string) string {
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

func orWorse(s v1alpha1.Severity) string {
	if s == v1alpha1.SeverityHigh {
		return ""
	}
	return " or worse"
}
