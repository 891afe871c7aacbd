package inventory

import (
	"container/list"
	"context"
	"fmt"
	"sync"
)

// turnstile lets a bounded number of calls to one project through at a time:
// those that admissions wait for first, and of these one namespace's after
// another's, so that none waits for all that another asks for. Neither a
// namespace nor the background gets all slots. How many may wait is bounded, too.
type turnstile struct {
	slots      int // for all
	namespace  int // of these, for the admissions of one namespace
	background int // of these, for the background
	bound      int // how many may wait

	mu      sync.Mutex
	busy    int
	waiting int
	queues  [levels]queue
}

// queue holds the turns of one level. Its lines are served in rotation.
type queue struct {
	lines map[string]*line
	order list.List // of *line: those that aren't empty, the next first
}

// line holds the turns of one namespace. Other levels than that of admissions
// have one line.
type line struct {
	namespace string
	share     int           // of the slots
	busy      int           // of the share
	turns     list.List     // of *turn, the oldest first
	place     *list.Element // in the queue's order; nil: it is empty
}

// turn is the right to make some calls at one time.
type turn struct {
	calls int
	level level         // in whose queue it waits, or as what it was let through
	line  *line         // in which it waits, or of which it was let through
	place *list.Element // in the line; nil: it waits no longer
	ready chan struct{} // closed when it waits no longer
	err   error         // why it was refused
}

func newTurnstile(slots, backgroundPercent, bound int) *turnstile {
	return &turnstile{slots: slots, namespace: slots - slots/4, background: max(1, slots*backgroundPercent/100), bound: bound}
}

// busyError says that too many wait already, or that a turn did not come.
type busyError struct{ reason string }

func (e *busyError) Error() string { return e.reason }

// acquire waits for a turn to make up to calls calls at one time. The turn may
// allow fewer. It fails at once if too many wait already.
func (t *turnstile) acquire(ctx context.Context, u *urgency, calls int) (*turn, error) {
	own := u.enter(t, calls)
	select {
	case <-own.ready:
		return own, own.err
	case <-ctx.Done():
		return t.abandon(own)
	}
}

// enter joins a line, and lets through what may be. If too many wait then, the
// last of the longest line of the least urgent is refused.
func (t *turnstile) enter(l level, namespace string, calls int) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := &turn{calls: calls, ready: make(chan struct{})}
	t.join(own, l, namespace)
	own.calls = min(calls, own.line.share)
	t.advance()
	if t.waiting > t.bound {
		last := t.last()
		t.leave(last)
		last.err = &busyError{fmt.Sprintf("HSS is not asked, since %d images already wait for their turn", t.waiting)}
		close(last.ready)
		t.advance()
	}
	return own
}

// last returns the last turn of the longest line of the least urgent level.
func (t *turnstile) last() *turn {
	for l := levels - 1; ; l-- {
		var longest *line
		for e := t.queues[l].order.Front(); e != nil; e = e.Next() {
			if one, ok := e.Value.(*line); ok && (longest == nil || one.turns.Len() >= longest.turns.Len()) {
				longest = one
			}
		}
		if longest != nil || l == 0 {
			last, _ := longest.turns.Back().Value.(*turn)
			return last
		}
	}
}

// move has a turn that waits go on as an admission of a namespace, if it is less
// urgent or fewer wait in the line of the namespace.
func (t *turnstile) move(own *turn, namespace string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own.place == nil {
		return
	}
	if to := t.queues[forAdmission].lines[namespace]; own.level == forAdmission && to != nil && to.turns.Len() >= own.line.turns.Len() {
		return
	}
	t.leave(own)
	t.join(own, forAdmission, namespace)
	t.advance()
}

// abandon gives up waiting, unless the turn came meanwhile.
func (t *turnstile) abandon(own *turn) (*turn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own.place == nil {
		return own, own.err
	}
	t.leave(own)
	ahead := t.waiting
	t.advance()
	return nil, &busyError{fmt.Sprintf("HSS was not asked, since no turn came in time; %d other images wait for theirs", ahead)}
}

// join puts a turn at the end of a line. The caller holds the lock.
func (t *turnstile) join(own *turn, l level, namespace string) {
	if l != forAdmission {
		namespace = ""
	}
	q := &t.queues[l]
	if q.lines == nil {
		q.lines = map[string]*line{}
	}
	if q.lines[namespace] == nil {
		q.lines[namespace] = &line{namespace: namespace, share: t.share(l, namespace)}
	}
	own.level, own.line = l, q.lines[namespace]
	own.place = own.line.turns.PushBack(own)
	if own.line.place == nil {
		own.line.place = q.order.PushBack(own.line)
	}
	t.waiting++
}

// share returns how many slots a line may have.
func (t *turnstile) share(l level, namespace string) int {
	switch {
	case l == forBackground:
		return t.background
	case namespace != "":
		return t.namespace
	}
	return t.slots
}

// leave takes a turn out of its line. Those behind it may fit where it did not.
// The caller holds the lock.
func (t *turnstile) leave(own *turn) {
	own.line.turns.Remove(own.place)
	own.place = nil
	t.waiting--
	if own.line.turns.Len() == 0 {
		t.queues[own.level].order.Remove(own.line.place)
		own.line.place = nil
	}
	t.forget(own)
}

// forget drops the line of a turn once it is not needed.
func (t *turnstile) forget(own *turn) {
	if own.line.place == nil && own.line.busy == 0 {
		delete(t.queues[own.level].lines, own.line.namespace)
	}
}

// release gives a turn back.
func (t *turnstile) release(own *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy -= own.calls
	own.line.busy -= own.calls
	t.forget(own)
	t.advance()
}

// advance lets through what may be, in order. Nothing overtakes what is more
// urgent, unless that waits for its own line. The caller holds the lock.
func (t *turnstile) advance() {
	for l := range t.queues {
		order := &t.queues[l].order
		for e := order.Front(); e != nil; {
			first, _ := e.Value.(*line)
			next, _ := first.turns.Front().Value.(*turn)
			if first.busy+next.calls > first.share && first.busy > 0 {
				e = e.Next()
				continue
			}
			if t.busy+next.calls > t.slots {
				return
			}
			t.busy += next.calls
			first.busy += next.calls
			t.leave(next)
			close(next.ready)
			if first.place != nil {
				order.MoveToBack(first.place)
			}
			e = order.Front()
		}
	}
}

// load tells how many calls are under way and how many turns are waited for.
func (t *turnstile) load() (underWay, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.busy, t.waiting
}
