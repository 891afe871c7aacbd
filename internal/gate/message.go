package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Limits of messages: the API server, Events and terminals cut long texts, and a pod can name many images.
const (
	maxLines          = 20
	maxWrittenDisplay = 200
)

// Description returns the place, the image and each finding in one line.
func (v *Violation) Description() string {
	findings := make([]string, len(v.Findings))
	for i, f := range v.Findings {
		findings[i] = f.Message
	}
	return fmt.Sprintf("%s: %s — %s", v.Use, v.Reference, strings.Join(findings, "; "))
}

// String returns the description, with the policy and the grace.
func (v Violation) String() string {
	line := fmt.Sprintf("%s [policy %s]", v.Description(), v.Policy)
	if note := v.GraceNote(); note != "" {
		line += " (" + note + ")"
	}
	return line
}

// Message returns why the object is denied, the first reason in the first line, and what to do. It is empty if the object is admitted.
func (d *Decision) Message() string {
	denials := d.WithEffect(v1alpha1.EnforcementDeny)
	if len(denials) == 0 {
		return ""
	}
	var message strings.Builder
	fmt.Fprintf(&message, "%s %q denied by %s: ", strings.ToLower(d.Kind), d.Name, countPolicies(denials))
	message.WriteString(strings.Join(lines(denials, (*Violation).String), "\n- "))
	for _, line := range d.Scans {
		message.WriteString("\nscan: " + line)
	}
	for _, advice := range advise(denials) {
		if d.Unlogged && advice == adviseLog {
			advice = adviseExplain
		}
		message.WriteString("\nto do: " + advice)
	}
	ofSeverity := func(f policy.Finding) bool { return f.Check == policy.CheckSeverityLevel }
	if slices.ContainsFunc(denials, func(v Violation) bool { return slices.ContainsFunc(v.Findings, ofSeverity) }) {
		message.WriteString("\nnote: " + noteSeverity)
	}
	return message.String()
}

// Warnings returns what the sender of an admitted object should see, one line each.
func (d *Decision) Warnings() []string {
	warnings := append(lines(d.Violations, func(v *Violation) string { return v.warning(false) }), d.Notices...)
	if len(d.WithEffect(v1alpha1.EnforcementDeny)) > 0 {
		return warnings // the denial shows the scans
	}
	for _, line := range d.Scans {
		warnings = append(warnings, "scan: "+line)
	}
	return warnings
}

// DryWarnings returns the warnings of dry-run mode: first what would have been denied.
func (d *Decision) DryWarnings() []string {
	others := slices.DeleteFunc(slices.Clone(d.Violations), func(v Violation) bool { return v.Effect == v1alpha1.EnforcementDeny })
	all := append(d.WithEffect(v1alpha1.EnforcementDeny), others...)
	return append(lines(all, func(v *Violation) string { return v.warning(true) }), d.Notices...)
}

// Lines returns all violations in order, one line each with its effect, for records and logs.
func (d *Decision) Lines() []string {
	return lines(d.Violations, func(v *Violation) string { return string(v.Effect) + ": " + v.String() })
}

// warning returns the warning of a violation, also in dry-run mode, or an empty string if it has none.
func (v *Violation) warning(dry bool) string {
	const would = "would be denied (dry-run mode): "
	switch deniesPods := v.PodEffect == v1alpha1.EnforcementDeny; {
	case v.Effect == EffectExcepted && v.Otherwise != v1alpha1.EnforcementAudit:
		return v.exceptionLine()
	case dry && v.Effect == v1alpha1.EnforcementDeny:
		return would + v.String()
	case v.Effect != v1alpha1.EnforcementWarn:
		return ""
	case deniesPods && dry:
		return "its pods " + would + v.String()
	case deniesPods:
		return "its pods will be denied: " + v.String()
	}
	return v.String()
}

// lines returns a line for each violation that has one, within bounds.
func lines(violations []Violation, line func(*Violation) string) []string {
	var all []string
	for i := range violations {
		if one := line(&violations[i]); one != "" {
			all = append(all, one)
		}
	}
	return bounded(all)
}

func bounded(lines []string) []string {
	if more := len(lines) - maxLines; more > 0 {
		return append(lines[:maxLines], fmt.Sprintf("and %d more", more))
	}
	return lines
}

func countPolicies(denials []Violation) string {
	names := map[string]bool{}
	for _, v := range denials {
		names[v.Policy] = true
	}
	if n := len(names); n > 1 {
		return fmt.Sprintf("%d policies", n)
	}
	return "1 policy"
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
	{check: policy.CheckUnsafeSettings, advice: "fix the settings that HSS lists for the image, push it, and have HSS scan it"},
	{check: policy.CheckScanStatus, advice: "see in HSS why the scan did not succeed, and scan the image again"},
	{check: policy.CheckScanAge, advice: "have HSS scan the image again"},
	{check: policy.CheckNotScanned, advice: "have HSS scan the image, or wait until its scan is done, and try again"},
	{check: policy.CheckNotFound, advice: "check the image's name; if it is new, have HSS synchronise its registry, and scan it"},
	{check: policy.CheckDigest, advice: "name the image by its digest: image:tag@sha256:…"},
	{check: CheckReference, advice: "correct the image's name"},
	{check: policy.CheckUnavailable, advice: adviseLog},
	{
		check: policy.CheckUnavailable, cause: policy.CauseOverload,
		advice: "try again shortly; if it stays so, raise requestsPerSecond of the project in hssgate's configuration",
	},
	{check: policy.CheckUnavailable, cause: policy.CauseSize, advice: "split the object: each of its parts may name as many images"},
	{check: policy.CheckUnavailable, cause: policy.CauseConfiguration, advice: adviseConfiguration},
}

const (
	fixFindings         = "rebuild the image with fixed packages, push it, and have HSS scan it"
	adviseLog           = "try again shortly; if it stays so, see hssgate's log for what HSS answers"
	adviseConfiguration = "an administrator of hssgate has to correct its configuration; " +
		"see the condition HSSReachable of the policies and hssgate's log"
	adviseExplain = "try again shortly; if it stays so, see what HSS answers by hssgate check --explain"
)

// noteSeverity distinguishes HSS's levels from those of CVSS, where 7 is High.
const noteSeverity = "HSS's severity levels are not those of CVSS: its High may start at CVSS 9"

func advise(denials []Violation) []string {
	type failure struct {
		check policy.Check
		cause policy.Cause
	}
	failed := map[failure]bool{}
	for _, v := range denials {
		for _, f := range v.Findings {
			failed[failure{f.Check, f.Cause}] = true
		}
	}
	var advice []string
	for _, a := range adviceOrder {
		if failed[failure{a.check, a.cause}] && (len(advice) == 0 || advice[len(advice)-1] != a.advice) {
			advice = append(advice, a.advice)
		}
	}
	return advice
}
