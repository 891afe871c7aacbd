package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Limits of messages: the API server, Events and terminals cut long texts, and a pod can name many images.
const (
	maxLines          = 20
	maxWrittenDisplay = 200
)

// Description returns the place, the image and each finding in one line.
func (v *Violation) Description(l language.Language) string {
	findings := make([]string, len(v.Findings))
	for i, f := range v.Findings {
		findings[i] = f.Message
	}
	return l.Sprintf("%s: %s — %s", named(l, v.Use), v.Reference, strings.Join(findings, l.Text("; ")))
}

// entry is a violation, or a part of it, with all policies that find the same.
type entry struct {
	Violation
	policies []string
}

// String returns the description, with the policies and the grace.
func (e *entry) String(l language.Language) string {
	format := "%s [policy %s]"
	if len(e.policies) > 1 {
		format = "%s [policies %s]"
	}
	line := l.Sprintf(format, e.Description(l), strings.Join(bounded(l, e.policies), l.Text(", ")))
	if note := e.GraceNote(l); note != "" {
		line += l.Sprintf(" (%s)", note)
	}
	return line
}

// entries are found by what they are about, what becomes of it, and a text.
type entries struct {
	known map[entryKey]*entry
	all   []*entry
}

type entryKey struct {
	use                          image.Use
	reference, text              string
	effect, podEffect, otherwise v1alpha1.Enforcement
	exception                    *policy.Exception
	graceEnd                     time.Time
}

// at returns the entry of a violation's subject and a text, without findings if it is new.
func (s *entries) at(v *Violation, text string) *entry {
	key := entryKey{v.Use, v.Reference, text, v.Effect, v.PodEffect, v.Otherwise, v.Exception, v.GraceEnd}
	if s.known == nil {
		s.known = map[entryKey]*entry{}
	}
	if s.known[key] == nil {
		s.known[key] = &entry{Violation: *v}
		s.known[key].Findings = nil
		s.all = append(s.all, s.known[key])
	}
	return s.known[key]
}

// share returns each finding once, with all policies that have it, and those of the same policies in one entry.
func share(violations []Violation) []*entry {
	var byFinding, byPolicies entries
	for i := range violations {
		v := &violations[i]
		for _, f := range v.Findings {
			e := byFinding.at(v, f.Message)
			e.Findings = []policy.Finding{f}
			if !slices.Contains(e.policies, v.Policy) {
				e.policies = append(e.policies, v.Policy)
			}
		}
	}
	for _, one := range byFinding.all {
		e := byPolicies.at(&one.Violation, strings.Join(one.policies, ","))
		e.policies, e.Findings = one.policies, append(e.Findings, one.Findings...)
	}
	return byPolicies.all
}

// Message returns why the object is denied, the first reason in the first line, and what to do. It is empty if the object is admitted.
func (d *Decision) Message() string {
	denials, l := d.WithEffect(v1alpha1.EnforcementDeny), d.Language
	if len(denials) == 0 {
		return ""
	}
	var message strings.Builder
	message.WriteString(l.Sprintf("%s %q denied by %s: ", strings.ToLower(d.Kind), d.Name, countPolicies(l, denials)))
	message.WriteString(strings.Join(lines(l, denials, (*entry).String), "\n- "))
	for _, line := range d.Scans {
		message.WriteString("\n" + l.Sprintf("scan: %s", line))
	}
	for _, remedy := range d.remedies(denials, false) {
		message.WriteString("\n" + remedy)
	}
	ofSeverity := func(f policy.Finding) bool { return f.Check == policy.CheckSeverityLevel }
	if slices.ContainsFunc(denials, func(v Violation) bool { return slices.ContainsFunc(v.Findings, ofSeverity) }) {
		message.WriteString("\n" + l.Text("note: HSS's severity levels are not those of CVSS: its High may start at CVSS 9"))
	}
	return message.String()
}

// Warnings returns what the sender of an admitted object should see, one line each.
func (d *Decision) Warnings() []string {
	warnings := append(lines(d.Language, d.Violations, func(e *entry, l language.Language) string { return e.warning(l, false) }), d.Notices...)
	if len(d.WithEffect(v1alpha1.EnforcementDeny)) > 0 {
		return warnings // the denial shows the scans, and what to do
	}
	for _, line := range d.Scans {
		warnings = append(warnings, d.Language.Sprintf("scan: %s", line))
	}
	return append(warnings, d.remedies(d.WithEffect(v1alpha1.EnforcementWarn), true)...)
}

// DryWarnings returns the warnings of dry-run mode: first what would have been denied.
func (d *Decision) DryWarnings() []string {
	others := slices.DeleteFunc(slices.Clone(d.Violations), func(v Violation) bool { return v.Effect == v1alpha1.EnforcementDeny })
	all := append(d.WithEffect(v1alpha1.EnforcementDeny), others...)
	warnings := append(lines(d.Language, all, func(e *entry, l language.Language) string { return e.warning(l, true) }), d.Notices...)
	shown := append(d.WithEffect(v1alpha1.EnforcementDeny), d.WithEffect(v1alpha1.EnforcementWarn)...)
	return append(warnings, d.remedies(shown, true)...)
}

// Lines returns all violations in order, one line each with its effect, for records and logs.
func (d *Decision) Lines() []string {
	return lines(d.Language, d.Violations, func(e *entry, l language.Language) string {
		if e.deniesPods() {
			return l.Sprintf("its pods will be denied: %s", e.String(l))
		}
		return string(e.Effect) + ": " + e.String(l)
	})
}

