package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/internal/language"
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
	found := count{
		one: "%d vulnerability, allowed %d", many: "%d vulnerabilities, allowed %d", unknown: "number of vulnerabilities unknown, allowed %d",
		of: counting.number, explain: counting.explain,
	}
	rules, errs := found.compile(&v1alpha1.CountRequirement{Max: r.Vulnerabilities.Max})
	if counting.minSeverity != r.Vulnerabilities.MinSeverity {
		errs = append(errs, field.NotSupported(path.Child("vulnerabilities", "minSeverity"), r.Vulnerabilities.MinSeverity, severities()[1:]))
	}
	words := counting.words(language.English)
	if len(r.IgnoreVulnerabilities) > 0 {
		words = append(words, "except "+ignoredWords(r.IgnoreVulnerabilities))
	}
	rules[0].text += inParentheses(language.English, strings.Join(words, ", "))
	return rules, errs
}

// Vulnerability is one that HSS found in an image.
type Vulnerability struct {
	// ID is its identifier, such as CVE-2024-1234.
	ID string `json:"id"`
	// Severity is High, Medium or Low; any other value counts as the worst.
	Severity v1alpha1.Severity `json:"severity"`
	// Package is what has it, in the version Installed.
	Package   string `json:"package,omitempty"`
	Installed string `json:"installed,omitempty"`
	// Fix is what fixes it, in HSS's words; empty only if HSS reports no fix.
	Fix string `json:"fix,omitempty"`
	// CVEs are those that it stands for, the worst first; empty: they are not known.
	// They are shared and must not be changed.
	CVEs []CVE `json:"cves,omitempty"`
}

// rank orders severities; an unknown one is the worst.
func (v *Vulnerability) rank() int {
	if rank := severityRank(v.Severity); rank > 0 {
		return rank
	}
	return severityRank(v1alpha1.SeverityHigh) + 1
}

