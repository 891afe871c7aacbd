package inventory

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/hssgate/hssgate/image"
)

// maxWarming bounds the images that one warm-up asks for at a time; how many
// of these HSS is asked for is the project's to bound.
const maxWarming = 64

// Warm looks up the images of references, each once, unless they are known and
// fresh, and returns when all are known or ctx ends. Admissions go first. If
// projects are synchronised and Start was called, it first awaits their lists,
// which may answer for most. The error says how many could not be looked up,
// and why the first could not; nothing else depends on it.
func (i *Inventory) Warm(ctx context.Context, refs iter.Seq[image.Reference]) error {
	i.awaitLists(ctx)
	var w warmUp
	asked := map[key]bool{}
	var group errgroup.Group
	group.SetLimit(maxWarming)
	for ref := range refs {
		k, reason := i.locate(&ref)
		if reason != "" || asked[k] {
			continue
		}
		asked[k] = true
		known := i.cache.get(k)
		if known != nil && !known.doubtful && i.age(known) < i.lasts(known, "") {
			continue
		}
		group.Go(func() error {
			w.note(guarded(func() error { return i.warm(ctx, k, known) }))
			return nil
		})
	}
	_ = group.Wait() // its functions return no error
	return w.outcome(len(asked))
}

// warm looks up one image, unless time is up.
func (i *Inventory) warm(ctx context.Context, k key, known *answer) error {
	if ctx.Err() != nil {
		return fmt.Errorf("time is up: %w", context.Cause(ctx))
	}
	_, err := i.ask(ctx, k, known, forWarmUp)
	return err
}

// awaitLists waits for the first lists of synchronised projects.
func (i *Inventory) awaitLists(ctx context.Context) {
	if !i.started.Load() {
		return
	}
	for _, p := range i.projects {
		if p.syncer == nil {
			continue
		}
		select {
		case <-p.syncer.first:
		case <-ctx.Done():
			return
		}
	}
}

// warmUp counts what failed.
type warmUp struct {
	failed atomic.Int64
	first  atomic.Pointer[error]
}

func (w *warmUp) note(err error) {
	if err == nil {
		return
	}
	w.failed.Add(1)
	w.first.CompareAndSwap(nil, &err)
}

func (w *warmUp) outcome(images int) error {
	first := w.first.Load()
	if first == nil {
		return nil
	}
	return fmt.Errorf("%d of %d images could not be looked up ahead of time, the first since %w", w.failed.Load(), images, *first)
}
