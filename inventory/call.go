package inventory

import (
	"context"
	"errors"
	"time"

	"github.com/hssgate/hssgate/hss"
)

// call lets f ask a project's HSS once that may be, and judges by its error
// how HSS is. f makes up to calls calls side by side, and is told how many of
// these it may. It has the project's time for a look-up, which begins when it
// does.
func (i *Inventory) call(ctx context.Context, p *project, u *urgency, calls int, f func(ctx context.Context, sideBySide int) error) (err error) {
	if err := p.breaker.forbids(i.clock.Now()); err != nil {
		return err // without standing in the queue for it
	}
	own, err := i.turn(ctx, p, u, calls)
	if err != nil {
		return err
	}
	defer p.turns.release(own)
	if err := p.pause(i.clock.Now()); err != nil {
		return err
	}
	era, err := p.breaker.allow(i.clock.Now())
	if err != nil {
		return err
	}
	defer func() { i.settle(p, era, err) }()
	defer recovered(&err)
	ctx, cancel := context.WithTimeoutCause(withUrgency(ctx, u), p.lookupTimeout, &timeoutError{waited: p.lookupTimeout})
	defer cancel()
	return f(ctx, own.calls)
}

// turn waits for a turn, for as long as a look-up may take.
func (i *Inventory) turn(ctx context.Context, p *project, u *urgency, calls int) (*turn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.lookupTimeout, &timeoutError{waited: p.lookupTimeout})
	defer cancel()
	own, err := p.turns.acquire(ctx, u, calls)
	if err != nil && i.base.Err() != nil {
		return nil, errClosed
	}
	return own, err
}

// settle draws from the end of a call what follows for the next ones.
func (i *Inventory) settle(p *project, era int, err error) {
	if i.base.Err() != nil && err != nil {
		err = errClosed // no fault of HSS's
	}
	now := i.clock.Now()
	p.breaker.report(era, now, err)
	if err == nil {
		p.lastSuccess.Store(now.UnixNano())
		return
	}
	var e *hss.Error
	if errors.As(err, &e) && e.RetryAfter > 0 && !e.Unauthenticated() {
		p.paused.Store(&failure{err: err, until: now.Add(min(e.RetryAfter, maxPause))})
	}
}

// pause returns why nobody may ask a project now, if HSS has told us to wait.
func (p *project) pause(now time.Time) error {
	if f := p.paused.Load(); f != nil && now.Before(f.until) {
		return f.err
	}
	return nil
}

// guarded calls f and makes an error of a panic in it.
func guarded(f func() error) (err error) {
	defer recovered(&err)
	return f()
}

// sleep waits until ctx ends, if not before.
func (i *Inventory) sleep(ctx context.Context, d time.Duration) {
	t := i.clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
	case <-ctx.Done():
	}
}

// jitter spreads a time over a tenth more and less, so that replicas don't do
// the same at the same time.
func (i *Inventory) jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + i.random()/5))
}