// CompareVulnerabilities orders vulnerabilities, the worst first: by severity and
// known score, those with a fix before those without, then by their names.
func CompareVulnerabilities(a, b Vulnerability) int {
	unfixed := func(v Vulnerability) int {
		if v.Fix == "" {
			return 1
		}
		return 0
	}
	score := func(v Vulnerability) v1alpha1.Score {
		if score, known := v.score(); known {
			return score
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(b.rank(), a.rank()), cmp.Compare(score(b), score(a)), cmp.Compare(unfixed(a), unfixed(b)),
		strings.Compare(a.ID, b.ID), strings.Compare(a.Package, b.Package),
		strings.Compare(a.Installed, b.Installed), strings.Compare(a.Fix, b.Fix),
	)
}

// WithoutRepeats keeps the first entry of each vulnerability of a package, which
// is the worst if they are sorted. It modifies its argument.
func WithoutRepeats(found []Vulnerability) []Vulnerability {
	type key struct{ id, name, installed string }
	known := map[key]bool{}
	return slices.DeleteFunc(found, func(v Vulnerability) bool {
		k := key{v.ID, v.Package, v.Installed}
		repeated := known[k]
		known[k] = true
		return repeated
	})
}

// The limits of what a finding shows of vulnerabilities.
const (
	maxWorst      = 3
	maxBriefRunes = 40
	maxPathRunes  = 100
)

// String returns the vulnerability in a few words, without characters that could
// be mistaken for the text around it.
func (v *Vulnerability) String() string { return v.in(language.English) }

func (v *Vulnerability) in(l language.Language) string {
	words := []string{v.label(l)}
	for _, text := range []string{v.Package, v.Installed} {
		if text = brief(text); text != "" {
			words = append(words, text)
		}
	}
	if fix := brief(v.Fix); fix != "" {
		return strings.Join(words, " ") + " → " + fix
	}
	return strings.Join(words, " ") + l.Text(" (no fix)")
}

// brief makes a text from HSS fit for a list within a finding, whose parts are
// separated by semicolons and whose policy stands in brackets.
func brief(s string) string { return inList(s, maxBriefRunes) }

// briefPath is brief for the path of a file.
func briefPath(s string) string { return inList(s, maxPathRunes) }

func inList(s string, limit int) string {
	return clip(strings.TrimSpace(strings.NewReplacer(";", ",", "[", "(", "]", ")").Replace(s)), limit)
}

// countIf returns how many of the scan's vulnerabilities count. Those that HSS
// counts and does not list do. HSS may list more than it counts, a vulnerability
// once for each layer: repeats add nothing to what HSS counts.
func (s *Scan) countIf(counts func(*Vulnerability) bool) int {
	listed := filtered(s.Found, counts)
	n := max(0, *s.Vulnerabilities-len(s.Found)) + len(listed)
	if n <= *s.Vulnerabilities {
		return n
	}
	return max(*s.Vulnerabilities, len(WithoutRepeats(listed)))
}

// counting is which vulnerabilities count, and how many are allowed.
type counting struct {
	minSeverity v1alpha1.Severity
	minCVSS     v1alpha1.Score
	olderThan   time.Duration
	fixableOnly bool
	// ignores reports whether the policy ignores some, which Evaluate leaves out.
	ignores bool
	// max is nil if the number is not limited.
	max *int32
}

func countingOf(r *v1alpha1.Requirements) counting {
	c := counting{ignores: len(r.IgnoreVulnerabilities) > 0}
	if v := r.Vulnerabilities; v != nil {
		c.max, c.fixableOnly, c.minCVSS, c.olderThan = new(v.Max), v.FixableOnly, v.MinCVSS, v.OlderThan.Duration
		if slices.Contains(severities()[1:], v.MinSeverity) { // an invalid one excludes nothing
			c.minSeverity = v.MinSeverity
		}
	}
	return c
}

// selects reports whether c makes a difference between vulnerabilities.
func (c *counting) selects() bool {
	return c.minSeverity != "" || c.fixableOnly || c.minCVSS > 0 || c.olderThan > 0
}

// needsList reports whether single vulnerabilities may not count.
func (c *counting) needsList() bool { return c.selects() || c.ignores }

// counts reports whether v counts. Whatever is unknown of it does.
func (c *counting) counts(v *Vulnerability, now time.Time) bool {
	tooMild := c.minSeverity != "" && severityRank(v.Severity) > 0 && severityRank(v.Severity) < severityRank(c.minSeverity)
	return !tooMild && (!c.fixableOnly || v.Fix != "") && (c.minCVSS <= 0 || v.isScored(c.minCVSS)) && (c.olderThan <= 0 || !v.isFresh(now, c.olderThan))
}

// number returns how many count at a time. Without a list, all do.
func (c *counting) number(s *Scan, now time.Time) *int {
	if s.Vulnerabilities == nil || s.Found == nil || !c.selects() {
		return s.Vulnerabilities
	}
	return new(s.countIf(func(v *Vulnerability) bool { return c.counts(v, now) }))
}

// exceeded reports whether more vulnerabilities count than are allowed.
func (c *counting) exceeded(s *Scan, now time.Time) bool {
	if c.max == nil {
		return false
	}
	n := c.number(s, now)
	return n != nil && *n > int(*c.max)
}

// explain returns what follows the number of a scan: what counts, and the worst.
func (c *counting) explain(l language.Language, s *Scan, now time.Time) string {
	switch {
	case s.Found == nil && !c.needsList():
		return ""
	case s.Found == nil && s.Unlisted == "":
		return l.Text(" (all count, since they are not known one by one)")
	case s.Found == nil:
		return l.Sprintf(" (all count, since they are not known one by one: %s)", clean(s.Unlisted))
	}
	var what, total, unscored string
	counted := filtered(s.Found, func(v *Vulnerability) bool { return c.counts(v, now) })
	lacksScore := func(v *Vulnerability) bool { _, known := v.score(); return !known }
	if c.minCVSS > 0 {
		if n := len(filtered(counted, lacksScore)); n > 0 {
			unscored = l.Sprintf("of unknown score: %d", n)
		}
	}
	if c.selects() {
		what, total = strings.Join(c.words(l), l.Text(", ")), l.Sprintf("%d in all", s.countIf(func(*Vulnerability) bool { return true }))
	}
	return inParentheses(l, what, total, unscored, worst(l, counted))
}

// words returns which vulnerabilities count, if a reader needs to know.
func (c *counting) words(l language.Language) (words []string) {
	switch c.minSeverity {
	case v1alpha1.SeverityMedium:
		words = append(words, l.Text("of severity Medium or worse"))
	case v1alpha1.SeverityHigh:
		words = append(words, l.Text("of severity High"))
	}
	if c.minCVSS > 0 {
		words = append(words, l.Sprintf("of CVSS %s or more", c.minCVSS))
	}
	if c.olderThan > 0 {
		words = append(words, l.Sprintf("published more than %s ago", readable(l, c.olderThan)))
	}
	if c.fixableOnly {
		words = append(words, l.Text("with a fix"))
	}
	return words
}

// inParentheses returns the parts that are not empty in parentheses.
func inParentheses(l language.Language, parts ...string) string {
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	if len(parts) == 0 {
		return ""
	}
	return l.Sprintf(" (%s)", strings.Join(parts, l.Text("; ")))
}

// worst names the worst vulnerabilities, each identifier once.
func worst(l language.Language, found []Vulnerability) string {
	var ids, texts []string
	more := 0
	for _, v := range slices.SortedFunc(slices.Values(found), CompareVulnerabilities) {
		switch {
		case slices.Contains(ids, v.ID): // in another package
		case len(ids) < maxWorst:
			ids, texts = append(ids, v.ID), append(texts, v.in(l))
		default:
			more++
		}
	}
	switch {
	case len(ids) == 0:
		return ""
	case more > 0:
		return l.Sprintf("worst: %s and %d more", strings.Join(texts, l.Text(", ")), more)
	}
	return l.Sprintf("worst: %s", strings.Join(texts, l.Text(", ")))
}

// filtered returns those to keep; nil only if found is, which is a list that is not known.
func filtered(found []Vulnerability, keep func(*Vulnerability) bool) []Vulnerability {
	kept := found[:0:0]
	for i := range found {
		if keep(&found[i]) {
			kept = append(kept, found[i])
		}
	}
	return kept
}

// without returns the facts as if vulnerabilities with these identifiers had not
// been found, apart from those that are, or may be, forbidden. A scan without a list of
// its vulnerabilities stays as it is.
func (f *Facts) without(ids []string, forbidden ...string) *Facts {
	leftOut := func(v *Vulnerability) bool {
		return v.isAmong(ids) && !slices.ContainsFunc(forbidden, func(id string) bool { return v.match(id) != isNone })
	}
	without := *f
	without.Records = slices.Clone(f.Records)
	for i := range f.Records {
		without.Records[i] = f.Records[i].without(leftOut)
	}
	without.Affected = slices.Clone(f.Affected)
	for i := range f.Affected {
		without.Affected[i] = f.Affected[i].without(leftOut)
	}
	return &without
}

func (r Record) without(leftOut func(*Vulnerability) bool) Record {
	r.Severity = r.severityWithout(leftOut)
	r.Scan = r.Scan.without(leftOut)
	r.Architectures = slices.Clone(r.Architectures)
	for i := range r.Architectures {
		r.Architectures[i].Scan = r.Architectures[i].Scan.without(leftOut)
	}
	if r.LastCompleted != nil {
		r.LastCompleted = new(r.LastCompleted.without(leftOut))
	}
	return r
}

func (s Scan) without(leftOut func(*Vulnerability) bool) Scan {
	if s.Found == nil || s.Vulnerabilities == nil {
		return s
	}
	others := func(v *Vulnerability) bool { return !leftOut(v) }
	s.Vulnerabilities, s.Found = new(s.countIf(others)), filtered(s.Found, others)
	return s
}

// severityWithout returns the severity level of the record without some
// vulnerabilities: that of the worst other one. HSS reports one level for all
// that a scan found, so it stays unless these vulnerabilities alone explain it:
// one of them is as bad, every other one is listed, and nothing else was found.
func (r *Record) severityWithout(leftOut func(*Vulnerability) bool) v1alpha1.Severity {
	level, left, explained := severityRank(r.Severity), 1, false
	for _, s := range r.scans() {
		if s.hasNoCounts() && r.MultiArch {
			continue // each architecture has its own
		}
		if r.PinnedArchitecture || !s.onlyListedVulnerabilities() {
			return r.Severity
		}
		for i := range s.Found {
			v := &s.Found[i]
			if !leftOut(v) {
				left = max(left, v.rank())
			} else if v.rank() >= level {
				explained = true
			}
		}
	}
	if !explained || level == 0 || left > level {
		return r.Severity
	}
	return severities()[left-1]
}

func (s *Scan) hasNoCounts() bool {
	return s.Vulnerabilities == nil && s.MaliciousFiles == nil && s.UnsafeSettings == nil
}

// onlyListedVulnerabilities reports whether all that the scan found is in Found.
func (s *Scan) onlyListedVulnerabilities() bool {
	none := func(n *int) bool { return n != nil && *n == 0 }
	if s.Listed != nil && s.Listed.Secrets != nil && s.Listed.Secrets.number(v1alpha1.SecretSeverityLow) > 0 {
		return false
	}
	return none(s.MaliciousFiles) && none(s.UnsafeSettings) && s.Vulnerabilities != nil && *s.Vulnerabilities <= len(s.Found)
}
