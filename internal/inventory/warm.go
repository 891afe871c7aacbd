package inventory

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/lookup"
)

// maxWarming bounds the images that a warm-up looks up at a time.
const maxWarming = 64

// Progress counts the images that a warm-up has seen yet, and how many of them are known.
type Progress struct{ Images, Known atomic.Int64 }

// Warm looks up the images of references, each once, unless they are fresh. Up to half of ctx's time it waits for the
// first lists of synchronised projects. The error says how many images are not known at the end, and why the first is not.
func (i *Inventory) Warm(ctx context.Context, refs iter.Seq[image.Reference], p *Progress) error {
	i.awaitLists(ctx)
	var group errgroup.Group
	group.SetLimit(maxWarming)
	seen := map[key]struct{}{}
	for ref := range refs {
		k, reason := i.locate(&ref)
		if _, again := seen[k]; again || reason != "" {
			continue
		}
		seen[k.clone()] = struct{}{}
		p.Images.Add(1)
		group.Go(func() error {
			if _, a, _, fresh := i.recall(&ref); !fresh {
				if _, err := i.records.Obtain(ctx, k.clone(), a, lookup.WarmUp, false); err != nil {
					return err
				}
			}
			p.Known.Add(1)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		images := p.Images.Load()
		return fmt.Errorf("%d of %d images could not be looked up ahead of time, the first since %w", images-p.Known.Load(), images, err)
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
		for p.syncer != nil && p.coverage.Load() == nil && ctx.Err() == nil {
			sleep(ctx, 10*time.Millisecond)
		}
	}
}
