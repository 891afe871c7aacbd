package policy

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// compileIgnored returns the entries that have an end. An identifier that has several
// is not among them, so that it counts.
func compileIgnored(entries []v1alpha1.IgnoredVulnerability, path *field.Path) (single []v1alpha1.IgnoredVulnerability, errs field.ErrorList) {
	for i := range entries {
		same := func(o v1alpha1.IgnoredVulnerability) bool { return o.ID == entries[i].ID }
		switch {
		case slices.ContainsFunc(entries[:i], same):
			errs = append(errs, field.Duplicate(path.Index(i).Child("id"), entries[i].ID))
		case entries[i].ExpiresAt.IsZero():
			errs = append(errs, field.Required(path.Index(i).Child("expiresAt"), "an entry has an id, a reason and an end: "+entries[i].ID+" counts until it has"))
		case !slices.ContainsFunc(entries[i+1:], same):
			single = append(single, entries[i])
		}
	}
	return single, errs
}

// ignoredWords returns what is ignored until when.
func ignoredWords(entries []v1alpha1.IgnoredVulnerability) string {
	words := make([]string, len(entries))
	for i := range entries {
		words[i] = entries[i].ID + " until " + formatTime(entries[i].ExpiresAt.Time)
	}
	return strings.Join(words, ", ")
}

// ignoredAt returns the identifiers that do not count at the time now.
func (p *Policy) ignoredAt(now time.Time) (ids []string) {
	for i := range p.ignored {
		if now.Before(p.ignored[i].ExpiresAt.Time) {
			ids = append(ids, p.ignored[i].ID)
		}
	}
	return ids
}

// noteEnded adds to findings about vulnerabilities which of those of the image are no
// longer ignored.
func (p *Policy) noteEnded(findings []Finding, f *Facts, now time.Time) []Finding {
	if len(findings) == 0 {
		return findings
	}
	var ended []string
	for i := range p.ignored {
		if one := &p.ignored[i]; !now.Before(one.ExpiresAt.Time) && f.lists(one.ID) {
			ended = append(ended, p.language.Sprintf("%s since %s", one.ID, formatTime(one.ExpiresAt.Time)))
		}
	}
	if more := len(ended) - maxWorst; more > 0 {
		ended = append(ended[:maxWorst], p.language.Sprintf("and %d more", more))
	}
	if len(ended) == 0 {
		return findings
	}
	note := p.language.Sprintf(" (no longer ignored: %s)", strings.Join(ended, p.language.Text(", ")))
	for i := range findings {
		if c := findings[i].Check; c == CheckVulnerabilities || c == CheckSeverityLevel {
			findings[i].Message += note
		}
	}
	return findings
}

// lists reports whether a vulnerability is among those that are known one by one.
func (f *Facts) lists(id string) (listed bool) {
	f.eachVulnerability(func(_ *Record, v *Vulnerability) { listed = listed || v.match(id) == isOne })
	return listed
}
