package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
)

// Defaults of Options. An object of etcd's limit of 1.5 MiB can grow sixfold in
// a review, where "<" is written <, and an update sends it twice.
const (
	DefaultMaxReviewBytes   = 32 << 20
	DefaultMaxInFlightBytes = 64 << 20
)

const (
	// headBytes is how much of a review that isn't read is read for its UID,
	// which comes first, and what it is about.
	headBytes = 16 << 10
	// drainBytes is how much of what isn't read is taken off the connection
	// before the answer: more than an API server can send.
	drainBytes = 64 << 20
	// DefaultArrivalTimeout is for the slowest of links.
	DefaultArrivalTimeout = 10 * time.Second
)

// Decider makes decisions: the gate.
type Decider interface {
	// Decide returns by the time that ctx ends.
	Decide(ctx context.Context, r gate.Request) gate.Decision
	// Denies reports whether any policy in force denies in the namespace. If
	// so, a review that can't be judged is denied.
	Denies(namespace string) bool
	// Exempts reports whether nothing is ever judged in the namespace.
	Exempts(namespace string) bool
}

// Options are the parts of a Handler.
type Options struct {
	Decider Decider
	// Ready returns why no decision can be made yet, or nil. Nil: always ready.
	Ready func() error
	// DryRun turns every denial into warnings.
	DryRun bool
	// Version is hssgate's, for the comment on a pod of ProbeImage.
	Version string
	// MaxReviewBytes bounds one review; 0 means DefaultMaxReviewBytes.
	MaxReviewBytes int64
	// Intake bounds what is read and decided at once; nil: one of its own with
	// the defaults.
	Intake *Intake
	// ArrivalTimeout is how long a review may take to arrive, whatever timeout
	// its URL tells; 0 means DefaultArrivalTimeout.
	ArrivalTimeout time.Duration
	// DefaultTimeout is that of a review whose URL tells none; 0 means
	// DefaultTimeout. TimeoutMargin is kept of every timeout for the way there
	// and back; 0 means DefaultTimeoutMargin.
	DefaultTimeout time.Duration
	TimeoutMargin  time.Duration
	// Metrics counts reviews; nil: nobody counts.
	Metrics *Metrics
	// Recorder hears of what was let past policies; nil: nobody does.
	Recorder Recorder
	// Tracer makes spans of reviews; nil: nobody traces.
	Tracer trace.Tracer
	// Scanner asks for scans of images that HSS has none of; nil: nobody does.
	Scanner Scanner
	// Log gets denials and failures; nil: slog.Default().
	Log *slog.Logger
}

func (o *Options) setDefaults() {
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	if o.MaxReviewBytes <= 0 {
		o.MaxReviewBytes = DefaultMaxReviewBytes
	}
	if o.Intake == nil {
		o.Intake = NewIntake(IntakeOptions{})
	}
	if o.ArrivalTimeout <= 0 {
		o.ArrivalTimeout = DefaultArrivalTimeout
	}
	if o.DefaultTimeout <= 0 {
		o.DefaultTimeout = DefaultTimeout
	}
	if o.TimeoutMargin <= 0 {
		o.TimeoutMargin = DefaultTimeoutMargin
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
}

// Handler answers the reviews of pods and of what makes pods.
type Handler struct {
	Options
	buffers  buffers
	denials  denials
	failures lineLimit
	// decided bounds the lines of denials, of pins and of what was let past.
	decided lineLimit
}

// NewHandler returns a handler to be registered on controller-runtime's
// webhook server.
func NewHandler(o Options) *Handler {
	o.setDefaults()
	return &Handler{Options: o, failures: newLineLimit(20, time.Second), decided: newLineLimit(200, 100*time.Millisecond)}
}

// front is what one path makes of the reviews that the Handler reads.
type front interface {
	// review answers a review that was read.
	review(ctx context.Context, rv *review) answer
	// failure answers one that can't be judged.
	failure(rv *review, code int32, reason metav1.StatusReason, why string) answer
	// observe counts an answer.
	observe(rv *review, allowed bool, took time.Duration, span trace.SpanContext)
}

// ServeHTTP answers one review.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, h) //nolint:contextcheck // it must not end with the request's
}

// serve answers one review. It goes on when the server shuts down or the
// caller leaves: a context that others cancel would make a denial of it.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, f front) {
	start := time.Now()
	budget := h.budget(r)
	ctx := &deadline{at: start.Add(budget)}
	defer ctx.end()
	connection := http.NewResponseController(w)
	// Not every ResponseWriter can; the body of one that can't is a test's.
	_ = connection.SetReadDeadline(start.Add(min(budget, h.ArrivalTimeout)))

	traced, span := h.startReview(ctx, r)
	var rv review
	a := h.answer(traced, connection, r, &rv, f)
	if err := a.write(w, rv.Request.UID, &h.buffers); err != nil {
		if suppressed, log := h.failures.note(); log {
			h.Log.Error("answer was not sent", "uid", rv.Request.UID, "error", err, "notLogged", suppressed)
		}
	}
	f.observe(&rv, a.allowed, time.Since(start), span.SpanContext())
	endReview(span, &rv.Request, &a)
}

func (h *Handler) observe(rv *review, allowed bool, took time.Duration, span trace.SpanContext) {
	h.Metrics.observe(rv.Request.Operation, allowed, took, span)
}

