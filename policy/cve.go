package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// CVE is one of the CVEs that a vulnerability stands for: an advisory has several.
type CVE struct {
	ID string `json:"id"`
	// CVSS is nil if the score is unknown, which counts as the highest.
	CVSS *v1alpha1.Score `json:"cvss,omitempty"`
	// PublishedAt is zero if the time is unknown, which counts as long ago.
	PublishedAt time.Time `json:"publishedAt,omitzero"`
}

// score returns the CVE's score.
func (c *CVE) score() v1alpha1.Score {
	if c.CVSS == nil {
		return v1alpha1.MaxScore
	}
	return *c.CVSS
}

// IsCVE reports whether an identifier is a CVE ID.
func IsCVE(id string) bool { return strings.HasPrefix(id, "CVE-") }

// SortCVEs orders CVEs, the worst first.
func SortCVEs(all []CVE) {
	slices.SortFunc(all, func(a, b CVE) int {
		return cmp.Or(cmp.Compare(b.score(), a.score()), strings.Compare(a.ID, b.ID))
	})
}

// CVEIDs returns the CVE IDs that the vulnerability stands for, the worst first; none
// if they are not known. One that HSS lists by a CVE ID is that CVE, too.
func (v *Vulnerability) CVEIDs() []string {
	var ids []string
	for i := range v.CVEs {
		ids = append(ids, v.CVEs[i].ID)
	}
	if IsCVE(v.ID) && !slices.Contains(ids, v.ID) {
		ids = append(ids, v.ID)
	}
	return ids
}

// isAmong reports whether identifiers name the vulnerability: HSS's own, or all of its
// CVEs.
func (v *Vulnerability) isAmong(ids []string) bool {
	if slices.Contains(ids, v.ID) {
		return true
	}
	missing := func(id string) bool { return !slices.Contains(ids, id) }
	cves := v.CVEIDs()
	return len(ids) > 0 && len(cves) > 0 && !slices.ContainsFunc(cves, missing)
}

// match is how a vulnerability compares with an identifier.
type match int

const (
	isNone match = iota
	// mayBe: the CVEs of the vulnerability are not known.
	mayBe
	isOne
)

// match compares the vulnerability with a CVE ID or the identifier of an advisory.
func (v *Vulnerability) match(id string) match {
	switch {
	case v.ID == id, slices.ContainsFunc(v.CVEs, func(c CVE) bool { return c.ID == id }):
		return isOne
	case v.ID == "", len(v.CVEs) == 0 && IsCVE(id) && !IsCVE(v.ID):
		return mayBe
	}
	return isNone
}

// score returns the highest score of the CVEs, and whether all are known: a score
// that is not known is the highest there is.
func (v *Vulnerability) score() (worst v1alpha1.Score, known bool) {
	for i := range v.CVEs {
		worst = max(worst, v.CVEs[i].score())
	}
	lacksScore := func(c CVE) bool { return c.CVSS == nil }
	if len(v.CVEs) == 0 || slices.ContainsFunc(v.CVEs, lacksScore) {
		return v1alpha1.MaxScore, false
	}
	return worst, true
}

// isScored reports whether the vulnerability has a score or a higher one, or may have.
func (v *Vulnerability) isScored(least v1alpha1.Score) bool {
	score, _ := v.score()
	return score >= least
}

// published returns when the first of the CVEs was published; zero: unknown of one.
func (v *Vulnerability) published() (first time.Time) {
	for i := range v.CVEs {
		at := v.CVEs[i].PublishedAt
		if at.IsZero() {
			return at
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// isFresh reports whether the vulnerability was published at most a time before now. A
// time in the future is none.
func (v *Vulnerability) isFresh(now time.Time, limit time.Duration) bool {
	at := v.published()
	age := now.Sub(at)
	return !at.IsZero() && age >= -clockTolerance && age <= limit
}

// label names the vulnerability by its worst CVE, with the identifier of the advisory
// and the score: "CVE-2021-44228 and 2 more (RHSA-2021:5137, CVSS 10.0)".
func (v *Vulnerability) label(l language.Language) string {
	var details []string
	name, more := brief(v.ID), 0
	if cves := v.CVEIDs(); len(cves) > 0 && !IsCVE(v.ID) {
		details = append(details, name)
		name, more = brief(cves[0]), len(cves)-1
	}
	if score, known := v.score(); known {
		details = append(details, "CVSS "+score.String())
	}
	name = cmp.Or(name, l.Text("unnamed"))
	if more > 0 {
		name = l.Sprintf("%s and %d more", name, more)
	}
	details = slices.DeleteFunc(details, func(detail string) bool { return detail == "" })
	if len(details) == 0 {
		return name
	}
	return name + l.Sprintf(" (%s)", strings.Join(details, l.Text(", ")))
}
