package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/semaphore"
)

// Bounds of what a Guard lets through.
const (
	// guardMaxBytes is far more than a policy or an exception has, even twice.
	guardMaxBytes = 4 << 20
	// guardArriving bounds the bodies that are on their way at one time.
	guardArriving = 8 << 20
	// guardAtOnce reviews are decoded at one time: one may take twenty times
	// its size. guardWaiting more may wait for their turn, as many as GitOps tools
	// send side by side, with no more than guardHeld bytes in all.
	guardAtOnce  = 1
	guardWaiting = 256
	guardHeld    = 32 << 20
)

// Guard stands before a handler that reads and decodes whatever it is sent, as
// controller-runtime's do: it passes on reviews that have arrived in whole, a
// few at a time. The others get an answer that refuses them for now.
type Guard struct {
	next    http.Handler
	options Options
	buffers buffers
	slots   chan struct{}
	waiting chan struct{}
	held    *semaphore.Weighted
}

// NewGuard returns a guard before next.
func NewGuard(next http.Handler) *Guard {
	o := Options{Intake: NewIntake(IntakeOptions{MaxBytes: guardArriving})}
	o.setDefaults()
	return &Guard{
		next: next, options: o, slots: make(chan struct{}, guardAtOnce), waiting: make(chan struct{}, guardAtOnce+guardWaiting),
		held: semaphore.NewWeighted(guardHeld),
	}
}

// ServeHTTP has the handler answer, or refuses.
func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start, budget := time.Now(), g.options.budget(r)
	connection := http.NewResponseController(w)
	// Not every ResponseWriter can; the body of one that can't is a test's.
	_ = connection.SetReadDeadline(start.Add(min(budget, g.options.ArrivalTimeout)))
	ctx, cancel := context.WithTimeout(r.Context(), budget)
	defer cancel()

	whole, err := g.read(ctx, connection, r)
	if err == nil {
		// The handler would log each that is none.
		err = decode(bytes.NewReader(whole), guardMaxBytes, &review{})
	}
	if err != nil {
		g.refuse(w, whole, err)
		return
	}
	leave, err := g.enter(ctx, int64(len(whole)))
	if err != nil {
		g.refuse(w, whole, err)
		return
	}
	defer leave()
	r.Body = io.NopCloser(bytes.NewReader(whole))
	r.Header.Set("Content-Type", "application/json") // which it is
	g.next.ServeHTTP(w, r)
}

// read returns the body, or what has come of it.
func (g *Guard) read(ctx context.Context, connection *http.ResponseController, r *http.Request) ([]byte, error) {
	body := g.options.Intake.arrive(ctx, r.Body, func() { _ = connection.SetReadDeadline(time.Now()) })
	defer body.leave()
	var whole bytes.Buffer
	_, err := whole.ReadFrom(&limitedReader{body, guardMaxBytes, guardMaxBytes})
	if err != nil {
		drain(r)
	}
	return whole.Bytes(), err
}

// enter waits for a turn for a review of that size, unless many do.
func (g *Guard) enter(ctx context.Context, size int64) (leave func(), err error) {
	if !g.held.TryAcquire(size) {
		return nil, errBusy
	}
	select {
	case g.waiting <- struct{}{}:
	default:
		g.held.Release(size)
		return nil, errBusy
	}
	stopWaiting := func() { <-g.waiting; g.held.Release(size) }
	select {
	case g.slots <- struct{}{}:
		return func() { <-g.slots; stopWaiting() }, nil
	case <-ctx.Done():
		stopWaiting()
		return nil, errBusy
	}
}

// refuse answers a review of which there's only a part, that is none, or
// that has no turn.
func (g *Guard) refuse(w http.ResponseWriter, part []byte, err error) {
	var rv review
	// It may end in an error: what counts is the UID it came past.
	_ = decode(bytes.NewReader(part), headBytes, &rv)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errLate
	}
	a := answer{message: oneLine(fmt.Sprintf("hssgate cannot check this object now: %v", err))}
	a.code, a.reason = failureStatus(err)
	_ = a.write(w, rv.Request.UID, &g.buffers) // whoever left gets no answer
}
