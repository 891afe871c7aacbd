package hss

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
)

// maxRepeats is how many pages in a row may bring nothing new. One may, as
// rows move between pages while the list changes.
const maxRepeats = 3

// rowKey tells rows apart. The id alone would do, were it always there and
// known to be unique among images of all types.
type rowKey struct {
	id                                                   string
	kind                                                 ImageType
	registry, instance, namespace, name, version, digest string
	// content is the whole row if it has no id: two rows that differ in
	// anything, in what their scans found say, are then two rows.
	content string
}

func keyOf(i Image) (rowKey, error) {
	key := rowKey{
		id: i.ID, kind: i.Type, registry: i.RegistryID, instance: i.InstanceID,
		namespace: i.Namespace, name: i.Name, version: i.Version, digest: i.Digest,
	}
	if i.ID != "" && i.ID != "0" {
		return key, nil
	}
	content, err := json.Marshal(i)
	key.content = string(content)
	return key, err
}

// All returns the rows of all pages from r.Offset on, each once. It asks for
// pages of r.Limit rows, or of MaxLimit, until one is empty. Any error ends
// it, also that there are more than Config.MaxPages pages or that the list
// repeats itself: it never ends early without one.
func (c *Client) All(ctx context.Context, r ListRequest) iter.Seq2[Image, error] {
	if r.Limit == 0 {
		r.Limit = MaxLimit
	}
	return func(yield func(Image, error) bool) {
		walk := pageWalk{seen: map[rowKey]bool{}, request: r}
		for range c.config.MaxPages {
			fresh, more, err := walk.page(ctx, c)
			if err != nil {
				yield(Image{}, err)
				return
			}
			if !yieldAll(fresh, yield) || !more {
				return
			}
		}
		yield(Image{}, fmt.Errorf("the list has more than %d pages of %d rows", c.config.MaxPages, r.Limit))
	}
}

// yieldAll reports whether the caller wants more.
func yieldAll(images []Image, yield func(Image, error) bool) bool {
	for _, image := range images {
		if !yield(image, nil) {
			return false
		}
	}
	return true
}

// pageWalk is where All stands.
type pageWalk struct {
	request ListRequest
	seen    map[rowKey]bool
	repeats int
}

// page reads the next page. It returns its rows that are new, and whether
// another page may follow.
func (w *pageWalk) page(ctx context.Context, c *Client) (fresh []Image, more bool, err error) {
	if w.request.Offset > MaxOffset {
		return nil, false, fmt.Errorf("the list goes on past offset %d, which the API does not allow", MaxOffset)
	}
	list, err := c.List(ctx, w.request)
	if err != nil {
		return nil, false, fmt.Errorf("rows from %d on: %w", w.request.Offset, err)
	}
	if len(list.Images) == 0 {
		return nil, false, nil
	}
	w.request.Offset += len(list.Images)
	for _, image := range list.Images {
		key, err := keyOf(image)
		if err != nil {
			return nil, false, fmt.Errorf("telling rows apart: %w", err)
		}
		if !w.seen[key] {
			w.seen[key] = true
			fresh = append(fresh, image)
		}
	}
	return fresh, true, w.countRepeats(fresh)
}

// countRepeats fails if the list goes on and on with rows that were seen.
func (w *pageWalk) countRepeats(fresh []Image) error {
	if len(fresh) > 0 {
		w.repeats = 0
		return nil
	}
	w.repeats++
	if w.repeats < maxRepeats {
		return nil
	}
	return fmt.Errorf("the list repeats itself: %d pages before offset %d brought nothing new", w.repeats, w.request.Offset)
}
