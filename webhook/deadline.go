package webhook

import (
	"context"
	"sync"
	"time"
)

// deadline is a context that ends at a time and carries no values. Unlike that
// of context.WithDeadline it has no timer until somebody waits for its end:
// most reviews are decided from memory, and then nobody does.
type deadline struct {
	at time.Time

	mu      sync.Mutex
	waiting context.Context //nolint:containedctx // it is part of this one
	cancel  context.CancelFunc
	ended   bool
}

var _ context.Context = (*deadline)(nil)

// Deadline returns when the context ends.
func (d *deadline) Deadline() (at time.Time, ok bool) { return d.at, true }

// Done returns a channel that is closed when the context ends.
func (d *deadline) Done() <-chan struct{} { return d.timed().Done() }

// Err returns why the context has ended, or nil.
func (d *deadline) Err() error {
	d.mu.Lock()
	started := d.waiting != nil || d.ended || !time.Now().Before(d.at)
	d.mu.Unlock()
	if !started {
		return nil
	}
	return d.timed().Err()
}

// Value lets the contexts made from this one end by its timer, without a
// goroutine for each.
func (d *deadline) Value(key any) any { return d.timed().Value(key) }

// timed returns the context with the timer, started if it wasn't.
func (d *deadline) timed() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		d.waiting, d.cancel = context.WithDeadline(context.Background(), d.at)
		if d.ended {
			d.cancel()
		}
	}
	return d.waiting
}

// end ends the context.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.cancel != nil {
		d.cancel()
	}
}
