package lookup

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// phase is how far a look-up has come.
type phase int

const (
	queued  phase = iota // other calls come first
	called               // it has a slot
	limited              // requestsPerSecond allows no more calls
	sent                 // its first request was sent
)

// attempt is how far a look-up has come, for those who wait for it.
type attempt struct {
	mu    sync.Mutex
	phase phase
	sent  time.Time
	// last is what HSS answered last to a request that is sent again, or how its answer broke off.
	last error
}

// reach notes a phase, unless it is one of a later request.
func (a *attempt) reach(p phase) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p > a.phase {
		a.phase, a.sent = p, time.Now()
	}
}

// noteRetry keeps what HSS answered to a request that may be sent again, if it answered.
func (a *attempt) noteRetry(err error) {
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.last = err
	}
}

// late returns why there is no answer for a caller who has waited for a time. If HSS had less than half of it, other calls are why.
func (p *Project) late(a *attempt, waited time.Duration) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.phase == queued, a.phase == sent && a.last == nil && time.Since(a.sent) < waited/2:
		return failuref(notCalled, "HSS was not called in time (%s), since other calls came first: at most %d are made at one time", rounded(waited), cap(p.slots))
	case a.phase == limited:
		return failuref(notSent, "HSS was not called in time (%s), since requestsPerSecond allows no more calls", rounded(waited))
	case a.last != nil:
		err := failuref(down, "%s; no other answer came in %s", reasonOf(p.group.Language, a.last), rounded(waited))
		err.last = a.last
		return err
	default:
		return failuref(down, "HSS did not answer in time (%s)", rounded(waited))
	}
}

type (
	attemptKey  struct{}
	endpointKey struct{}
)

func withAttempt(ctx context.Context, a *attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

func attemptOf(ctx context.Context) *attempt {
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		return a
	}
	return &attempt{}
}

// burstSeconds is for how many seconds' calls a project that was idle may call at once.
const burstSeconds = 2

// NewBudget returns a function that waits until one more request of a project may be sent.
func NewBudget(perSecond float64) func(context.Context) error {
	limiter := rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond*burstSeconds)))
	return func(ctx context.Context) error {
		a := attemptOf(ctx)
		a.reach(limited)
		if limiter.Wait(ctx) != nil {
			return failuref(notSent, "HSS was not called in time, since requestsPerSecond allows no more calls")
		}
		a.reach(sent)
		return nil
	}
}

// MayRetry notes for those who wait what HSS answered to a request, and reports whether it may be sent again: not while HSS
// is only tried.
func MayRetry(ctx context.Context, err error) bool {
	attemptOf(ctx).noteRetry(err)
	e, _ := ctx.Value(endpointKey{}).(*Endpoint)
	return e.closed()
}
