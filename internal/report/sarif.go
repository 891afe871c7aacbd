package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/policy"
)

// sarifResult is a result of SARIF: one finding in one use of an image.
type sarifResult struct {
	*Violation
	policy.Finding

	Result *Result
	// Object is the object's name, with its namespace and its owner in place of a pod.
	Object string
	// At is where the image stands.
	At   Problem
	Rule sarifRule
	// Vulnerabilities are the identifiers of those listed, the worst first.
	Vulnerabilities []string
}

// sarifRule is a rule of SARIF, all of whose results have one risk.
type sarifRule struct {
	Check policy.Check
	Risk  gate.Risk
}

// ID returns the check, with the risk if the check has several.
func (r sarifRule) ID() string {
	if r.Check == policy.CheckSeverityLevel || r.Check == policy.CheckVulnerabilities {
		return string(r.Check) + "/" + r.Risk.String()
	}
	return string(r.Check)
}

// Severity returns what code hosts sort by. They read it as a CVSS score, which HSS
// reports none of, so it is the middle of the scores that they name as the risk.
func (r sarifRule) Severity() string {
	return [...]string{"0.0", "2.5", "5.5", "8.0", "9.5"}[r.Risk]
}

// sarif returns SARIF 2.1.0 (OASIS, errata 01).
func (r *Report) sarif() (string, error) {
	var results []*sarifResult
	var rules []sarifRule
	for i := range r.Results {
		one := &r.Results[i]
		for j := range one.Violations {
			for _, f := range one.Violations[j].Findings {
				found := one.sarif(&one.Violations[j], f)
				rules, results = append(rules, found.Rule), append(results, found)
			}
		}
	}
	slices.SortFunc(rules, func(a, b sarifRule) int { return strings.Compare(a.ID(), b.ID()) })
	var document any // the template's blanks don't matter
	text, err := render("report.sarif.tmpl", map[string]any{"Report": r, "Results": results, "Rules": slices.Compact(rules)})
	if err == nil {
		err = json.Unmarshal([]byte(text), &document)
	}
	if err != nil {
		return "", err
	}
	return asJSON(document)
}

func (r *Result) sarif(v *Violation, f policy.Finding) *sarifResult {
	s := &sarifResult{
		Violation: v, Finding: f, Result: r, At: Problem{Source: r.Source, Line: r.Line},
		Rule:   sarifRule{f.Check, gate.RiskOf(f.Check, "")},
		Object: strings.TrimPrefix(r.Namespace+"/"+cmp.Or(r.Owner, r.Name), "/"),
	}
	for i := range r.Images {
		one := &r.Images[i]
		if v.isOf(one) {
			s.At.Line, s.Rule.Risk = cmp.Or(one.Line, s.At.Line), gate.RiskOf(f.Check, one.Severity)
		}
		if one.Reference == v.Reference && one.Listed != nil && gate.CountsVulnerabilities(f.Check) {
			s.Vulnerabilities = one.Listed.ids()
		}
	}
	return s
}

// Fingerprint stays the same while the same image of the same object fails the same check of the same policy.
func (s *sarifResult) Fingerprint() string {
	repository, _, _ := strings.Cut(s.Reference, "@")
	parts := []string{s.Result.Kind, s.Object, string(s.Place), s.Name, repository, s.Policy, string(s.Check)}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(parts, "\x00"))))
}

// Text returns the finding, where it was found and what to do.
func (s *sarifResult) Text() string {
	lines := []string{fmt.Sprintf("%s: %s %s, %s %s: %s [policy %s]", s.Message, s.Result.Kind, s.Object, s.Place, s.Name, s.Reference, s.Policy)}
	for _, remedy := range gate.Advice([]policy.Finding{s.Finding}, true) {
		lines = append(lines, remedyPrefix+remedy)
	}
	return strings.Join(lines, "\n")
}

// ids returns the identifiers of the listed vulnerabilities and of their CVEs, each once, the worst first.
func (i *ListedImage) ids() []string {
	var ids []string
	for _, v := range i.Listed {
		for _, id := range append([]string{v.ID}, v.CVEIDs()...) {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// uri returns the URI of a file or URL. Code hosts expect a relative one.
func uri(source string) string {
	if u, err := url.Parse(source); err == nil && u.Host != "" {
		return u.Redacted()
	}
	uri := url.URL{Path: strings.TrimPrefix(filepath.ToSlash(source), "./")}
	if filepath.IsAbs(source) {
		uri.Scheme = "file"
	}
	return uri.String()
}
