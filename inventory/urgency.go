package inventory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// level says how urgent a question to HSS is. The lower goes first.
type level int32

const (
	// forAdmission: a request waits for the answer.
	forAdmission level = iota
	// forWarmUp: a replica waits to be ready. It may use all that admissions
	// leave.
	forWarmUp
	// forBackground: nobody waits. It may use no more than its share.
	forBackground
	levels
)

// urgency is how urgent a question is now, and for which namespace: one that was
// asked in the background becomes urgent when a request needs its answer too,
// wherever it waits by then.
type urgency struct {
	mu        sync.Mutex
	at        level
	namespace string
	turns     *turnstile
	turn      *turn         // nil: it hasn't come to the turnstile
	raised    chan struct{} // closed when the level becomes forAdmission

	started atomic.Bool  // it has had its turn
	limited atomic.Int32 // calls that wait for the request budget
	sent    atomic.Int64 // when the first one was let through, in nanoseconds since the epoch
	last    atomic.Pointer[error]
}

// failed notes what HSS answered to an attempt that may be followed by another,
// if it answered.
func (u *urgency) failed(err error) {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return
	}
	u.last.Store(&err)
}

// timedOut returns why there is no answer after a time in which HSS was asked.
func (u *urgency) timedOut(waited time.Duration) error {
	if last := u.last.Load(); last != nil {
		return &lastError{err: *last, waited: waited}
	}
	return &timeoutError{waited: waited}
}

func newUrgency(l level) *urgency {
	return &urgency{at: l, raised: make(chan struct{})}
}

func (u *urgency) level() level {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.at
}

// raise makes the question urgent, for a namespace.
func (u *urgency) raise(namespace string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.at != forAdmission {
		u.at, u.namespace = forAdmission, namespace
		close(u.raised)
	}
	if u.turn != nil {
		u.turns.move(u.turn, namespace)
	}
}

// enter takes the question to a turnstile.
func (u *urgency) enter(t *turnstile, calls int) *turn {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.turns, u.turn = t, t.enter(u.at, u.namespace, calls)
	return u.turn
}

// unsent reports whether an admission's question has not come to HSS.
func (u *urgency) unsent() bool {
	return u.level() == forAdmission && (!u.started.Load() || u.limited.Load() > 0 && u.sent.Load() == 0)
}

// late returns why a question has no answer after a time.
func (u *urgency) late(waited time.Duration) error {
	asked := waited
	if at := u.sent.Load(); at != 0 {
		asked = time.Since(time.Unix(0, at))
	}
	waited = waited.Round(100 * time.Millisecond)
	if u.last.Load() != nil {
		return u.timedOut(waited)
	}
	switch {
	case !u.started.Load():
		return &busyError{fmt.Sprintf("HSS was not asked in time (%s), since as many requests as maxConcurrent allows are under way", waited)}
	case u.limited.Load() > 0:
		return &unsentError{fmt.Errorf("HSS was not asked in time (%s), since as many requests as requestsPerSecond allows were sent", waited)}
	case asked < waited/2:
		return &busyError{fmt.Sprintf("HSS was asked too late (after %s of %s), since many other requests came first", waited-asked.Round(100*time.Millisecond), waited)}
	}
	return u.timedOut(waited)
}

type urgencyKey struct{}

// withUrgency tells the budget how urgent the calls that it lets through are.
func withUrgency(ctx context.Context, u *urgency) context.Context {
	return context.WithValue(ctx, urgencyKey{}, u)
}

// urgencyOf is the urgency of a call, which is of an admission if nobody says.
func urgencyOf(ctx context.Context) *urgency {
	if u, ok := ctx.Value(urgencyKey{}).(*urgency); ok {
		return u
	}
	return newUrgency(forAdmission)
}
