package webhook

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
)

// The audit annotations of the webhook that pins.
const (
	annotationPinned    = "pinned"
	annotationNotPinned = "not-pinned"
)

// Pinner finds the digests to pin: the gate.
type Pinner interface {
	// Pin returns by the time that ctx ends.
	Pin(ctx context.Context, r gate.Request) gate.Pinning
}

// Pinning returns the handler of a mutating webhook that writes into a pod the
// digests that HSS scanned. It reads reviews within the bounds of h, and admits
// every object: whatever goes wrong, tags stay as they are, and h judges them.
func (h *Handler) Pinning(p Pinner) http.Handler {
	return &pinning{handler: h, pinner: p}
}

type pinning struct {
	handler *Handler
	pinner  Pinner
	left    denials
}

var _ front = (*pinning)(nil)

// ServeHTTP answers one review.
func (p *pinning) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.handler.serve(w, r, p) //nolint:contextcheck // it must not end with the request's
}

func (p *pinning) observe(_ *review, _ bool, took time.Duration, _ trace.SpanContext) {
	p.handler.Metrics.pinReviewed(took)
}

func (p *pinning) review(ctx context.Context, rv *review) answer {
	pod, pointers := pinnable(&rv.Request)
	if len(pod.Uses) == 0 {
		return allow()
	}
	if err := p.handler.begin(rv); err != nil {
		return p.failure(rv, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, err.Error())
	}
	defer p.handler.Intake.end(rv.bytes)
	r := gate.Request{Namespace: rv.Request.Namespace, Name: displayName(&rv.Request), Workload: pod}
	found := p.pinner.Pin(ctx, r)
	if !rv.Request.DryRun {
		p.handler.Metrics.pinned(&found, p.handler.DryRun)
	}
	p.log(&rv.Request, &found)
	return p.conclude(&found, pointers)
}

// conclude turns what was found into an answer.
func (p *pinning) conclude(found *gate.Pinning, pointers []string) answer {
	pinned, left := oneLineEach(found.Lines(true)), oneLineEach(append(found.Lines(false), found.Notices...))
	a := answer{allowed: true, warnings: left}
	if len(left) > 0 {
		a.annotations = append(a.annotations, annotation{annotationNotPinned, strings.Join(left, "\n")})
	}
	if len(pinned) == 0 {
		return a
	}
	if p.handler.DryRun {
		for _, line := range pinned {
			a.warnings = append(a.warnings, "would be pinned, but hssgate runs dry: "+line)
		}
		a.annotations = append(a.annotations, annotation{annotationDryRun, "true"})
		return a
	}
	a.annotations = append(a.annotations, annotation{annotationPinned, strings.Join(pinned, "\n")})
	a.patch = patchOf(found.Pins, pointers)
	return a
}

// patchOf is the JSON patch (RFC 6902) that writes the pins. The object that it
// is for is the very one that the review held, so nothing in it needs a test.
func patchOf(pins []gate.Pin, pointers []string) []byte {
	patch := []byte{'['}
	for i := range pins {
		if pins[i].Pinned == "" {
			continue
		}
		if len(patch) > 1 {
			patch = append(patch, ',')
		}
		patch = append(patch, `{"op":"replace","path":`...)
		patch = appendString(patch, pointers[pins[i].Index])
		patch = append(patch, `,"value":`...)
		patch = appendString(patch, pins[i].Pinned)
		patch = append(patch, '}')
	}
	return append(patch, ']')
}

// pinnable returns the pod with the images that may be pinned, and the JSON
// pointers to them: of an update, those that it brings in. There are none in
// anything but a pod, and in a mirror pod, which only shows what a node runs by
// itself.
func pinnable(req *request) (pod image.Workload, pointers []string) {
	if !concernsPins(req) || req.Object.Metadata.Annotations.Mirror != nil {
		return image.Workload{}, nil
	}
	all, _ := req.Object.Workload(req.Kind.Group, req.Kind.Kind)
	workloads := workloads(req)
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

// concernsPins reports whether the request may bring a pod's images in, as far
// as it was read.
func concernsPins(req *request) bool {
	return concernsImages(req) && req.Kind.Group == "" && (req.Kind.Kind == "" || req.Kind.Kind == "Pod")
}

// failure admits what can't be pinned.
func (p *pinning) failure(rv *review, _ int32, reason metav1.StatusReason, why string) answer {
	req := &rv.Request
	if !concernsPins(req) || p.handler.Decider.Exempts(req.Namespace) {
		return allow()
	}
	if suppressed, log := p.handler.failures.note(); log {
		p.handler.Log.Error("images could not be pinned", "uid", req.UID, "namespace", req.Namespace, "name", req.Name,
			"user", req.UserInfo.Username, "reason", why, "notLogged", suppressed)
	}
	p.handler.Metrics.pinFailed(reason)
	message := oneLine("hssgate cannot pin images: " + why)
	return answer{allowed: true, warnings: []string{message}, annotations: []annotation{{annotationNotPinned, message}}}
}

// log logs what was left, and the same again only once a minute.
func (p *pinning) log(req *request, found *gate.Pinning) {
	if pinned := found.Lines(true); len(pinned) > 0 {
		p.handler.Log.Debug("pinned", "images", pinned, "namespace", req.Namespace, "name", displayName(req), "uid", req.UID)
	}
	left := append(found.Lines(false), found.Notices...)
	if len(left) == 0 {
		return
	}
	what := append([]string{req.Namespace, cmp.Or(ownerOf(req), displayName(req))}, left...)
	if repeats, isNews := p.left.note(time.Now(), what...); isNews {
		p.handler.decisionLog().Info("not pinned", "images", left, "repeats", repeats, "namespace", req.Namespace, "name", displayName(req), "uid", req.UID,
			"operation", req.Operation, "dryRunRequest", req.DryRun, "dryRun", p.handler.DryRun)
	}
}
