// Package webhook answers the admission reviews of the API server: it reads an
// AdmissionReview, has the gate decide, and sends a complete answer.
package webhook

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/util/cache"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/internal/tracing"
)

const (
	// maxEvaluatingBytes is ten thousand small reviews, or one of the largest.
	maxEvaluatingBytes = 40 << 20
	// leastEvaluatingBytes is what the smallest review counts as.
	leastEvaluatingBytes = 4 << 10
	// maxScansRequested bounds the images of one pod that scans are requested for.
	maxScansRequested = 20
)

// decider decides about objects: the gate. Its methods return by the time that
// ctx ends.
type decider interface {
	Decide(ctx context.Context, r gate.Request) gate.Decision
	// Pin finds the digests of the images of a pod that are to be pinned.
	Pin(ctx context.Context, r gate.Request) gate.Pinning
	// Denies reports whether any policy denies in the namespace. If so, a review
	// that can't be evaluated is denied.
	Denies(namespace string) bool
	// Exempts reports whether no object in the namespace is evaluated.
	Exempts(namespace string) bool
}

// Options are the parts of a Handler. All but Decider are optional.
type Options struct {
	Decider decider
	// Ready returns why no decision can be made yet, or nil.
	Ready func() error
	// DryRun turns denials into warnings.
	DryRun bool
	// Language is that of what the handler writes itself, as the Decider has it.
	Language language.Language
	// Version is hssgate's, for the answer to a pod of ProbeImage.
	Version string
	// MaxInFlightBytes bounds the large reviews that are read at once.
	MaxInFlightBytes int64
	Metrics          *Metrics
	// ExceptionUsed is called when an exception allowed an object, but not for
	// dry-run requests. It must return at once.
	ExceptionUsed func(gate.ExceptionUse)
	// RequestScans requests scans of images that HSS has not scanned. It returns
	// soon, a note on each image, or an empty one.
	RequestScans func(ctx context.Context, images []image.Reference) []string
	Tracer       trace.Tracer
	Log          *slog.Logger
}

func (o *Options) setDefaults() {
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.MaxInFlightBytes = cmp.Or(o.MaxInFlightBytes, 64<<20)
}

// Handler answers the reviews of pods, and of objects with pod templates.
type Handler struct {
	Options
	frame     *frame
	decisions *limitedLog
	// logged holds the recent lines of decisions.
	logged *cache.LRUExpireCache
}

// NewHandler returns a handler of a validating webhook.
func NewHandler(o Options) *Handler {
	o.setDefaults()
	return &Handler{Options: o, decisions: newLimitedLog(o.Log, 10, 200), logged: cache.NewLRUExpireCache(maxLines), frame: &frame{
		maxBytes: maxReviewBytes, arrivalTimeout: arrivalTimeout,
		// One review may be there in excess.
		bodies:     newBodies(max(1, o.MaxInFlightBytes-maxReviewBytes), patience),
		evaluating: semaphore.NewWeighted(maxEvaluatingBytes), leastBytes: leastEvaluatingBytes,
		tracer: o.Tracer, log: o.Log, failures: newLimitedLog(o.Log, 1, 20),
	}}
}

// ServeHTTP answers one review.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	rv, a, span := h.frame.serve(w, r, h)
	h.Metrics.observe(rv, a.Allowed, time.Since(start), span)
}

// review decides about the images that the object adds. An update that adds none
// is allowed before anything that may be missing, such as policies.
func (h *Handler) review(ctx context.Context, rv *review) (*response, error) {
	workloads := newImages(&rv.Request)
	if len(workloads) == 0 {
		return allowed(), nil
	}
	end, err := h.begin(rv)
	if err != nil {
		return nil, err
	}
	defer end()
	a := h.decide(ctx, &rv.Request, workloads[0])
	for _, another := range workloads[1:] {
		if !a.Allowed {
			break
		}
		next := h.decide(ctx, &rv.Request, another)
		next.Warnings = slices.Concat(a.Warnings, next.Warnings)
		a = next
	}
	return a, nil
}

// begin starts the evaluation of a review, until end is called.
func (h *Handler) begin(rv *review) (end func(), err error) {
	if err := h.Ready(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotReady, err)
	}
	return h.frame.begin(rv)
}

