package webhook

import (
	"net/http"
	"slices"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/gate"
)

// The audit annotations. The API server puts the webhook's name before them.
const (
	annotationDecision   = "decision"
	annotationPolicies   = "policies"
	annotationViolations = "violations"
	annotationNotices    = "notices"
	annotationDryRun     = "dry-run"
	annotationExceptions = "exceptions"
	annotationScans      = "scans"
	annotationGrace      = "grace"
)

// conclude turns a decision into an answer.
func (h *Handler) conclude(d *gate.Decision) answer {
	a := answer{warnings: h.warnings(d), annotations: h.annotations(d)}
	switch d.Outcome {
	case gate.Admitted:
		a.allowed = true
		return a
	case gate.Unavailable:
		a.code, a.reason = http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
	case gate.Denied:
		a.code, a.reason = http.StatusForbidden, metav1.StatusReasonForbidden
	default:
		a.code, a.reason = http.StatusInternalServerError, metav1.StatusReasonInternalError
		a.message = "hssgate came to no decision"
		return a
	}
	if h.DryRun { // the warnings tell what would have been denied
		return answer{allowed: true, warnings: a.warnings, annotations: a.annotations}
	}
	a.message = d.Message()
	return a
}

// and joins the answers about two templates of one object. The first denial is the
// whole answer.
func (a answer) and(b answer) answer {
	if !a.allowed {
		return a
	}
	b.warnings = slices.Concat(a.warnings, b.warnings)
	if b.allowed && len(a.annotations) > 0 {
		b.annotations = a.annotations
	}
	return b
}

func (h *Handler) warnings(d *gate.Decision) []string {
	if h.DryRun {
		return oneLineEach(d.DryWarnings())
	}
	return oneLineEach(d.Warnings())
}

// annotations record the decision in the API server's audit log.
func (h *Handler) annotations(d *gate.Decision) []annotation {
	if len(d.Policies) == 0 && len(d.Notices) == 0 {
		return nil
	}
	annotations := make([]annotation, 1, 5)
	annotations[0] = annotation{annotationDecision, string(d.Outcome)}
	add := func(key string, lines []string, separator string) {
		if len(lines) > 0 {
			annotations = append(annotations, annotation{key, strings.Join(lines, separator)})
		}
	}
	add(annotationPolicies, d.Policies, ",")
	add(annotationViolations, oneLineEach(d.Lines()), "\n")
	add(annotationNotices, oneLineEach(d.Notices), "\n")
	add(annotationExceptions, exceptionLines(d), "\n")
	add(annotationScans, d.Scans, "\n")
	add(annotationGrace, graceLines(d), "\n")
	if h.DryRun {
		annotations = append(annotations, annotation{annotationDryRun, "true"})
	}
	return annotations
}

// oneLine makes a text fit a warning header: the API server drops one with a
// control character in it.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

func oneLineEach(lines []string) []string {
	for i := range lines {
		lines[i] = oneLine(lines[i])
	}
	return lines
}
