package inventory

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hssgate/hssgate/internal/image"
)

const (
	// maxWarming bounds the images that a warm-up looks up at a time.
	maxWarming = 64
	// warmUpRetry is the pause before a warm-up tries again what failed.
	warmUpRetry = time.Second
)

// Progress is called with how many images a warm-up has seen yet, and how many of them are known. It is called by one
// goroutine at a time and must not block.
type Progress func(images, known int)

// Warm looks up the images of references, each once, unless they are fresh, and returns when all are known or ctx ends:
// what fails is tried again. The error says how many images are not known, and why the first is not.
func (i *Inventory) Warm(ctx context.Context, refs iter.Seq[image.Reference], p Progress) error {
	var mu sync.Mutex
	images, known := 0, 0
	count := func(moreImages, moreKnown int) {
		mu.Lock()
		defer mu.Unlock()
		images += moreImages
		known += moreKnown
		p(images, known)
	}
	var group errgroup.Group
	group.SetLimit(maxWarming)
	seen := map[key]struct{}{}
	for ref := range refs {
		k, reason := i.locate(&ref)
		if _, again := seen[k]; again || reason != "" {
			continue
		}
		seen[k.clone()] = struct{}{}
		count(1, 0)
		group.Go(func() error {
			err := i.warm(ctx, &ref)
			if err == nil {
				count(0, 1)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("%d of %d images could not be looked up ahead of time, the first since %w", images-known, images, err)
	}
	return nil
}

// warm looks up one image until it is known or ctx ends. The error is why the first call failed.
func (i *Inventory) warm(ctx context.Context, ref *image.Reference) (why error) {
	for {
		k, a, _, fresh := i.recall(ref)
		if fresh {
			return nil
		}
		_, err := i.records.obtain(ctx, k.clone(), a, warmUp, false)
		if err == nil {
			return nil
		}
		if why = cmp.Or(why, err); ctx.Err() != nil {
			return why
		}
		sleep(ctx, i.jitter(warmUpRetry))
	}
}
