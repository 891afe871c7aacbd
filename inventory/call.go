package inventory

import (
	"context"
	"errors"
	"time"

	"github.com/hssgate/hssgate/hss"
)

// question is what a project's HSS is asked.
type question struct {
	project *project
	urgency *urgency
	// calls is how many calls it makes side by side, if it may.
	calls int
	// deep marks a page far down a list, which HSS may be slow to find or fail
	// at, though it is well: it is asked for only while HSS is known to be.
	deep bool
	// aside marks what verdicts can do without: that it fails keeps nobody from
	// being asked for anything else.
	aside bool
}

// call lets f ask HSS once that may be, and judges by its error how HSS is. f
// is told how many calls it may make side by side. It has the project's time
// for a look-up, which begins when it does.
func (i *Inventory) call(ctx context.Context, q question, f func(ctx context.Context, sideBySide int) error) (err error) {
	p := q.project
	if err := p.breaker.forbids(i.clock.Now(), q.deep || q.aside); err != nil {
		return err // without standing in the queue for it
	}
	own, err := i.turn(ctx, q)
	if err != nil {
		return err
	}
	defer p.turns.release(own)
	q.urgency.started.Store(true)
	if err := p.pause(i.clock.Now()); err != nil {
		return err
	}
	era, err := p.breaker.allow(i.clock.Now(), q.deep || q.aside)
	if err != nil {
		return err
	}
	defer func() { i.settle(q, era, err) }()
	defer recovered(&err)
	ctx, cancel := context.WithTimeoutCause(withUrgency(ctx, q.urgency), p.lookupTimeout, &timeoutError{waited: p.lookupTimeout})
	defer cancel()
	return f(ctx, own.calls)
}

// turn waits for a turn, for as long as a look-up may take.
func (i *Inventory) turn(ctx context.Context, q question) (*turn, error) {
	ctx, cancel := context.WithTimeout(ctx, q.project.lookupTimeout)
	defer cancel()
	own, err := q.project.turns.acquire(ctx, q.urgency, q.calls)
	if err != nil && i.base.Err() != nil {
		return nil, errClosed
	}
	return own, err
}

// settle draws from the end of a call what follows for the next ones.
func (i *Inventory) settle(q question, era int, err error) {
	if i.base.Err() != nil && err != nil {
		err = errClosed // no fault of HSS's
	}
	p, now := q.project, i.clock.Now()
	i.noteKey(p, err)
	if !q.deep && !q.aside || err == nil {
		p.breaker.report(era, now, err)
	}
	if err == nil {
		p.lastSuccess.Store(now.UnixNano())
		return
	}
	var e *hss.Error
	if !q.aside && errors.As(err, &e) && e.RetryAfter > 0 && !e.Unauthenticated() {
		p.paused.Store(&failure{err: err, until: now.Add(min(e.RetryAfter, maxPause))})
	}
}

// noteKey reports when HSS begins and ceases to refuse the credentials.
func (i *Inventory) noteKey(p *project, err error) {
	_, refused := errors.AsType[*hss.RefusedError](err)
	switch {
	case refused && p.refused.CompareAndSwap(false, true):
		i.observer.Credentials(p.name, causeOf(err, ""))
	case err == nil && p.refused.CompareAndSwap(true, false):
		i.observer.Credentials(p.name, "")
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
