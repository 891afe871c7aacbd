package policy

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The number of vulnerabilities that HSS found is limited. Those that are too mild,
that have no fix, or that are to be ignored can be left out.

	forbids:   more than vulnerabilities.max, a missing number
	allows:    0 to the maximum
	evaluates: each record and each of its architectures
*/
func compileVulnerabilities(r *v1alpha1.Requirements, path *field.Path) ([]rule, field.ErrorList) {
	if r.Vulnerabilities == nil {
		return nil, nil
	}
	counting := countingOf(r)
	found := count{one: "vulnerability", many: "vulnerabilities", of: counting.number, explain: counting.explain}
	rules, errs := found.compile(&v1alpha1.CountRequirement{Max: r.Vulnerabilities.Max})
	if counting.minSeverity != r.Vulnerabilities.MinSeverity {
		errs = append(errs, field.NotSupported(path.Child("vulnerabilities", "minSeverity"), r.Vulnerabilities.MinSeverity, severities()[1:]))
	}
	words := counting.words()
	if len(counting.ignored) > 0 {
		words = append(words, "except "+strings.Join(counting.ignored, ", "))
	}
	rules[0].text += inParentheses(strings.Join(words, ", "))
	return rules, errs
}
