package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/internal/image"
)

// ProbeImage is the image of a pod that is created to see whether the API server
// calls hssgate: the answer holds a comment, which changes no verdict. The domain
// .invalid never resolves (RFC 2606), so no such pod can run.
const ProbeImage = "hssgate.invalid/probe"

// evaluates is the part of the comment that IsProbeComment recognises.
const evaluates = " evaluates pods of namespace "

// IsProbeComment reports whether a warning is the comment of a gate that
// evaluates the pod of ProbeImage.
func IsProbeComment(warning string) bool {
	return strings.HasPrefix(warning, "hssgate ") && strings.Contains(warning, evaluates)
}

// addProbeWarning adds the comment about hssgate itself if the pod is a probe's.
func (h *Handler) addProbeWarning(a *response, namespace string, w image.Workload) {
	if !slices.ContainsFunc(w.Uses, func(use image.Use) bool { return use.Image == ProbeImage }) {
		return
	}
	comment := fmt.Sprintf("hssgate %s"+evaluates+"%q: what policies deny is denied", h.Version, namespace)
	switch {
	case h.Decider.Exempts(namespace):
		comment = fmt.Sprintf("hssgate %s does not evaluate pods of namespace %q: it is exempt", h.Version, namespace)
	case h.DryRun:
		comment = fmt.Sprintf("hssgate %s"+evaluates+"%q: dry-run mode, nothing is denied", h.Version, namespace)
	}
	a.Warnings = append([]string{comment}, a.Warnings...)
}

// Probe sends one review of a pod without images, which every policy admits,
// and returns an error unless a complete answer with the same UID comes back. It
// is a *url.Error if the webhook could not be reached.
func Probe(ctx context.Context, client *http.Client, url string, uid types.UID) error {
	body := fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":%q,"kind":{"group":"","version":"v1","kind":"Pod"},`+
		`"name":"hssgate-probe","operation":"CREATE","object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"hssgate-probe"}}}}`, uid)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("call the webhook: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer has HTTP status %s, want 200 OK", response.Status)
	}
	return checkProbe(data, uid)
}

func checkProbe(data []byte, uid types.UID) error {
	var answer admissionv1.AdmissionReview
	switch err := json.Unmarshal(data, &answer); {
	case err != nil:
		return fmt.Errorf("the answer is no AdmissionReview: %w", err)
	case answer.Response == nil:
		return errors.New("the answer is no AdmissionReview: it has no response")
	case answer.Response.UID != uid:
		return fmt.Errorf("the answer is to another review: its UID is %q, not %q", answer.Response.UID, uid)
	case !answer.Response.Allowed && answer.Response.Result != nil:
		return fmt.Errorf("a pod without images was refused: %s", answer.Response.Result.Message)
	case !answer.Response.Allowed:
		return errors.New("a pod without images was refused")
	}
	return nil
}
