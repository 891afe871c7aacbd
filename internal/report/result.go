package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Verdict is what becomes of an object and of the pods that it creates.
type Verdict string

// The verdicts.
const (
	Admitted   Verdict = "Admitted"
	Warned     Verdict = "Warned" // admitted with a warning
	Denied     Verdict = "Denied"
	PodsDenied Verdict = "Denied (its pods)" // a template that is admitted; it counts as denied
	Unknown    Verdict = "Unknown"           // HSS is unreachable
)

// Verdicts returns all verdicts, the worst first.
func Verdicts() []Verdict { return []Verdict{Denied, PodsDenied, Unknown, Warned, Admitted} }

// Denies reports whether the object or its pods are denied.
func (v Verdict) Denies() bool { return v == Denied || v == PodsDenied }

// Result is the result of one object.
type Result struct {
	// Source is the object's file, and Line its line there, from 1. Both are empty
	// for objects that are in no file.
	Source    string `json:"source,omitempty"`
	Line      int    `json:"line,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	// Owner is the KIND/NAME of the pod's controller.
	Owner string `json:"owner,omitempty"`
	// Alike are the names of other pods of the owner with the same result.
	Alike   []string `json:"alike,omitempty"`
	Verdict Verdict  `json:"verdict"`
	Images  []Image  `json:"images"`
	// Policies are those that were evaluated, Unknown those of them for which no scan
	// result was available.
	Policies   []string    `json:"policies,omitempty"`
	Unknown    []string    `json:"-"`
	Violations []Violation `json:"violations,omitempty"`
	// Message is that of a denial, and Warnings are those of the webhook.
	Message  string   `json:"message,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Notices are those of Warnings that are of no violation.
	Notices []string `json:"-"`
	// Explanation explains the verdict step by step. Optional.
	Explanation []string `json:"explanation,omitempty"`

	// Before is the verdict by the policies before, if that differs, and Was holds its
	// reasons.
	Before Verdict  `json:"before,omitempty"`
	Was    []string `json:"was,omitempty"`
	// Case is the name of the test's case that the object is of, and Problem what is
	// not as it expects.
	Case    string `json:"case,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// Violation is what one policy finds in one use of an image.
type Violation struct {
	Place     image.Place `json:"place"`
	Name      string      `json:"name"`
	Reference string      `json:"reference"`
	Policy    string      `json:"policy"`
	// Effect is the effect on the object, PodEffect the one on its pods.
	Effect    v1alpha1.Enforcement `json:"effect"`
	PodEffect v1alpha1.Enforcement `json:"podEffect"`
	Findings  []policy.Finding     `json:"findings"`
}

// isOf reports whether the violation is of a use of an image. Containers without names in a custom resource share one.
func (v *Violation) isOf(i *Image) bool {
	return v.Place == i.Place && v.Name == i.Name && (v.Reference == i.Reference || i.State == Invalid)
}

// EffectText returns the effect in words.
func (v *Violation) EffectText() string { return EffectText(v.Effect, v.PodEffect) }

// EffectText returns in words an effect on an object, and the one on its pods.
func EffectText(effect, onPods v1alpha1.Enforcement) string {
	if effect != onPods {
		return string(onPods) + " (its pods)"
	}
	return string(effect)
}

// NewResult returns the result of a decision about an object with these images.
func NewResult(d *gate.Decision, images []Image) Result {
	r := Result{
		Namespace: d.Namespace, Kind: d.Kind, Name: d.Name, Images: images,
		Policies: d.Policies, Unknown: d.Unknown, Message: d.Message(), Warnings: d.Warnings(), Notices: d.Notices,
	}
	for i := range d.Violations {
		v := &d.Violations[i]
		r.Violations = append(r.Violations, Violation{
			Place: v.Use.Place, Name: v.Use.Name, Reference: v.Reference, Policy: v.Policy, Effect: v.Effect, PodEffect: v.PodEffect, Findings: v.Findings,
		})
	}
	// Those that decide come first.
	order := []v1alpha1.Enforcement{v1alpha1.EnforcementDeny, v1alpha1.EnforcementWarn, v1alpha1.EnforcementAudit, gate.EffectExcepted}
	slices.SortStableFunc(r.Violations, func(a, b Violation) int { return slices.Index(order, a.PodEffect) - slices.Index(order, b.PodEffect) })
	r.Verdict = r.verdict(d)
	return r
}

// verdict returns Unknown if HSS was unreachable, even if the policies admit an image then: the next answer may differ.
func (r *Result) verdict(d *gate.Decision) Verdict {
	unreachable := func(i Image) bool { return i.State == Unavailable }
	switch {
	case d.Outcome == gate.Denied:
		return Denied
	case d.PodOutcome == gate.Denied:
		return PodsDenied
	case d.PodOutcome != gate.Admitted || slices.ContainsFunc(r.Images, unreachable):
		return Unknown
	case len(r.Warnings) > 0:
		return Warned
	}
	return Admitted
}

func (r *Result) passes() bool { return r.Verdict == Admitted && len(r.Violations) == 0 }

// malicious returns 1 if malicious files were found, which come before all else.
func (r *Result) malicious() int {
	found := func(f policy.Finding) bool { return f.Check == policy.CheckMaliciousFiles }
	if slices.ContainsFunc(r.Violations, func(v Violation) bool { return slices.ContainsFunc(v.Findings, found) }) {
		return 1
	}
	return 0
}

// likeness returns a key that is the same for pods that differ only by name.
func (r *Result) likeness() string {
	key, err := json.Marshal([]any{r.Source, r.Namespace, r.Kind, r.Owner, r.Verdict, r.Images, r.Policies, r.Violations, r.Before, r.Case})
	if err != nil { // can't happen: all of it has a form in JSON
		return r.Namespace + "/" + r.Name
	}
	return string(key)
}

// Title returns the name of the test's case, the object's kind and name, or the owner of pods and their number.
func (r *Result) Title() string {
	switch {
	case r.Case != "":
		return r.Case
	case r.Owner != "" && r.Kind == "Pod":
		return fmt.Sprintf("%s (%s)", r.Owner, plural(1+len(r.Alike), "pod", "pods"))
	}
	return strings.TrimPrefix(r.Kind+"/"+r.Name, "/")
}

// FullTitle returns the title with the namespace, or the file of the test, if there is one.
func (r *Result) FullTitle() string { return strings.TrimPrefix(r.where()+": "+r.Title(), ": ") }

func (r *Result) where() string {
	if r.Case != "" {
		return r.Source
	}
	return r.Namespace
}

// Why returns the reasons of the verdict in a few words each, or what is not as a test
// expects. It leaves out what a table shows in other columns.
func (r *Result) Why() []string {
	reasons := make([]string, 0, len(r.Violations))
	for _, v := range r.Grouped() {
		reasons = append(reasons, r.reason(&v))
	}
	reasons = append(reasons, r.Notices...)
	switch {
	case r.Problem != "":
		return []string{r.Problem}
	case len(reasons) > 0:
		return reasons
	case r.Verdict == Unknown:
		return []string{"HSS is unreachable"}
	case len(r.Policies) > 0:
		return []string{"passes " + strings.Join(r.Policies, ", ")}
	}
	return []string{"no policy applies"}
}

// Grouped returns the violations, as one those that differ only by their policies, which it then has all.
func (r *Result) Grouped() []Violation {
	var groups []Violation
	for _, v := range r.Violations {
		i := slices.IndexFunc(groups, func(g Violation) bool {
			return g.Place == v.Place && g.Name == v.Name && g.Reference == v.Reference && g.EffectText() == v.EffectText() && g.messages() == v.messages()
		})
		if i < 0 {
			groups = append(groups, v)
		} else {
			groups[i].Policy += ", " + v.Policy
		}
	}
	return groups
}

// Remedies returns what to do about findings that deny the object or its pods, or warn of them; the fastest comes last.
func (r *Result) Remedies() []string {
	var findings []policy.Finding
	for _, v := range r.Violations {
		if v.PodEffect == v1alpha1.EnforcementDeny || v.PodEffect == v1alpha1.EnforcementWarn {
			findings = append(findings, v.Findings...)
		}
	}
	return gate.Advice(findings, true)
}

// reason names the policy and the place of the image only if there are several.
func (r *Result) reason(v *Violation) string {
	text := v.messages()
	switch {
	case strings.Contains(v.Policy, ","):
		text += " [policies " + v.Policy + "]"
	case len(r.Policies) > 1:
		text += " [policy " + v.Policy + "]"
	}
	if v.Effect == v1alpha1.EnforcementAudit || v.Effect == gate.EffectExcepted {
		text = string(v.Effect) + ": " + text
	}
	if len(r.Images) > 1 {
		text = fmt.Sprintf("%s %q: %s", v.Place, v.Name, text)
	}
	return text
}

func (v *Violation) messages() string {
	messages := make([]string, len(v.Findings))
	for i, f := range v.Findings {
		messages[i] = f.Message
	}
	return strings.Join(messages, "; ")
}
