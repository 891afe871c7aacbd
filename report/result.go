package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Verdict is what the webhook would answer about an object.
type Verdict string

// The verdicts.
const (
	// Admitted: without a word to whoever sends it.
	Admitted Verdict = "Admitted"
	// Warned: admitted, with a warning.
	Warned Verdict = "Warned"
	// Denied: for what HSS knows, or for what it doesn't.
	Denied Verdict = "Denied"
	// Unknown: it can't be told, since HSS can't be asked.
	Unknown Verdict = "Unknown"
)

// Verdicts are all of them, the worst first.
func Verdicts() []Verdict { return []Verdict{Denied, Unknown, Warned, Admitted} }

// Result is what came of one object.
type Result struct {
	// Source is the file that the object stands in, and Line where, from 1.
	// Both are empty for what doesn't come from a file.
	Source    string `json:"source,omitempty"`
	Line      int    `json:"line,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	// Owner is the kind and name of what controls the pod.
	Owner string `json:"owner,omitempty"`
	// Alike are the names of other pods of the owner, with the same outcome.
	Alike   []string `json:"alike,omitempty"`
	Verdict Verdict  `json:"verdict"`
	Images  []Image  `json:"images"`
	// Policies are those that judged.
	Policies []string `json:"policies,omitempty"`
	// Unknown are those of Policies for which no scan result was available.
	Unknown    []string    `json:"-"`
	Violations []Violation `json:"violations,omitempty"`
	// Message is that of a denial, and Warnings are those of the webhook.
	Message  string   `json:"message,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Explanation tells how it came to this, step by step, if it was asked for.
	Explanation []string `json:"explanation,omitempty"`

	// OfOwner says that it is shown as its owner's, which is what people know.
	OfOwner bool `json:"-"`
}

// Violation is what one policy finds against one use of an image.
type Violation struct {
	Place     image.Place `json:"place"`
	Name      string      `json:"name"`
	Reference string      `json:"reference"`
	Policy    string      `json:"policy"`
	// Effect is what it does to the object, PodEffect what it would do to a pod.
	Effect    v1alpha1.Enforcement `json:"effect"`
	PodEffect v1alpha1.Enforcement `json:"podEffect"`
	Findings  []Finding            `json:"findings"`
}

// Finding is one reason why an image does not pass.
type Finding struct {
	Check   policy.Check `json:"check"`
	Message string       `json:"message"`
}

// NewResult tells of a decision about an object with these images.
func NewResult(d *gate.Decision, images []Image) Result {
	r := Result{
		Namespace: d.Namespace, Kind: d.Kind, Name: d.Name, Images: images,
		Policies: d.Policies, Unknown: d.Unknown, Message: d.Message(), Warnings: d.Warnings(),
	}
	for i := range d.Violations {
		r.Violations = append(r.Violations, newViolation(&d.Violations[i]))
	}
	r.Verdict = r.verdict(d.Outcome)
	return r
}

func newViolation(v *gate.Violation) Violation {
	one := Violation{
		Place: v.Use.Place, Name: v.Use.Name, Reference: v.Reference, Policy: v.Policy,
		Effect: v.Effect, PodEffect: v.PodEffect,
	}
	for _, f := range v.Findings {
		one.Findings = append(one.Findings, Finding{Check: f.Check, Message: f.Message})
	}
	return one
}

// verdict is Unknown if HSS could not be asked about an image, whatever the
// policies say then: tomorrow's answer may be another.
func (r *Result) verdict(o gate.Outcome) Verdict {
	if o == gate.Denied {
		return Denied
	}
	for i := range r.Images {
		if r.Images[i].State == Unavailable {
			return Unknown
		}
	}
	switch {
	case o != gate.Admitted:
		return Unknown
	case len(r.Warnings) > 0:
		return Warned
	default:
		return Admitted
	}
}

// deniesPods tells whether the object is let in though its pods would be denied.
func (r *Result) deniesPods() bool {
	return r.Verdict != Denied && slices.ContainsFunc(r.Violations, func(v Violation) bool {
		return v.Effect != v.PodEffect && v.PodEffect == v1alpha1.EnforcementDeny
	})
}

// denies tells whether the object is denied, or its pods will be.
func (r *Result) denies() bool { return r.Verdict == Denied || r.deniesPods() }

// likeness is the same for pods that nothing tells apart but their names.
func (r *Result) likeness() string {
	key, err := json.Marshal([]any{r.Source, r.Namespace, r.Kind, r.Owner, r.Verdict, r.Images, r.Policies, r.Violations})
	if err != nil { // can't happen: none of it has a form that JSON has not
		return r.Namespace + "/" + r.Name
	}
	return string(key)
}

// Title is kind/name, and how many more there are of it.
func (r *Result) Title() string {
	if r.OfOwner {
		return fmt.Sprintf("%s (%s)", r.Owner, plural(1+len(r.Alike), "pod", "pods"))
	}
	title := r.Kind + "/" + r.Name
	if r.Kind == "" {
		title = r.Name
	}
	if n := len(r.Alike); n > 0 {
		title += fmt.Sprintf(" and %d more of %s", n, r.Owner)
	}
	return title
}

// Why tells in a few words why the verdict is what it is, one line a reason.
func (r *Result) Why() []string {
	reasons := make([]string, 0, len(r.Violations))
	for i := range r.Violations {
		reasons = append(reasons, r.reason(&r.Violations[i]))
	}
	for _, warning := range r.Warnings {
		if !strings.Contains(warning, " [policy ") { // a notice, of no violation
			reasons = append(reasons, warning)
		}
	}
	if len(reasons) == 0 {
		reasons = append(reasons, r.withoutReason())
	}
	return reasons
}

// withoutReason tells why there is nothing to tell.
func (r *Result) withoutReason() string {
	switch {
	case r.Verdict == Unknown:
		return "HSS cannot be asked"
	case len(r.Policies) > 0:
		return "passes " + strings.Join(r.Policies, ", ")
	default:
		return "no policy judges it"
	}
}

// reason leaves out what stands in other columns: the image, its place if
// there is no other, and the policy if there is no other.
func (r *Result) reason(v *Violation) string {
	text := v.messages()
	if len(r.Policies) > 1 {
		text += " [policy " + v.Policy + "]"
	}
	switch {
	case v.Effect == v1alpha1.EnforcementAudit, v.Effect == gate.EffectExcepted:
		text = string(v.Effect) + ": " + text
	case v.Effect != v.PodEffect && v.PodEffect == v1alpha1.EnforcementDeny:
		text = "its pods will be denied: " + text
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
