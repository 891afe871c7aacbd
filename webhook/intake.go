package webhook

import (
	"container/list"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of IntakeOptions.
const (
	// DefaultMaxUnderWay is ten thousand small reviews, or one of the largest.
	DefaultMaxUnderWay = 40 << 20
	// leastUnderWay is what the smallest review counts as.
	leastUnderWay = 4 << 10
	// DefaultPatience is far longer than the body of an API server takes.
	DefaultPatience = time.Second
)

// quantum is by how much an arriving body's share grows at least.
const quantum = 64 << 10

// IntakeOptions are the bounds of an Intake.
type IntakeOptions struct {
	// MaxBytes bounds the large bodies that are being read at once; 0 means
	// DefaultMaxInFlightBytes. Bodies that fit a pooled buffer don't count.
	MaxBytes int64
	// MaxUnderWay bounds the reviews that are being decided at once, in bytes; 0
	// means DefaultMaxUnderWay.
	MaxUnderWay int64
	// Patience is how long a body may let its reader wait before it makes room
	// for others if there's none left; 0 means DefaultPatience.
	Patience time.Duration
}

// Intake bounds what is read and decided at one time, over all handlers that
// share it. Whoever sends slowly holds up nobody: a body counts by what has
// arrived of it, whatever length it claims, and if there's no room for more, the
// one that is longest on its way goes first, or is given up if it isn't coming.
type Intake struct {
	IntakeOptions
	underWay atomic.Int64

	mu   sync.Mutex
	used int64
	// arrivals are the bodies on their way, the oldest first.
	arrivals list.List
	// released is closed when bytes are let go.
	released chan struct{}
}

// NewIntake returns an intake with nothing in it.
func NewIntake(o IntakeOptions) *Intake {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxInFlightBytes
	}
	if o.MaxUnderWay <= 0 {
		o.MaxUnderWay = DefaultMaxUnderWay
	}
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
	return &Intake{IntakeOptions: o, released: make(chan struct{})}
}

// begin reserves the right to decide about a review of some bytes, to be given
// back by end. It never waits.
func (i *Intake) begin(bytes int64) bool {
	if i.underWay.Add(max(bytes, leastUnderWay)) <= i.MaxUnderWay {
		return true
	}
	i.end(bytes)
	return false
}

func (i *Intake) end(bytes int64) { i.underWay.Add(-max(bytes, leastUnderWay)) }

// arrival is a body on its way.
type arrival struct {
	intake *Intake
	ctx    context.Context //nolint:containedctx // a Read has none
	body   io.Reader
	// abandon has the reading of the body fail.
	abandon func()
	since   time.Time
	element *list.Element

	// held is counted by the intake, left is what of it has not arrived yet.
	held, left int64
	abandoned  bool
	// waits is since when the body waits for room, waited how long it did before.
	waits  time.Time
	waited time.Duration
}

// arrive begins to count a body, until leave.
func (i *Intake) arrive(ctx context.Context, body io.Reader, abandon func()) *arrival {
	a := &arrival{intake: i, ctx: ctx, body: body, abandon: abandon, since: time.Now()}
	i.mu.Lock()
	defer i.mu.Unlock()
	a.element = i.arrivals.PushBack(a)
	return a
}

// leave lets go of what the body holds.
func (a *arrival) leave() {
	a.intake.mu.Lock()
	defer a.intake.mu.Unlock()
	if !a.abandoned {
		a.intake.drop(a)
	}
}

// drop takes a body out of the account.
func (i *Intake) drop(a *arrival) {
	i.arrivals.Remove(a.element)
	i.used -= a.held
	close(i.released)
	i.released = make(chan struct{})
}

// Read reads from the body, once there's room for what it read.
func (a *arrival) Read(p []byte) (int, error) {
	n, err := a.body.Read(p)
	for a.left < int64(n) {
		more := max(int64(n)-a.left, quantum)
		if err := a.hold(more); err != nil {
			return 0, err
		}
		a.left += more
	}
	a.left -= int64(n)
	return n, err
}

// hold has the intake count more bytes, and waits if it has no room for them.
func (a *arrival) hold(more int64) error {
	for {
		released, wait, err := a.tryHold(more)
		if released == nil {
			return err
		}
		select {
		case <-released:
		case <-time.After(wait):
		case <-a.ctx.Done():
			return errBusy
		}
	}
}

// tryHold returns what to wait for, or nil if that's not needed. The oldest
// never waits: if all did, none would end. So one body may be there in excess.
func (a *arrival) tryHold(more int64) (released <-chan struct{}, wait time.Duration, err error) {
	i, now := a.intake, time.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	a.stopWaiting(now)
	for {
		if a.abandoned {
			return nil, 0, errLate
		}
		oldest, _ := i.arrivals.Front().Value.(*arrival)
		if oldest == a || i.used+more <= i.MaxBytes {
			i.used += more
			a.held += more
			return nil, 0, nil
		}
		if wait = i.Patience - oldest.took(now); wait > 0 {
			a.waits = now
			return i.released, wait, nil
		}
		oldest.abandoned = true
		i.drop(oldest)
		oldest.abandon()
	}
}

func (a *arrival) stopWaiting(now time.Time) {
	if !a.waits.IsZero() {
		a.waited += now.Sub(a.waits)
		a.waits = time.Time{}
	}
}

// took is how long the body has been on its way, but for when it waited for room.
func (a *arrival) took(now time.Time) time.Duration {
	took := now.Sub(a.since) - a.waited
	if !a.waits.IsZero() {
		took -= now.Sub(a.waits)
	}
	return took
}
