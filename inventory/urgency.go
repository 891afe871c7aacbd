package inventory

import (
	"context"
	"fmt"
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

// urgency is how urgent a question is now: one that was asked in the
// background becomes urgent when a request needs its answer too, wherever it
// waits by then.
type urgency struct {
	at     atomic.Int32
	once   sync.Once
	raised chan struct{} // closed when the level becomes forAdmission
	// queued counts the calls that wait for a slot, limited those that wait for
	// the request budget.
	queued, limited atomic.Int32
}

func newUrgency(l level) *urgency {
	u := &urgency{raised: make(chan struct{})}
	u.at.Store(int32(l))
	return u
}

func (u *urgency) level() level { return level(u.at.Load()) }

// raise makes the question urgent.
func (u *urgency) raise() {
	u.once.Do(func() {
		u.at.Store(int32(forAdmission))
		close(u.raised)
	})
}

// late returns why a question has no answer after a time.
func (u *urgency) late(waited time.Duration) error {
	waited = waited.Round(100 * time.Millisecond)
	switch {
	case u.queued.Load() > 0:
		return &busyError{fmt.Sprintf("HSS was not asked in time (%s), since as many requests as maxConcurrent allows are under way", waited)}
	case u.limited.Load() > 0:
		return &unsentError{fmt.Errorf("HSS was not asked in time (%s), since as many requests as requestsPerSecond allows were sent", waited)}
	}
	return &timeoutError{waited: waited}
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
