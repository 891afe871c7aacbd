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

// defaultLimit is how many rows the API sends on a page if it isn't told.
const defaultLimit = 10

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
	if i.Unreadable != "" {
		key.content = i.Unreadable
		return key, nil
	}
	content, err := json.Marshal(i)
	key.content = string(content)
	return key, err
}

// All returns the rows of all pages from r.Offset on, each once. It asks for
// pages of r.Limit rows, or of MaxLimit, until one is empty, or the first is
// whole beyond doubt: see isWhole. Any error ends it, also that there are more
// than Config.MaxPages pages or that the list repeats itself: it never ends
// early without one.
func (c *Client) All(ctx context.Context, r ListRequest) iter.Seq2[Image, error] {
	whole := false
	return allPages(c, keyOf, r.Offset, r.Limit, func(offset, limit int) ([]Image, error) {
		if whole && offset > 0 {
			return nil, nil
		}
		r.Offset, r.Limit = offset, limit
		list, err := c.List(ctx, r)
		if err != nil {
			return nil, err
		}
		whole = isWhole(r, list)
		return list.Images, nil
	})
}

// isWhole tells whether a page is the whole list, so that another call would
// only bring an empty page: a look-up of one image costs one call by it and not
// two. What total_num counts isn't documented, so it isn't believed alone: the
// page must be the first, and shorter than what was asked for and than any page
// that was cut at a limit of the API's own.
func isWhole(r ListRequest, list *ListResponse) bool {
	rows := len(list.Images)
	return r.Offset == 0 && rows == list.Total && rows < min(r.Limit, defaultLimit)
}

// allPages yields the rows of all pages, each once as key tells them apart,
// and any error at the end.
func allPages[T any, K comparable](
	c *Client, key func(T) (K, error), offset, limit int, fetch func(offset, limit int) ([]T, error),
) iter.Seq2[T, error] {
	if limit == 0 {
		limit = MaxLimit
	}
	return func(yield func(T, error) bool) {
		walk := pageWalk[T, K]{key: key, fetch: fetch, offset: offset, limit: limit, seen: map[K]bool{}}
		var none T
		for range c.config.MaxPages {
			fresh, more, err := walk.page()
			if err != nil {
				yield(none, err)
				return
			}
			if !yieldAll(fresh, yield) || !more {
				return
			}
		}
		yield(none, fmt.Errorf("the list has more than %d pages of %d rows", c.config.MaxPages, limit))
	}
}

// yieldAll reports whether the caller wants more.
func yieldAll[T any](rows []T, yield func(T, error) bool) bool {
	for _, row := range rows {
		if !yield(row, nil) {
			return false
		}
	}
	return true
}

// pageWalk is where allPages stands.
type pageWalk[T any, K comparable] struct {
	key           func(T) (K, error)
	fetch         func(offset, limit int) ([]T, error)
	offset, limit int
	seen          map[K]bool
	repeats       int
}

// page reads the next page. It returns its rows that are new, and whether
// another page may follow.
func (w *pageWalk[T, K]) page() (fresh []T, more bool, err error) {
	if w.offset > MaxOffset {
		return nil, false, fmt.Errorf("the list goes on past offset %d, which the API does not allow", MaxOffset)
	}
	rows, err := w.fetch(w.offset, w.limit)
	if err != nil {
		return nil, false, fmt.Errorf("rows from %d on: %w", w.offset, err)
	}
	if len(rows) == 0 {
		return nil, false, nil
	}
	w.offset += len(rows)
	for _, row := range rows {
		key, err := w.key(row)
		if err != nil {
			return nil, false, fmt.Errorf("telling rows apart: %w", err)
		}
		if !w.seen[key] {
			w.seen[key] = true
			fresh = append(fresh, row)
		}
	}
	return fresh, true, w.countRepeats(len(fresh))
}

// countRepeats fails if the list goes on and on with rows that were seen.
func (w *pageWalk[T, K]) countRepeats(fresh int) error {
	if fresh > 0 {
		w.repeats = 0
		return nil
	}
	w.repeats++
	if w.repeats < maxRepeats {
		return nil
	}
	return fmt.Errorf("the list repeats itself: %d pages before offset %d brought nothing new", w.repeats, w.offset)
}