// deniesPods reports whether the object is admitted though its pods would be denied.
func (v *Violation) deniesPods() bool {
	return v.Effect == v1alpha1.EnforcementWarn && v.PodEffect == v1alpha1.EnforcementDeny
}

// warning returns the warning of a violation, also in dry-run mode, or an empty string if it has none.
func (e *entry) warning(l language.Language, dry bool) string {
	switch line := e.String(l); {
	case e.Effect == EffectExcepted && e.Otherwise != v1alpha1.EnforcementAudit:
		return e.exceptionLine(l)
	case dry && e.Effect == v1alpha1.EnforcementDeny:
		return l.Sprintf("would be denied (dry-run mode): %s", line)
	case e.Effect != v1alpha1.EnforcementWarn:
		return ""
	case e.deniesPods() && dry:
		return l.Sprintf("its pods would be denied (dry-run mode): %s", line)
	case e.deniesPods():
		return l.Sprintf("its pods will be denied: %s", line)
	default:
		return line
	}
}

// lines returns a line for each entry that has one, within bounds.
func lines(l language.Language, violations []Violation, line func(*entry, language.Language) string) []string {
	var all []string
	for _, e := range share(violations) {
		if one := line(e, l); one != "" {
			all = append(all, one)
		}
	}
	return bounded(l, all)
}

func bounded(l language.Language, lines []string) []string {
	if more := len(lines) - maxLines; more > 0 {
		return append(slices.Clip(lines[:maxLines]), l.Sprintf("and %d more", more))
	}
	return lines
}

func countPolicies(l language.Language, denials []Violation) string {
	names := map[string]bool{}
	for _, v := range denials {
		names[v.Policy] = true
	}
	if n := len(names); n > 1 {
		return l.Sprintf("%d policies", n)
	}
	return l.Text("1 policy")
}

// named returns the place and its name, as image.Use does.
func named(l language.Language, u image.Use) string {
	return fmt.Sprintf("%s %q", l.Text(string(u.Place)), u.Name)
}

// quoted returns a reference as written, in quotes.
func quoted(written string) string {
	if len(written) > maxWrittenDisplay {
		written = strings.ToValidUTF8(written[:maxWrittenDisplay], "") + "…"
	}
	return fmt.Sprintf("%q", written)
}

// adviceOrder is what to do about a failed check, in the order of a message: what is done fastest comes last.
var adviceOrder = []struct {
	check  policy.Check
	cause  policy.Cause
	advice string
}{
	{check: policy.CheckMaliciousFiles, advice: "do not run this image; find out how the files came into it"},
	{check: policy.CheckSeverityLevel, advice: fixFindings},
	{check: policy.CheckVulnerabilities, advice: fixFindings},
	{check: policy.CheckForbidden, advice: fixFindings},
	{check: policy.CheckUnsafeSettings, advice: "fix the settings that HSS lists for the image, push it, and have HSS scan it"},
	{check: policy.CheckSecrets, advice: "remove the secrets that HSS lists from the image, and revoke them; if HSS could not list them, try again shortly"},
	{check: policy.CheckScanStatus, advice: "see in HSS why the scan did not succeed, and scan the image again"},
	{check: policy.CheckScanAge, advice: "have HSS scan the image again"},
	{check: policy.CheckNotScanned, advice: "have HSS scan the image, or wait until its scan is done, and try again"},
	{check: policy.CheckNotFound, advice: "check the image's name; if it is new, have HSS synchronise its registry, and scan it"},
	{check: policy.CheckDigest, advice: "name the image by its digest: image:tag@sha256:…"},
	{check: CheckReference, advice: "correct the image's name"},
	{check: policy.CheckUnavailable, advice: seeLog},
	{
		check: policy.CheckUnavailable, cause: policy.CauseOverload,
		advice: "try again shortly; if it stays so, raise requestsPerSecond of the project in hssgate's configuration",
	},
	{check: policy.CheckUnavailable, cause: policy.CauseSize, advice: "split the object: each of its parts may name as many images"},
	{
		check: policy.CheckUnavailable, cause: policy.CauseConfiguration,
		advice: "an administrator of hssgate has to correct its configuration; see the condition HSSReachable of the policies and hssgate's log",
	},
}

const (
	fixFindings = "rebuild the image with fixed packages, push it, and have HSS scan it"
	seeLog      = "try again shortly; if it stays so, see hssgate's log for what HSS answers"
)

// Advice returns what to do about findings, what is done fastest last. Unlogged reports that there is no log to refer to.
func Advice(findings []policy.Finding, unlogged bool) []string {
	var advice []string
	for _, a := range adviceOrder {
		if unlogged && a.advice == seeLog {
			a.advice = "try again shortly; if it stays so, see what HSS answers by hssgate check --explain"
		}
		if slices.ContainsFunc(findings, func(f policy.Finding) bool { return f.Check == a.check && f.Cause == a.cause }) {
			advice = append(advice, a.advice)
		}
	}
	return slices.Compact(advice)
}

// remedies returns what to do about violations, a line each. The sender of an object that is admitted need not try again.
func (d *Decision) remedies(violations []Violation, admitted bool) (lines []string) {
	var found []policy.Finding
	for _, v := range violations {
		found = append(found, v.Findings...)
	}
	found = slices.DeleteFunc(found, func(f policy.Finding) bool {
		return admitted && f.Check == policy.CheckUnavailable && f.Cause == policy.CauseOutage
	})
	for _, advice := range Advice(found, d.Unlogged) {
		lines = append(lines, d.Language.Sprintf("to do: %s", d.Language.Text(advice)))
	}
	return lines
}
