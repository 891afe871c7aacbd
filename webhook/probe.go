package webhook

import (
	"bytes"
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/image"
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

// comment adds the comment on the gate itself if the workload is a probe's.
func (h *Handler) comment(a *answer, namespace string, w image.Workload) {
	isProbe := func(use image.Use) bool { return use.Image == ProbeImage }
	if !slices.ContainsFunc(w.Uses, isProbe) {
		return
	}
	mode := "what policies deny is denied"
	if h.DryRun {
		mode = "dry-run mode, nothing is denied"
	}
	comment := fmt.Sprintf("hssgate %s"+evaluates+"%q: %s", h.Version, namespace, mode)
	if h.Decider.Exempts(namespace) {
		comment = fmt.Sprintf("hssgate %s does not evaluate pods of namespace %q: it is exempt", h.Version, namespace)
	}
	a.warnings = append([]string{comment}, a.warnings...)
}

// maxProbeAnswer bounds what is read of an answer to a probe.
const maxProbeAnswer = 1 << 20

// Probe sends one review of a pod without images, which every policy admits,
// and returns an error unless a complete answer with the same UID comes back. It
// is a *url.Error if the webhook could not be reached.
func Probe(ctx context.Context, client *http.Client, url string, uid types.UID) error {
	body, err := stdjson.Marshal(probe(uid))
	if err != nil {
		return fmt.Errorf("encode the review: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the webhook: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxProbeAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer has HTTP status %s, want 200 OK", response.Status)
	}
	return judgeProbe(data, uid)
}

func probe(uid types.UID) admissionv1.AdmissionReview {
	return admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: uid, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Name: "hssgate-probe", Operation: admissionv1.Create,
			Object: runtime.RawExtension{Raw: []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"hssgate-probe"}}`)},
		},
	}
}

func judgeProbe(data []byte, uid types.UID) error {
	var answer admissionv1.AdmissionReview
	switch err := stdjson.Unmarshal(data, &answer); {
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
