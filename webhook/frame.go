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
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"github.com/hssgate/hssgate/internal/image"
)

const (
	// maxReviewBytes is far more than an API server sends: an object has at most
	// 1.5 MiB, which JSON's escapes make up to six times as long, and an update
	// has it twice.
	maxReviewBytes = 32 << 20
	// headBytes is how much of a review that is too large is read, for its UID.
	headBytes = 16 << 10
	// smallBytes is the size up to which bodies are read without a limit on
	// their number, other than that of connections.
	smallBytes = 16 << 10
	// drainBytes is how much of an unread body is discarded before the answer.
	drainBytes = 64 << 20
	// arrivalTimeout bounds the time that a body takes to arrive.
	arrivalTimeout = 10 * time.Second
	// patience is how long a large body may take while others wait for room.
	patience = time.Second
)

var (
	errTooLarge = errors.New("review is too large")
	errBusy     = errors.New("too many reviews at once")
	errLate     = errors.New("review did not arrive in time")
	errNotReady = errors.New("not ready")
	errInternal = errors.New("internal error, see hssgate's log")
)

// front is what one path does with the reviews that a frame reads.
type front interface {
	// review answers a review that was read.
	review(ctx context.Context, rv *review) (*response, error)
	// failure answers a review that could not be read or evaluated.
	failure(rv *review, err error) *response
}

// frame reads reviews and sends a complete answer to each of them, in time,
// whatever happens in between: the API server would apply failurePolicy to
// anything else.
type frame struct {
	// maxBytes bounds one review.
	maxBytes int64
	// arrivalTimeout bounds the time that a body takes to arrive.
	arrivalTimeout time.Duration
	// bodies bounds the large bodies that are read at once.
	bodies *bodies
	// evaluating bounds the reviews that are evaluated at once, in bytes. Each
	// counts as leastBytes at least.
	evaluating *semaphore.Weighted
	leastBytes int64
	// keepObjects keeps the objects of reviews as they were sent.
	keepObjects bool
	// tracer is nil without tracing.
	tracer   trace.Tracer
	log      *slog.Logger
	failures *limitedLog
}

// serve answers one review, and returns it with the answer and their span.
func (f *frame) serve(w http.ResponseWriter, r *http.Request, path front) (*review, *response, trace.SpanContext) {
	budget := budget(r)
	// The review goes on when its caller leaves or the server shuts down: a
	// cancelled look-up would deny the object.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), budget)
	defer cancel()
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(min(budget, f.arrivalTimeout))) // unsupported only in tests

	ctx, span := startReview(ctx, f.tracer, r)
	rv := &review{}
	a := f.answer(ctx, connection, r, rv, path)
	a.UID = rv.Request.UID
	if err := a.write(w); err != nil {
		f.failures.get().Error("answer was not sent", "uid", a.UID, "error", err)
	}
	endReview(span, &rv.Request, a)
	return rv, a, span.SpanContext()
}

// answer never panics.
func (f *frame) answer(ctx context.Context, c *http.ResponseController, r *http.Request, rv *review, path front) (a *response) {
	defer func() {
		if p := recover(); p != nil {
			f.log.Error("panic while answering a review", "uid", rv.Request.UID, "panic", p, "stack", string(debug.Stack()))
			a = path.failure(rv, errInternal)
		}
	}()
	err := f.read(ctx, c, r, rv)
	if err == nil {
		a, err = path.review(ctx, rv)
	}
	if err != nil {
		a = path.failure(rv, err)
	}
	return a
}

// read decodes the body. What it read before an error stays in rv.
func (f *frame) read(ctx context.Context, c *http.ResponseController, r *http.Request, rv *review) error {
	limit := f.maxBytes
	if r.ContentLength > limit {
		limit = headBytes
	}
	var reader io.Reader = http.MaxBytesReader(nil, r.Body, limit)
	rv.bytes = r.ContentLength
	if r.ContentLength < 0 || r.ContentLength > smallBytes {
		b := f.bodies.add(ctx, reader, func() { _ = c.SetReadDeadline(time.Now()) })
		defer func() { rv.bytes = b.read; b.leave() }()
		reader = b
	}
	rv.Request.prepare(f.keepObjects)
	err := decode(reader, rv)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errLate):
		return errLate
	case errors.Is(err, errBusy):
		return errBusy
	}
	// An answer before the end of the request would reset the connection, which
	// to the API server is a call that failed.
	_, _ = io.CopyN(io.Discard, r.Body, drainBytes)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fmt.Errorf("%w: at most %d bytes are allowed", errTooLarge, f.maxBytes)
	}
	return err
}

func (f *frame) logFailure(event string, r *request, err error) {
	f.failures.get().Error(event, "uid", r.UID, "kind", r.Kind.Kind, "namespace", r.Namespace, "name", r.Name,
		"user", r.UserInfo.Username, "reason", err)
}

// begin reserves room for the evaluation of a review, until end is called.
func (f *frame) begin(rv *review) (end func(), err error) {
	n := max(rv.bytes, f.leastBytes)
	if !f.evaluating.TryAcquire(n) {
		return nil, errBusy
	}
	return func() { f.evaluating.Release(n) }, nil
}

// The API server's timeout: what it is if the URL has none, its maximum, and
// how much of it is kept for the way there and back.
const (
	defaultTimeout = 10 * time.Second
	maxTimeout     = 30 * time.Second
	timeoutMargin  = 500 * time.Millisecond
)

// budget returns the time that may be spent on a review: the API server's
// timeout, which is in the URL, less the margin, or half of a short timeout.
func budget(r *http.Request) time.Duration {
	timeout, err := time.ParseDuration(r.URL.Query().Get("timeout"))
	if err != nil || timeout <= 0 {
		timeout = defaultTimeout
	}
	timeout = min(timeout, maxTimeout)
	return max(timeout-timeoutMargin, timeout/2)
}

func statusOf(err error) int32 {
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, image.ErrTooMany):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, errBusy), errors.Is(err, errLate), errors.Is(err, errNotReady):
		return http.StatusServiceUnavailable
	case errors.Is(err, errInternal):
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}