// failure answers a review that could not be evaluated: denied if any policy
// denies in its namespace.
func (h *Handler) failure(rv *review, err error) *response {
	req := &rv.Request
	if !req.mayAddImages() {
		return allowed()
	}
	h.frame.logFailure("review could not be evaluated", req, err)
	message := oneLine(h.Language.Sprintf("hssgate could not evaluate this object: %s", h.Language.Error(err)))
	a := denied(statusOf(err), message)
	if h.allowsFailures(req) {
		a = allowed(message)
	}
	a.annotate("decision", []string{"Failed"}, "")
	a.annotate("notices", []string{message}, "")
	return a
}

func (h *Handler) allowsFailures(req *request) bool {
	mayBeDenied := !h.DryRun && !h.Decider.Exempts(req.Namespace) && (h.Ready() != nil || h.Decider.Denies(req.Namespace))
	return req.UID != "" && !mayBeDenied
}

// decide answers for one pod or pod template.
func (h *Handler) decide(ctx context.Context, req *request, workload image.Workload) *response {
	ctx, span := tracing.Start(ctx, tracing.SpanDecision)
	d := h.Decider.Decide(ctx, gate.Request{Namespace: req.Namespace, Name: displayName(req), Workload: workload})
	endDecision(span, &d)
	h.Metrics.decided(&d)
	h.requestScans(ctx, req, workload.Template, &d)
	h.logDenial(req, &d)
	h.recordExceptions(req, &d)
	a := h.conclude(&d)
	h.addProbeWarning(a, req.Namespace, workload)
	return a
}

func (h *Handler) conclude(d *gate.Decision) *response {
	var a *response
	switch {
	case d.Outcome == gate.Admitted:
		a = allowed()
	case d.Outcome != gate.Denied && d.Outcome != gate.Unavailable:
		a = denied(http.StatusInternalServerError, h.Language.Text("hssgate came to no decision"))
	case h.DryRun: // the warnings say what would have been denied
		a = allowed()
	case d.Outcome == gate.Unavailable:
		a = denied(http.StatusServiceUnavailable, d.Message())
	default:
		a = denied(http.StatusForbidden, d.Message())
	}
	if h.DryRun {
		a.Warnings = d.DryWarnings()
	} else {
		a.Warnings = d.Warnings()
	}
	if len(d.Policies) > 0 || len(d.Notices) > 0 {
		h.annotate(a, d)
	}
	return a
}

// annotate records the decision in the API server's audit log.
func (h *Handler) annotate(a *response, d *gate.Decision) {
	a.annotate("decision", []string{string(d.Outcome)}, "")
	a.annotate("policies", d.Policies, ",")
	a.annotate("violations", d.Lines(), "\n")
	a.annotate("notices", d.Notices, "\n")
	var exceptions []string
	for _, use := range d.ExceptionUses() {
		exceptions = append(exceptions, use.String())
	}
	a.annotate("exceptions", exceptions, "\n")
	a.annotate("scans", d.Scans, "\n")
	if h.DryRun {
		a.annotate("dry-run", []string{"true"}, "")
	}
}

// requestScans requests scans of the images of a pod that HSS has not scanned,
// unless the request is a dry run. The pods of a template request them themselves.
func (h *Handler) requestScans(ctx context.Context, req *request, template bool, d *gate.Decision) {
	if h.RequestScans == nil || h.DryRun || req.DryRun || template || len(d.Violations) == 0 {
		return
	}
	images := d.Unscanned()
	images = images[:min(len(images), maxScansRequested)]
	if len(images) == 0 {
		return
	}
	for n, note := range h.RequestScans(ctx, images) {
		if note != "" {
			d.Scans = append(d.Scans, oneLine(h.Language.Sprintf("%s: %s", images[n].String(), note)))
		}
	}
}

// newImages returns the pod or the pod templates with the images that the
// request adds. A new object is among them even if it names none.
func newImages(req *request) []image.Workload {
	if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return nil
	}
	all := req.Object.workloads(req)
	if req.Operation == admissionv1.Create {
		return all
	}
	var old []image.Use
	for _, w := range req.OldObject.workloads(req) {
		old = append(old, w.Uses...)
	}
	for i := range all {
		all[i].Uses = image.Missing(all[i].Uses, old)
	}
	return slices.DeleteFunc(all, func(w image.Workload) bool { return len(w.Uses) == 0 })
}

func displayName(req *request) string {
	return cmp.Or(req.Object.Metadata.DisplayName(), req.Name)
}
