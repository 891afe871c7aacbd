package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Bounds of what is said: the API server, Events and terminals cut long texts,
// and a pod can name many images.
const (
	maxLines          = 20
	maxWrittenDisplay = 200
)

// String returns the violation in one line: the place, the image, each finding,
// and the policy.
func (v Violation) String() string {
	findings := make([]string, len(v.Findings))
	for i, f := range v.Findings {
		findings[i] = f.Message
	}
	return fmt.Sprintf("%s: %s — %s [policy %s]%s", v.Use, v.Reference, strings.Join(findings, "; "), v.Policy, v.Grace.suffix())
}

// Message tells why the object is denied and what to do about it. It is empty
// if the object is admitted.
func (d *Decision) Message() string {
	denials := d.WithEffect(v1alpha1.EnforcementDeny)
	if len(denials) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s denied by %s:", d.object(), countPolicies(denials))
	for _, line := range bounded(denials) {
		b.WriteString("\n- " + line)
	}
	for _, line := range d.Scans {
		b.WriteString("\nscan: " + line)
	}
	for _, advice := range advise(denials) {
		if d.Unlogged && advice == adviseLog {
			advice = adviseExplain
		}
		b.WriteString("\nto do: " + advice)
	}
	if slices.ContainsFunc(denials, (Violation).ofSeverity) {
		b.WriteString("\nnote: " + noteSeverity)
	}
	return b.String()
}

// Warnings are what whoever sent the object should see although it is admitted:
// one line each.
func (d *Decision) Warnings() []string {
	warnings := d.notify(d.Violations, (*Violation).warning)
	if len(d.WithEffect(v1alpha1.EnforcementDeny)) > 0 {
		return warnings // the denial tells of scans
	}
	for _, line := range d.Scans {
		warnings = append(warnings, "scan: "+line)
	}
	return warnings
}

// DryWarnings are those of a gate that denies nothing: they tell what it would
// have denied, and that first, and promise no denial.
func (d *Decision) DryWarnings() []string {
	denied := d.WithEffect(v1alpha1.EnforcementDeny)
	others := slices.DeleteFunc(slices.Clone(d.Violations), func(v Violation) bool { return v.Effect == v1alpha1.EnforcementDeny })
	return d.notify(append(denied, others...), (*Violation).dryWarning)
}

// notify makes the lines of some violations, within bounds, and of the notices.
func (d *Decision) notify(violations []Violation, line func(*Violation) string) []string {
	lines := make([]string, 0, len(d.Notices))
	for i := range violations {
		if one := line(&violations[i]); one != "" {
			lines = append(lines, one)
		}
	}
	if more := len(lines) - maxLines; more > 0 {
		lines = append(lines[:maxLines], fmt.Sprintf("and %d more", more))
	}
	return append(lines, d.Notices...)
}

// warning is empty for a violation that nobody is to be warned of.
func (v *Violation) warning() string {
	switch {
	case v.Effect == EffectExcepted && v.Otherwise != v1alpha1.EnforcementAudit:
		return v.exceptionLine()
	case v.Effect != v1alpha1.EnforcementWarn:
		return ""
	case v.PodEffect == v1alpha1.EnforcementDeny:
		return "its pods will be denied: " + v.String()
	}
	return v.String()
}

// dryWarning is that of a gate that runs dry.
func (v *Violation) dryWarning() string {
	const dry = "would be denied, but hssgate runs dry: "
	switch {
	case v.Effect == v1alpha1.EnforcementDeny:
		return dry + v.String()
	case v.Effect == v1alpha1.EnforcementWarn && v.PodEffect == v1alpha1.EnforcementDeny:
		return "its pods " + dry + v.String()
	}
	return v.warning()
}

// Lines are all violations in order, one line each with its effect before it,
// for records and logs.
func (d *Decision) Lines() []string {
	lines := bounded(d.Violations)
	for i := range min(len(d.Violations), maxLines) {
		lines[i] = string(d.Violations[i].Effect) + ": " + lines[i]
	}
	return lines
}

