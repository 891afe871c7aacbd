package inventory

import (
	"context"
	"sync"
	"sync/atomic"
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
