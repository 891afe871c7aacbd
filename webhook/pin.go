package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
)

// Pinning returns the handler of a mutating webhook that writes into a pod the
// digests that HSS scanned. It shares the limits of h, and admits every object:
// whatever goes wrong, tags stay as they are, and h decides about them.
func (h *Handler) Pinning() http.Handler { return (*pinning)(h) }

type pinning Handler

// ServeHTTP answers one review.
func (p *pinning) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.frame.serve(w, r, p) }

func (p *pinning) review(ctx context.Context, rv *review) (*response, error) {
	req := &rv.Request
	pod, pointers := pinnable(req)
	if len(pod.Uses) == 0 {
		return allowed(), nil
	}
	end, err := (*Handler)(p).begin(rv)
	if err != nil {
		return nil, err
	}
	defer end()
	found := p.Decider.Pin(ctx, gate.Request{Namespace: req.Namespace, Name: displayName(req), Workload: pod})
	if !req.DryRun {
		p.Metrics.pinned(&found, p.DryRun)
	}
	pinned, left := found.Lines(true), append(found.Lines(false), found.Notices...)
	p.logPins(req, pinned, left)
	return p.conclude(pinned, left, found.Pins, pointers), nil
}

func (p *pinning) conclude(pinned, left []string, pins []gate.Pin, pointers []string) *response {
	a := allowed(left...)
	a.annotate("not-pinned", left, "\n")
	switch {
	case len(pinned) == 0:
	case p.DryRun:
		for _, line := range pinned {
			a.Warnings = append(a.Warnings, p.Language.Sprintf("would be pinned (dry-run mode): %s", line))
		}
		a.annotate("dry-run", []string{"true"}, "")
	default:
		a.annotate("pinned", pinned, "\n")
		a.Patch, a.PatchType = patchOf(pins, pointers), new(admissionv1.PatchTypeJSONPatch)
	}
	return a
}

// patchOf returns the JSON patch (RFC 6902) that writes the pins. It is for the very
// object that the review held, so nothing in it needs a test.
func patchOf(pins []gate.Pin, pointers []string) []byte {
	var patch []map[string]string
	for i := range pins {
		if pins[i].Pinned != "" {
			patch = append(patch, map[string]string{"op": "replace", "path": pointers[pins[i].Index], "value": pins[i].Pinned})
		}
	}
	text, err := json.Marshal(patch)
	if err != nil { // can't happen: texts only
		return nil
	}
	return text
}

// pinnable returns the pod with the images that may be pinned, and the JSON
// pointers to them: of an update, those that it adds. Only pods are pinned, and no
// mirror pod, which only shows what a node runs by itself.
func pinnable(req *request) (pod image.Workload, pointers []string) {
	if !concernsPins(req) || req.Object.Metadata.Annotations.Mirror != nil {
		return image.Workload{}, nil
	}
	all, _ := req.Object.Workload(req.Kind.Group, req.Kind.Kind)
	workloads := newImages(req)
	if len(workloads) == 0 {
		return image.Workload{}, nil
	}
	pod = workloads[0]
	isNew := map[string]bool{}
	for _, use := range pod.Uses {
		isNew[use.Image] = true
	}
	pod.Uses = nil
	for i, pointer := range req.Object.Spec.Pointers() {
		if use := all.Uses[i]; use.Image != "" && isNew[use.Image] {
			pod.Uses, pointers = append(pod.Uses, use), append(pointers, pointer)
		}
	}
	return pod, pointers
}

// concernsPins reports whether the request may add images to a pod, as far as it was
// read.
func concernsPins(req *request) bool {
	return req.mayAddImages() && req.Kind.Group == "" && (req.Kind.Kind == "" || req.Kind.Kind == "Pod")
}

// failure admits a pod whose images could not be pinned.
func (p *pinning) failure(rv *review, err error) *response {
	req := &rv.Request
	if !concernsPins(req) || p.Decider.Exempts(req.Namespace) {
		return allowed()
	}
	p.frame.logFailure("images could not be pinned", req, err)
	message := oneLine(p.Language.Sprintf("hssgate could not pin images: %s", p.Language.Error(err)))
	p.Metrics.pins.WithLabelValues("failed", string(denied(statusOf(err), message).Result.Reason)).Inc()
	a := allowed(message)
	a.annotate("not-pinned", []string{message}, "")
	return a
}

// logPins logs the images that were left, and the same again only once a minute.
func (p *pinning) logPins(req *request, pinned, left []string) {
	if len(pinned) > 0 {
		p.Log.Debug("pinned", "images", pinned, "namespace", req.Namespace, "name", displayName(req), "uid", req.UID)
	}
	if len(left) == 0 || !(*Handler)(p).isNew(append(left, "not pinned", req.Namespace, cmp.Or(req.Object.Metadata.Controller.String(), displayName(req)))...) {
		return
	}
	p.decisions.get().Info("not pinned", "images", left, "namespace", req.Namespace, "name", displayName(req), "uid", req.UID,
		"operation", req.Operation, "dryRunRequest", req.DryRun, "dryRun", p.DryRun)
}
