package inventory

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hssgate/hssgate/image"
)

const (
	// maxWarming bounds the images that one warm-up asks for at a time; how
	// many of these HSS is asked for is the project's to bound.
	maxWarming = 64
	// warmUpRetry is how long a warm-up waits before it asks again for what it
	// could not learn.
	warmUpRetry = time.Second
)

// Progress is told how far a warm-up is: how many images there are, as far as
// it has seen yet, and how many of them are known. It is called by one
// goroutine at a time and must not block.
type Progress func(images, known int)

// Warm looks up the images of references, each once, unless they are known and
// fresh, and returns when all are known or ctx ends: what fails is asked for
// again. Admissions go first. Projects that are synchronised list all that they
// have, once Start is called, and that may answer for most: up to half of the
// time that ctx has is spent waiting for it. The error says how many images are
// not known, and why the first is not; nothing else depends on it. Progress may
// be nil.
func (i *Inventory) Warm(ctx context.Context, refs iter.Seq[image.Reference], p Progress) error {
	i.awaitLists(ctx)
	if p == nil {
		p = func(int, int) {}
	}
	w := &warmUp{inventory: i, progress: p}
	missing := w.ask(ctx, w.once(refs))
	for len(missing) > 0 {
		i.sleep(ctx, i.jitter(warmUpRetry))
		if ctx.Err() != nil {
			return w.outcome(missing)
		}
		missing = w.ask(ctx, slices.Values(missing))
	}
	return nil
}

// awaitLists waits for the first lists of synchronised projects.
func (i *Inventory) awaitLists(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
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

// warmUp is one call of Warm.
type warmUp struct {
	inventory *Inventory
	progress  Progress

	mu            sync.Mutex
	images, known int
	missing       []key
	why           error // the first of them is missing
}

// once yields the key of each image that a registry claims, each once.
func (w *warmUp) once(refs iter.Seq[image.Reference]) iter.Seq[key] {
	return func(yield func(key) bool) {
		seen := map[key]struct{}{}
		for ref := range refs {
			k, reason := w.inventory.locate(&ref)
			if _, again := seen[k]; again || reason != "" {
				continue
			}
			seen[k] = struct{}{}
			w.count(1, 0)
			if !yield(k) {
				return
			}
		}
	}
}

// ask looks up what is not known and fresh, and returns what it could not learn.
func (w *warmUp) ask(ctx context.Context, keys iter.Seq[key]) []key {
	w.missing = nil
	var group errgroup.Group
	group.SetLimit(maxWarming)
	for k := range keys {
		group.Go(func() error {
			w.note(ctx, k, guarded(func() error { return w.inventory.warm(ctx, k) }))
			return nil
		})
	}
	_ = group.Wait() // its functions return no error
	return w.missing
}

// note keeps why the first one is missing; that time is up is a reason only if
// there was no other before.
func (w *warmUp) note(ctx context.Context, k key, err error) {
	if err == nil {
		w.count(0, 1)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.why == nil || (len(w.missing) == 0 && ctx.Err() == nil) {
		w.why = err
	}
	w.missing = append(w.missing, k)
}

func (w *warmUp) count(images, known int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.images += images
	w.known += known
	w.progress(w.images, w.known)
}

func (w *warmUp) outcome(missing []key) error {
	return fmt.Errorf("%d of %d images could not be looked up ahead of time, the first since %w", len(missing), w.images, w.why)
}

// warm looks up one image, unless it is known and fresh or time is up.
func (i *Inventory) warm(ctx context.Context, k key) error {
	known := i.cache.get(k)
	if known != nil && !known.doubtful && i.age(known) < i.lasts(known, "") {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("time is up: %w", context.Cause(ctx))
	}
	_, err := i.ask(ctx, k, known, "", forWarmUp)
	return err
}
