package inventory

import (
	"container/list"
	"context"
	"fmt"
	"sync"
)

// turnstile lets a bounded number of calls to one project through at a time:
// those that admissions wait for first, and those of the background never in
// more than its share. How many may wait is bounded, too.
type turnstile struct {
	slots      int // for all
	background int // of these, for the background
	bound      int // how many may wait

	mu             sync.Mutex
	busy           int
	busyBackground int
	queues         [levels]list.List // of *turn
	waiting        int
}

// turn is the right to make some calls at one time.
type turn struct {
	calls int
	level level         // in whose queue it waits, or as what it was let through
	ready chan struct{} // closed when it is let through
	place *list.Element // nil: it was let through
}

func newTurnstile(slots, backgroundPercent, bound int) *turnstile {
	return &turnstile{slots: slots, background: max(1, slots*backgroundPercent/100), bound: bound}
}

// busyError says that too many wait already, or that a turn did not come.
type busyError struct{ reason string }

func (e *busyError) Error() string { return e.reason }

// acquire waits for a turn to make up to calls calls at one time. The turn may
// allow fewer. It fails at once if too many wait already.
func (t *turnstile) acquire(ctx context.Context, u *urgency, calls int) (*turn, error) {
	own, err := t.enter(u, calls)
	if err != nil {
		return nil, err
	}
	raised := u.raised
	for {
		select {
		case <-own.ready:
			return own, nil
		case <-raised:
			t.raise(own)
			raised = nil
		case <-ctx.Done():
			return t.abandon(own)
		}
	}
}

// enter joins the queue, and lets through whom it may.
func (t *turnstile) enter(u *urgency, calls int) (*turn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := &turn{calls: min(calls, t.slots), level: u.level(), ready: make(chan struct{})}
	if own.level == forBackground {
		own.calls = min(own.calls, t.background)
	}
	own.place = t.queues[own.level].PushBack(own)
	t.waiting++
	t.advance()
	if own.place != nil && t.waiting > t.bound {
		t.leave(own)
		return nil, &busyError{fmt.Sprintf("HSS is not asked, since %d images already wait for their turn", t.waiting)}
	}
	return own, nil
}

// raise moves a turn that waits to the queue of admissions.
func (t *turnstile) raise(own *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own.place == nil || own.level == forAdmission {
		return
	}
	t.queues[own.level].Remove(own.place)
	own.level = forAdmission
	own.place = t.queues[forAdmission].PushBack(own)
	t.advance()
}

// abandon gives up waiting, unless the turn came meanwhile.
func (t *turnstile) abandon(own *turn) (*turn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own.place == nil {
		return own, nil
	}
	ahead := t.waiting - 1
	t.leave(own)
	return nil, &busyError{fmt.Sprintf("HSS was not asked, since no turn came in time; %d other images wait for theirs", ahead)}
}

// leave takes a turn out of its queue. Whoever stood behind it may fit where
// it did not. The caller holds the lock.
func (t *turnstile) leave(own *turn) {
	t.queues[own.level].Remove(own.place)
	own.place = nil
	t.waiting--
	t.advance()
}

// release gives a turn back.
func (t *turnstile) release(own *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy -= own.calls
	if own.level == forBackground {
		t.busyBackground -= own.calls
	}
	t.advance()
}

// advance lets through whom it may, in their order. Nobody overtakes one who
// is more urgent. The caller holds the lock.
func (t *turnstile) advance() {
	for l := range t.queues {
		for first := t.queues[l].Front(); first != nil; first = t.queues[l].Front() {
			next, ok := first.Value.(*turn)
			if !ok || !t.fits(next) {
				return
			}
			t.queues[l].Remove(first)
			t.waiting--
			next.place = nil
			t.busy += next.calls
			if next.level == forBackground {
				t.busyBackground += next.calls
			}
			close(next.ready)
		}
	}
}

func (t *turnstile) fits(next *turn) bool {
	return t.busy+next.calls <= t.slots &&
		(next.level != forBackground || t.busyBackground+next.calls <= t.background)
}

// load tells how many calls are under way and how many turns are waited for.
func (t *turnstile) load() (underWay, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.busy, t.waiting
}
