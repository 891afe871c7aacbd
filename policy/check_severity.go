package policy

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The severity level that HSS gives an image is bounded. One that is known to be
that of vulnerabilities which are to be ignored counts as that of the worst other.

	forbids:  a level above severityLevel.max, a missing one, one unknown to us
	allows:   Security < Low < Medium < High, up to the maximum
	judges:   each record; HSS gives architectures no level of their own
*/

func checkSeverity() check {
	return check{id: CheckSeverityLevel, scope: ofRecord, needsResult: true, compile: compileSeverity}
}

func compileSeverity(r *v1alpha1.Requirements, path *field.Path) ([]judge, field.ErrorList) {
	if r.SeverityLevel == nil {
		return nil, nil
	}
	limit := r.SeverityLevel.Max
	var errs field.ErrorList
	if severityRank(limit) == 0 {
		errs = append(errs, field.NotSupported(path.Child("severityLevel", "max"), limit, severities()))
	}
	// Whoever reads that there are too many vulnerabilities is told of the worst
	// there.
	counted, _ := compileVulnerabilities(r, path)
	ignored := slices.Clone(r.IgnoreVulnerabilities)
	return []judge{func(ctx context.Context, s *subject) string {
		message := judgeSeverity(s.record.Severity, limit)
		if message != "" && len(ignored) > 0 {
			message = judgeSeverity(s.record.severityWithout(ignored), limit)
		}
		if message == "" || slices.ContainsFunc(counted, func(j judge) bool { return j(ctx, s) != "" }) {
			return message
		}
		return message + inParentheses(s.record.worst(ignored))
	}}, errs
}

// worst names the worst vulnerabilities of the record and its architectures,
// which may share them.
func (r *Record) worst(ignored []string) string {
	var listed []Vulnerability
	unlisted := 0
	for _, s := range r.scans() {
		listed = append(listed, s.Found...)
		if s.Found != nil && s.Vulnerabilities != nil {
			unlisted = max(unlisted, *s.Vulnerabilities-len(s.Found))
		}
	}
	slices.SortFunc(listed, CompareVulnerabilities)
	listed = slices.DeleteFunc(slices.Compact(listed), func(v Vulnerability) bool { return slices.Contains(ignored, v.ID) })
	return worst(unlisted+len(listed), listed, every)
}

func judgeSeverity(level, limit v1alpha1.Severity) string {
	rank := severityRank(level)
	switch {
	case level == "":
		return fmt.Sprintf("severity unknown, allowed %s", clean(string(limit)))
	case rank == 0:
		return fmt.Sprintf("unknown severity %q, allowed %s", clean(string(level)), clean(string(limit)))
	case rank > severityRank(limit):
		return fmt.Sprintf("severity %s, allowed %s", level, clean(string(limit)))
	}
	return ""
}

// severities are the known levels, from harmless to worst.
func severities() []v1alpha1.Severity {
	return []v1alpha1.Severity{
		v1alpha1.SeveritySecurity, v1alpha1.SeverityLow, v1alpha1.SeverityMedium, v1alpha1.SeverityHigh,
	}
}

// severityRank orders the known levels from 1; an unknown one has 0.
func severityRank(s v1alpha1.Severity) int {
	switch s {
	case v1alpha1.SeveritySecurity:
		return 1
	case v1alpha1.SeverityLow:
		return 2
	case v1alpha1.SeverityMedium:
		return 3
	case v1alpha1.SeverityHigh:
		return 4
	}
	return 0
}
