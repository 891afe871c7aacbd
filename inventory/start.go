package inventory

import (
	"context"
	"errors"
	"sync"
	"time"
)

// restartAfter is how long a loop that panicked waits.
const restartAfter = 10 * time.Second

// Start refreshes what is in use before it grows old, and synchronises the
// projects that are configured so, until ctx ends or Close is called, which is
// no error. Without it, HSS is asked only when somebody asks. It may be called
// once.
func (i *Inventory) Start(ctx context.Context) error {
	if !i.begin() {
		return errClosed
	}
	defer i.underWay.Done()
	if !i.started.CompareAndSwap(false, true) {
		return errors.New("the inventory was started already")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(i.base, cancel)() //nolint:contextcheck // it ends with either
	var loops sync.WaitGroup
	for _, p := range i.projects {
		loops.Go(func() { i.keepUp(ctx, func() { p.refresher.run(ctx, i, p) }) })
		if p.syncer != nil {
			loops.Go(func() { i.keepUp(ctx, func() { p.syncer.run(ctx) }) })
		}
	}
	loops.Wait()
	return nil
}

// NeedLeaderElection reports that every replica refreshes and synchronises for
// itself.
func (i *Inventory) NeedLeaderElection() bool { return false }

// keepUp runs a loop until ctx ends, and begins it anew if it panics.
func (i *Inventory) keepUp(ctx context.Context, loop func()) {
	for ctx.Err() == nil {
		err := guarded(func() error {
			loop()
			return nil
		})
		if err != nil {
			i.sleep(ctx, restartAfter)
		}
	}
}