func (d *Decision) object() string {
	return fmt.Sprintf("%s %q", strings.ToLower(d.Kind), d.Name)
}

func countPolicies(denials []Violation) string {
	names := map[string]struct{}{}
	for _, v := range denials {
		names[v.Policy] = struct{}{}
	}
	if len(names) == 1 {
		return "1 policy"
	}
	return fmt.Sprintf("%d policies", len(names))
}

func bounded(violations []Violation) []string {
	lines := make([]string, 0, min(len(violations), maxLines+1))
	for i, v := range violations {
		if i == maxLines {
			return append(lines, fmt.Sprintf("and %d more", len(violations)-maxLines))
		}
		lines = append(lines, v.String())
	}
	return lines
}

// display is the image as it is shown: normalised, since that is what a node
// would pull, or quoted as written if it can't be read.
func (s *subject) display() string {
	if s.err == nil {
		return s.ref.String()
	}
	return displayed(s.use.Image)
}

// displayed is a reference as it is written, in quotes.
func displayed(written string) string {
	if len(written) > maxWrittenDisplay {
		written = strings.ToValidUTF8(written[:maxWrittenDisplay], "") + "…"
	}
	return fmt.Sprintf("%q", written)
}

func staleNotice(s *subject, now time.Time) string {
	return fmt.Sprintf("%s: %s was judged by what HSS said %s ago, since HSS cannot be asked now: %s",
		s.use, s.display(), max(now.Sub(s.facts.AsOf), 0).Round(time.Second), s.facts.StaleReason)
}

// advice says what to do about a failed check. The order is that of the advice
// in a message: what ends the quickest comes last.
var adviceOrder = []struct {
	check  policy.Check
	cause  policy.Cause
	advice string
}{
	{check: policy.CheckMaliciousFiles, advice: "do not run this image; find out how the files came into it"},
	{check: policy.CheckSeverityLevel, advice: fixFindings},
	{check: policy.CheckVulnerabilities, advice: fixFindings},
	{check: policy.CheckUnsafeSettings, advice: "mend the settings that HSS lists for the image, push it, and have HSS scan it"},
	{check: policy.CheckScanStatus, advice: "see in HSS why the scan did not succeed, and scan the image again"},
	{check: policy.CheckScanAge, advice: "have HSS scan the image again"},
	{check: policy.CheckNotScanned, advice: "have HSS scan the image, or wait until its scan is done, and try again"},
	{check: policy.CheckNotFound, advice: "check the image's name; if it is new, have HSS synchronise its registry, and scan it"},
	{check: policy.CheckDigest, advice: "name the image by its digest: image:tag@sha256:…"},
	{check: CheckReference, advice: "correct the image's name"},
	{check: policy.CheckUnavailable, advice: adviseLog},
	{check: policy.CheckUnavailable, cause: policy.CauseOverload, advice: "try again shortly; if it stays so, raise requestsPerSecond and maxConcurrent of the project in hssgate's configuration"},
	{check: policy.CheckUnavailable, cause: policy.CauseSize, advice: "split the object: each of its parts may name as many images"},
	{check: policy.CheckUnavailable, cause: policy.CauseConfiguration, advice: adviseConfiguration},
}

const (
	fixFindings         = "rebuild the image with fixed packages, push it, and have HSS scan it"
	adviseLog           = "try again shortly; if it stays so, see hssgate's log for what HSS answers"
	adviseConfiguration = "an administrator of hssgate has to correct its configuration; see the condition HSSReachable of the policies and hssgate's log"
	adviseExplain       = "try again shortly; if it stays so, see what HSS answers by hssgate check --explain"
)

// noteSeverity keeps readers from taking HSS's levels for those of CVSS, where 7
// is High already.
const noteSeverity = "HSS's severity levels are not those of CVSS: its High may start at CVSS 9"

func (v Violation) ofSeverity() bool {
	return slices.ContainsFunc(v.Findings, func(f policy.Finding) bool { return f.Check == policy.CheckSeverityLevel })
}

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
