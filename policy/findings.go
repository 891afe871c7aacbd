package policy

import (
	"slices"
	"strings"

	apiservercel "k8s.io/apiserver/pkg/cel"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// reads is which details of vulnerabilities the expressions of a policy read.
type reads struct{ findings, cves, times bool }

// The fields of expressions that need details.
const (
	fieldFindings    = "findings"
	fieldCVEs        = "cves"
	fieldCVSS        = "cvss"
	fieldPublishedAt = "publishedAt"
)

// readsOf errs on the side of too much: a field can only be read by its name.
func readsOf(expressions []v1alpha1.Expression) (r reads) {
	for _, e := range expressions {
		if strings.Contains(e.Expression, fieldFindings) {
			r.findings = true
			r.times = r.times || strings.Contains(e.Expression, fieldPublishedAt)
			r.cves = r.cves || r.times || strings.Contains(e.Expression, fieldCVEs) || strings.Contains(e.Expression, fieldCVSS)
		}
	}
	return r
}

// findingsType declares single vulnerabilities to CEL. The score and the time are
// absent if they are not known of each CVE, and so is the whole list.
func findingsType() *apiservercel.DeclType {
	text := apiservercel.StringType
	return apiservercel.NewListType(objectType("hssgate.Vulnerability", map[string]*apiservercel.DeclType{
		"id": text, "severity": text, "package": text, "installed": text, "fix": text, "fixed": apiservercel.BoolType,
		fieldCVEs: apiservercel.NewListType(text, maxCVEs), fieldCVSS: apiservercel.DoubleType, fieldPublishedAt: apiservercel.TimestampType,
	}), maxFindings)
}

// setFindings sets the vulnerabilities of a scan, if all that HSS counts are listed.
func setFindings(value map[string]any, s *Scan) {
	if s.Vulnerabilities == nil || s.Found == nil && *s.Vulnerabilities != 0 || *s.Vulnerabilities > len(s.Found) {
		return
	}
	findings := make([]map[string]any, len(s.Found))
	for i := range s.Found {
		v := &s.Found[i]
		findings[i] = map[string]any{
			"id": v.ID, "severity": string(v.Severity), "package": v.Package, "installed": v.Installed, "fix": v.Fix, "fixed": v.Fix != "",
			fieldCVEs: v.CVEIDs(),
		}
		if score, known := v.score(); known {
			findings[i][fieldCVSS] = float64(score)
		}
		setTime(findings[i], fieldPublishedAt, v.published())
	}
	value[fieldFindings] = findings
}

// CVENeeds are what a decision needs to know of the vulnerabilities in facts.
type CVENeeds struct {
	// CVEs reports whether their CVEs and scores are needed, Times whether the times of
	// publication are.
	CVEs, Times bool
}

// CVENeeds returns what findings of the policy about f depend on, and is not known.
func (p *Policy) CVENeeds(f *Facts, findings []Finding) (d CVENeeds) {
	reads, cves, forbids := p.reads, false, false
	for i := range findings {
		switch findings[i].Check {
		case CheckVulnerabilities:
			reads.cves, reads.times = reads.cves || p.counting.minCVSS > 0, reads.times || p.counting.olderThan > 0
			cves = p.ignoresCVEs()
		case CheckSeverityLevel, CheckExpression:
			cves = p.ignoresCVEs()
		case CheckForbidden:
			forbids = true
		}
	}
	if !reads.cves && !reads.times && !cves && !forbids {
		return d
	}
	f.eachVulnerability(func(r *Record, v *Vulnerability) {
		one := v.lacks(reads, cves)
		d.Times, d.CVEs = d.Times || one.Times, d.CVEs || one.CVEs || forbids && p.mayForbid(f, r, v)
	})
	return d
}

// lacks returns what is not known of the vulnerability, of what is read, and of its CVEs.
func (v *Vulnerability) lacks(r reads, cves bool) CVENeeds {
	_, scored := v.score()
	return CVENeeds{CVEs: r.cves && !scored || cves && v.isUnresolved(), Times: r.times && v.published().IsZero()}
}

// mayForbid reports whether it depends on the CVEs of a vulnerability if it is forbidden.
func (p *Policy) mayForbid(f *Facts, r *Record, v *Vulnerability) bool {
	s := subject{record: r, indexes: f.Affected}
	return s.match(v, p.forbidden) == mayBe
}

// ignoresCVEs reports whether it depends on CVEs what the policy ignores: none that may
// be forbidden.
func (p *Policy) ignoresCVEs() bool {
	return slices.ContainsFunc(p.ignored, func(v v1alpha1.IgnoredVulnerability) bool { return IsCVE(v.ID) }) || len(p.ignored) > 0 && len(p.forbidden) > 0
}

// NeedsCVEs reports whether the exception names CVEs, and those of the vulnerabilities
// in f are not known.
func (e *Exception) NeedsCVEs(f *Facts) (needs bool) {
	if slices.ContainsFunc(e.vulnerabilities, IsCVE) {
		f.eachVulnerability(func(_ *Record, v *Vulnerability) { needs = needs || v.isUnresolved() })
	}
	return needs
}

// isUnresolved reports whether it is not known which CVEs the vulnerability stands for.
func (v *Vulnerability) isUnresolved() bool { return len(v.CVEs) == 0 && !IsCVE(v.ID) }

// eachVulnerability calls do for each one that is listed.
func (f *Facts) eachVulnerability(do func(*Record, *Vulnerability)) {
	for i := range f.Records {
		for r := &f.Records[i]; r != nil; r = r.LastCompleted {
			for _, s := range r.scans() {
				for n := range s.Found {
					do(r, &s.Found[n])
				}
			}
		}
	}
}

// WithCVEs returns vulnerabilities with their CVEs, where something needed is not known
// and cvesOf returns any. It modifies none. cvesOf is optional.
func WithCVEs(found []Vulnerability, d CVENeeds, cvesOf func(id string) []CVE) []Vulnerability {
	if cvesOf == nil || !slices.ContainsFunc(found, func(v Vulnerability) bool { return d.lackedBy(&v) }) {
		return found
	}
	found = slices.Clone(found)
	for n := range found {
		if v := &found[n]; d.lackedBy(v) {
			if cves := cvesOf(v.ID); len(cves) > 0 {
				v.CVEs = cves
			}
		}
	}
	return found
}

// AddCVEs does the same for all that are listed. It modifies the scans, which must not be
// shared.
func (f *Facts) AddCVEs(d CVENeeds, cvesOf func(id string) []CVE) {
	for i := range f.Records {
		for r := &f.Records[i]; r != nil; r = r.LastCompleted {
			for _, s := range r.scans() {
				s.Found = WithCVEs(s.Found, d, cvesOf)
			}
		}
	}
}

// lackedBy reports whether something needed is not known of a vulnerability.
func (d CVENeeds) lackedBy(v *Vulnerability) bool {
	_, scored := v.score()
	return d.Times && v.published().IsZero() || d.CVEs && !scored
}

// Lacking returns the identifiers of the listed vulnerabilities of which something
// needed is not known, each once.
func (f *Facts) Lacking(d CVENeeds) (ids []string) {
	seen := map[string]bool{}
	f.eachVulnerability(func(_ *Record, v *Vulnerability) {
		if d.lackedBy(v) && !seen[v.ID] {
			seen[v.ID] = true
			ids = append(ids, v.ID)
		}
	})
	return ids
}