// answer never panics.
func (h *Handler) answer(ctx context.Context, connection *http.ResponseController, r *http.Request, rv *review, f front) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			h.Log.Error("panic while answering a review", "uid", rv.Request.UID, "panic", p, "stack", string(debug.Stack()))
			a = f.failure(rv, http.StatusInternalServerError, metav1.StatusReasonInternalError, "internal error, see hssgate's log")
		}
	}()
	if err := h.read(ctx, connection, r, rv); err != nil {
		code, reason := failureStatus(err)
		return f.failure(rv, code, reason, err.Error())
	}
	return f.review(ctx, rv)
}

func (h *Handler) review(ctx context.Context, rv *review) answer {
	// Before anything that may be lacking: a finalizer or a status needs none.
	workloads := workloads(&rv.Request)
	if len(workloads) == 0 {
		return allow()
	}
	if err := h.begin(rv); err != nil {
		return h.failure(rv, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, err.Error())
	}
	defer h.Intake.end(rv.bytes)
	a := h.decide(ctx, &rv.Request, workloads[0])
	for _, another := range workloads[1:] {
		a = a.and(h.decide(ctx, &rv.Request, another))
	}
	return a
}

// begin reserves what a review takes of the intake, to be given back by
// Intake.end. The error says why there can't be a decision now.
func (h *Handler) begin(rv *review) error {
	if err := h.Ready(); err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	if !h.Intake.begin(rv.bytes) {
		return errBusy
	}
	return nil
}

var (
	errBusy = errors.New("too many reviews at once")
	errLate = errors.New("review did not arrive in time")
)

// read decodes the body.
func (h *Handler) read(ctx context.Context, connection *http.ResponseController, r *http.Request, rv *review) error {
	if r.ContentLength > h.MaxReviewBytes {
		return readHead(r, rv, fmt.Errorf("%w: %d bytes, at most %d are allowed", errTooLarge, r.ContentLength, h.MaxReviewBytes))
	}
	err := h.decode(ctx, connection, r, rv)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errLate):
		return errLate
	case errors.Is(err, errBusy):
		return errBusy
	}
	drain(r)
	return err
}

// decode reads the body at once if it fits into a buffer, or else bit by bit,
// within the bound of what is read at once.
func (h *Handler) decode(ctx context.Context, connection *http.ResponseController, r *http.Request, rv *review) error {
	if r.ContentLength < 0 || r.ContentLength > bufferBytes {
		body := h.Intake.arrive(ctx, r.Body, func() { _ = connection.SetReadDeadline(time.Now()) })
		defer body.leave()
		return decode(body, h.MaxReviewBytes, rv)
	}
	buffer := h.buffers.get()
	defer h.buffers.put(buffer)
	return decodeInto((*buffer)[:r.ContentLength], r.Body, rv)
}

// readHead reads just the UID of a review that isn't to be read, and what it is
// about, and returns why.
func readHead(r *http.Request, rv *review, why error) error {
	// It ends in an error by design: what counts is the UID it came past.
	_ = decode(r.Body, headBytes, rv)
	drain(r)
	return why
}

// drain reads the rest of the body, until the read deadline: an answer before
// the end of the request resets the connection, which to the API server is a
// call that failed.
func drain(r *http.Request) {
	_, _ = io.CopyN(io.Discard, r.Body, drainBytes)
}

func failureStatus(err error) (int32, metav1.StatusReason) {
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, image.ErrTooMany):
		return http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge
	case errors.Is(err, errBusy), errors.Is(err, errLate):
		return http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
	}
	return http.StatusBadRequest, metav1.StatusReasonBadRequest
}

// failure answers a review that can't be judged: denied if any policy denies.
func (h *Handler) failure(rv *review, code int32, reason metav1.StatusReason, why string) answer {
	req := &rv.Request
	if !concernsImages(req) {
		return allow()
	}
	if suppressed, log := h.failures.note(); log {
		h.Log.Error("review could not be judged", "uid", req.UID, "kind", req.Kind.Kind, "namespace", req.Namespace,
			"name", req.Name, "user", req.UserInfo.Username, "reason", why, "notLogged", suppressed)
	}
	message := oneLine("hssgate cannot judge this object: " + why)
	annotations := []annotation{{annotationDecision, "Failed"}, {annotationNotices, message}}
	if h.admitsUnjudged(req) {
		return answer{allowed: true, warnings: []string{message}, annotations: annotations}
	}
	return answer{code: code, reason: reason, message: message, annotations: annotations}
}

// concernsImages reports whether the request may bring images in, as far as it
// was read.
func concernsImages(req *request) bool {
	if req.Operation == admissionv1.Delete || req.Operation == admissionv1.Connect {
		return false
	}
	return req.Kind.Kind == "" || req.mayHoldImages()
}

func (h *Handler) admitsUnjudged(req *request) bool {
	if req.UID == "" {
		return false
	}
	if h.DryRun || h.Decider.Exempts(req.Namespace) {
		return true
	}
	return h.Ready() == nil && !h.Decider.Denies(req.Namespace)
}

func (h *Handler) decide(ctx context.Context, req *request, workload image.Workload) answer {
	r := gate.Request{Namespace: req.Namespace, Name: displayName(req), Workload: workload}
	ctx, span := h.startDecision(ctx)
	began := time.Now()
	d := h.Decider.Decide(ctx, r)
	h.Metrics.decided(&d, time.Since(began), span.SpanContext())
	endDecision(span, &d)
	h.askForScans(ctx, req, workload.Template, &d)
	h.logDenial(req, &d)
	h.recordLetPast(req, &d)
	a := h.conclude(&d)
	h.comment(&a, req.Namespace, workload)
	return a
}

// workloads returns the pod or the pod templates that bring images in. A new one
// is among them even if it names none.
func workloads(req *request) []image.Workload {
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
	if name := req.Object.Metadata.DisplayName(); name != "" {
		return name
	}
	return req.Name
}
