package policy

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The severity level that HSS gives an image is limited.

	forbids:   a level above severityLevel.max, a missing one, an unknown one
	allows:    Security < Low < Medium < High, up to the maximum; Security only if
	           none of the architectures has vulnerabilities or malicious files
	evaluates: each record; HSS gives architectures no level of their own
*/
func compileSeverity(r *v1alpha1.Requirements, path *field.Path) ([]rule, field.ErrorList) {
	if r.SeverityLevel == nil {
		return nil, nil
	}
	limit := r.SeverityLevel.Max
	var errs field.ErrorList
	if severityRank(limit) == 0 {
		errs = append(errs, field.NotSupported(path.Child("severityLevel", "max"), limit, severities()))
	}
	allowed, counting := severities()[:severityRank(limit)], countingOf(r)
	return []rule{{"at most " + string(limit), func(_ context.Context, s subject) string {
		if s.record.Severity == v1alpha1.SeveritySecurity && slices.ContainsFunc(s.record.Architectures, Architecture.hasFindings) {
			return s.Sprintf("severity unknown, as HSS says %s and counts findings in an architecture, allowed %s",
				s.Text(string(s.record.Severity)), s.Text(string(limit)))
		}
		if slices.Contains(allowed, s.record.Severity) {
			return ""
		}
		message := severityMessage(s.Language, s.record.Severity, limit)
		// A number of vulnerabilities that is too high names the worst itself.
		if counting.exceeded(s.scan, s.now) {
			return message
		}
		var found []Vulnerability
		for _, scan := range s.record.scans() {
			found = append(found, scan.Found...)
		}
		return message + inParentheses(s.Language, worst(s.Language, found))
	}}}, errs
}

func (a Architecture) hasFindings() bool {
	some := func(n *int) bool { return n != nil && *n > 0 }
	return some(a.Scan.Vulnerabilities) || some(a.Scan.MaliciousFiles)
}

// severityMessage describes a level that is not allowed.
func severityMessage(l language.Language, level, limit v1alpha1.Severity) string {
	switch allowed := l.Text(clean(string(limit))); {
	case level == "":
		return l.Sprintf("severity unknown, allowed %s", allowed)
	case severityRank(level) == 0:
		return l.Sprintf("unknown severity %q, allowed %s", clean(string(level)), allowed)
	default:
		return l.Sprintf("severity %s, allowed %s", l.Text(string(level)), allowed)
	}
}

// severities returns the known levels, from harmless to worst.
func severities() []v1alpha1.Severity {
	return []v1alpha1.Severity{
		v1alpha1.SeveritySecurity, v1alpha1.SeverityLow, v1alpha1.SeverityMedium, v1alpha1.SeverityHigh,
	}
}

// severityRank orders the known levels from 1; an unknown one has 0.
func severityRank(s v1alpha1.Severity) int {
	return slices.Index(severities(), s) + 1
}
