package webhook

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type response struct{ admissionv1.AdmissionResponse }

func allowed(warnings ...string) *response {
	return &response{admissionv1.AdmissionResponse{Allowed: true, Warnings: warnings}}
}

func denied(code int32, message string) *response {
	reasons := map[int32]metav1.StatusReason{
		http.StatusBadRequest: metav1.StatusReasonBadRequest, http.StatusForbidden: metav1.StatusReasonForbidden,
		http.StatusRequestEntityTooLarge: metav1.StatusReasonRequestEntityTooLarge,
		http.StatusInternalServerError:   metav1.StatusReasonInternalError,
		http.StatusServiceUnavailable:    metav1.StatusReasonServiceUnavailable,
	}
	status := &metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reasons[code], Message: message}
	return &response{admissionv1.AdmissionResponse{Result: status}}
}

// annotate adds an audit annotation, unless there are no lines. The API server puts
// the webhook's name before the key.
func (a *response) annotate(key string, lines []string, separator string) {
	if len(lines) == 0 {
		return
	}
	if a.AuditAnnotations == nil {
		a.AuditAnnotations = map[string]string{}
	}
	a.AuditAnnotations[key] = strings.Join(oneLineEach(lines), separator)
}

// write sends the complete AdmissionReview. A request without a UID was no
// review, which the HTTP status says, too.
func (a *response) write(w http.ResponseWriter) error {
	a.Warnings = oneLineEach(a.Warnings)
	meta := metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: reviewKind}
	body, err := json.Marshal(admissionv1.AdmissionReview{TypeMeta: meta, Response: &a.AdmissionResponse}, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return fmt.Errorf("encode AdmissionReview: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if a.UID == "" {
		w.WriteHeader(http.StatusBadRequest)
	}
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("send AdmissionReview: %w", err)
	}
	return nil
}

// oneLine makes a text fit a warning header: the API server drops a warning with
// control characters.
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
