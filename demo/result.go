package demo

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
)

// Result is what came of one sample.
type Result struct {
	// File is the sample's file in the folder manifests.
	File      string                `json:"file"`
	Namespace string                `json:"namespace"`
	Kind      string                `json:"kind"`
	Name      string                `json:"name"`
	Operation admissionv1.Operation `json:"operation"`
	Images    []Image               `json:"images"`
	Verdict   Verdict               `json:"verdict"`
	Expected  Verdict               `json:"expected"`
	// Message is that of a denial.
	Message  string   `json:"message,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Policies are those that judged, from the audit annotations.
	Policies []string `json:"policies,omitempty"`
	// Violations are all of them with their effect, from the audit annotations.
	Violations []string `json:"violations,omitempty"`
	// Problem says what is not as the sample expects; empty: nothing.
	Problem string `json:"problem,omitempty"`

	title       string
	bringsImage bool
}

func newResult(s *sample, a answer, images []Image) Result {
	r := Result{
		File: s.file, Namespace: s.object.GetNamespace(), Kind: s.object.GetKind(), Name: s.object.GetName(),
		Operation: s.operation(), Images: images, Verdict: a.verdict, Expected: s.expected,
		Message: a.message, Warnings: a.warnings,
		Policies: split(a.annotations["policies"], ","), Violations: split(a.annotations["violations"], "\n"),
		title: s.name(), bringsImage: len(s.newUses) > 0,
	}
	r.Problem = r.problem(s.says)
	return r
}

func split(text, separator string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, separator)
}

// problem says what is not as expected.
func (r *Result) problem(says string) string {
	if r.Verdict != r.Expected {
		return fmt.Sprintf("%s, expected %s: %s", r.Verdict, r.Expected, strings.Join(r.why(), "; "))
	}
	if said := r.said(); !strings.Contains(strings.Join(said, "\n"), says) {
		return fmt.Sprintf("%s as expected, but without saying %q: %s", r.Verdict, says, strings.Join(r.why(), "; "))
	}
	return ""
}

// said is all that was said, to whoever sent the sample or to the audit log.
func (r *Result) said() []string {
	return slices.Concat([]string{r.Message}, r.Warnings, r.Violations)
}

// why tells in a few words why the verdict is what it is, one line a reason.
func (r *Result) why() []string {
	var reasons []string
	switch r.Verdict {
	case Denied:
		for line := range strings.Lines(r.Message) {
			if reason, found := strings.CutPrefix(strings.TrimSpace(line), "- "); found {
				reasons = append(reasons, r.shorten(reason))
			}
		}
	case Warned:
		for _, warning := range r.Warnings {
			reasons = append(reasons, r.shorten(warning))
		}
	default:
		for _, violation := range r.Violations {
			reasons = append(reasons, r.shorten(violation))
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
	case r.Message != "":
		return r.Message
	case len(r.Policies) > 0:
		return "passes " + strings.Join(r.Policies, ", ")
	case !r.bringsImage:
		return "brings no new image"
	}
	return "no policy judges it"
}

// shorten leaves out of a reason what stands in other columns: the image, its
// place if there is no other, and the policy if there is no other.
func (r *Result) shorten(reason string) string {
	subject, finding, found := strings.Cut(reason, " — ")
	if !found {
		return reason
	}
	if i := strings.LastIndex(finding, " [policy "); i > 0 && len(r.Policies) == 1 {
		finding = finding[:i]
	}
	for _, prefix := range []string{"its pods will be denied: ", "Audit: "} {
		if strings.HasPrefix(subject, prefix) {
			finding = prefix + finding
		}
	}
	if place, _, named := strings.Cut(subject, `": `); named && len(r.Images) > 1 {
		finding = place + `": ` + finding
	}
	return finding
}
