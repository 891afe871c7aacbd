package policy

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
Vulnerabilities that no image may have, whatever their severity and fix.

	forbids:   an image that has one of forbiddenVulnerabilities, or may have one:
	           its vulnerabilities, or their CVEs, are not all known
	allows:    an image without vulnerabilities, and one that cannot have any of them
	evaluates: each record and each of its architectures
*/
func compileForbidden(r *v1alpha1.Requirements, _ *field.Path) ([]rule, field.ErrorList) {
	if len(r.ForbiddenVulnerabilities) == 0 {
		return nil, nil
	}
	forbidden := slices.Clone(r.ForbiddenVulnerabilities)
	return []rule{{"none of " + strings.Join(forbidden, ", "), func(_ context.Context, s subject) string {
		if n := s.scan.Vulnerabilities; n == nil && s.perArchitecture || n != nil && *n == 0 {
			return ""
		}
		has := filtered(s.scan.Found, func(v *Vulnerability) bool { return s.match(v, forbidden) == isOne })
		if len(has) > 0 {
			isAmong := func(id string) bool {
				return slices.ContainsFunc(has, func(v Vulnerability) bool { return s.match(&v, []string{id}) == isOne })
			}
			return s.Sprintf("has forbidden %s%s", s.some(slices.DeleteFunc(slices.Clone(forbidden), func(id string) bool { return !isAmong(id) })),
				inParentheses(s.Language, worst(s.Language, has)))
		}
		if s.state != StateFound {
			return "" // when.unavailable decides about what is not known
		}
		return s.mayHave(slices.DeleteFunc(slices.Clone(forbidden), func(id string) bool { return s.affected(id).excludes(s.record) }))
	}}}, nil
}

// affected returns the index of a vulnerability; nil: there is none.
func (s *subject) affected(id string) *Affected {
	for _, a := range s.indexes {
		if a.ID == id {
			return a
		}
	}
	return nil
}

// match compares a vulnerability of the scan with identifiers: by its own, its CVEs, or
// else by the advisories of an index.
func (s *subject) match(v *Vulnerability, ids []string) (best match) {
	for _, id := range ids {
		m := v.match(id)
		if a := s.affected(id); m == mayBe && v.ID != "" && a.isOf(s.record) {
			m = isNone
			if slices.Contains(a.Advisories, v.ID) {
				m = isOne
			}
		}
		best = max(best, m)
	}
	return best
}

// mayHave returns which identifiers may be of vulnerabilities that the scan found, and
// why that is not known; empty: none.
func (s *subject) mayHave(ids []string) string {
	var why string
	switch found, counted := s.scan.Found, s.scan.Vulnerabilities; {
	case counted == nil || *counted < 0:
		why = s.Text("the number of its vulnerabilities is unknown")
	case found == nil && s.scan.Unlisted == "":
		why = s.Text("its vulnerabilities are not known one by one")
	case found == nil:
		why = s.Sprintf("its vulnerabilities are not known one by one: %s", clean(s.scan.Unlisted))
	case len(found) < *counted:
		why = s.Sprintf("HSS counts %d vulnerabilities and lists %d", *counted, len(found))
	default:
		unclear := filtered(found, func(v *Vulnerability) bool { return s.match(v, ids) == mayBe })
		if len(unclear) == 0 {
			return ""
		}
		why = s.Sprintf("CVEs are unknown: %s", worst(s.Language, unclear))
	}
	if len(ids) == 0 {
		return ""
	}
	return s.Sprintf("may have forbidden %s: %s", s.some(ids), why)
}

// some names a few identifiers.
func (s *subject) some(ids []string) string {
	names := strings.Join(ids[:min(len(ids), maxWorst)], s.Text(", "))
	if more := len(ids) - maxWorst; more > 0 {
		names = s.Sprintf("%s and %d more", names, more)
	}
	return names
}
