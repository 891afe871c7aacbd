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

	forbids:   an image that has one of forbiddenVulnerabilities, by the list of its
	           vulnerabilities or by the index of affected images
	allows:    others
	evaluates: each record and each of its architectures
*/
func compileForbidden(r *v1alpha1.Requirements, _ *field.Path) ([]rule, field.ErrorList) {
	if len(r.ForbiddenVulnerabilities) == 0 {
		return nil, nil
	}
	forbidden := slices.Clone(r.ForbiddenVulnerabilities)
	return []rule{{"none of " + strings.Join(forbidden, ", "), func(_ context.Context, s subject) string {
		if s.hasNone() {
			return ""
		}
		var has []string
		var found, indexed []Vulnerability
		for _, id := range forbidden {
			listed, others := s.found(id)
			if len(listed)+len(others) > 0 {
				has, found, indexed = append(has, id), append(found, listed...), append(indexed, others...)
			}
		}
		if len(has) == 0 {
			return ""
		}
		return s.Sprintf("has forbidden %s%s", s.some(has), inParentheses(s.Language, worst(s.Language, found), s.listedAs(indexed, has, found)))
	}}}, nil
}

/*
Vulnerabilities that no image may have, and that this one is not known to have.

	forbids:   an image that may have one of forbiddenVulnerabilities: its
	           vulnerabilities, or their CVEs, are not all known
	allows:    an image without vulnerabilities, one that cannot have any of them, and
	           one that has any of them, which is another finding
	evaluates: each record and each of its architectures
*/
func compilePossible(r *v1alpha1.Requirements, path *field.Path) ([]rule, field.ErrorList) {
	has, _ := compileForbidden(r, path)
	if len(has) == 0 {
		return nil, nil
	}
	forbidden := slices.Clone(r.ForbiddenVulnerabilities)
	return []rule{{"", func(ctx context.Context, s subject) string {
		if s.hasNone() || s.state != StateFound { // when.unavailable decides about what is not known
			return ""
		}
		var possible []string
		for _, id := range forbidden {
			if !s.affected(id).excludes(s.record) {
				possible = append(possible, id)
			}
		}
		if len(possible) == 0 || has[0].violation(ctx, s) != "" {
			return ""
		}
		return s.mayHave(possible)
	}}}, nil
}

// hasNone reports whether the scan counts no vulnerabilities.
func (s *subject) hasNone() bool {
	n := s.scan.Vulnerabilities
	return n == nil && s.perArchitecture || n != nil && *n == 0
}

// found returns the vulnerabilities that have an identifier: of the scan, and of its index.
func (s *subject) found(id string) (listed, indexed []Vulnerability) {
	listed = filtered(s.scan.Found, func(v *Vulnerability) bool { return s.match(v, []string{id}) == isOne })
	return listed, s.affected(id).found(s.record, s.architecture)
}

// listedAs names those of vulnerabilities that are neither among identifiers nor listed.
func (s *subject) listedAs(all []Vulnerability, ids []string, listed []Vulnerability) string {
	for i := range listed {
		ids = append(ids, listed[i].ID)
	}
	var advisories []string
	for i := range all {
		if id := all[i].ID; !slices.Contains(ids, id) {
			ids, advisories = append(ids, id), append(advisories, brief(id))
		}
	}
	if len(advisories) == 0 {
		return ""
	}
	return s.Sprintf("listed by HSS as %s", s.some(advisories))
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
			if a.lists(v.ID) {
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
