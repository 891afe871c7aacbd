package hss

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
)

const (
	// maxReads is how often a list is read that changes while it is read.
	maxReads = 3
	// maxRepeats is how many pages in a row may bring nothing new. One may, as
	// rows move between pages while the list changes.
	maxRepeats = 3
	// defaultLimit is how many rows the API sends on a page by default.
	defaultLimit = 10
)

// IncompleteListError says that HSS answered, and that not all rows of a list
// could be seen, as may happen while it changes. Nothing may be concluded from
// such a list, least of all that a row is missing.
type IncompleteListError struct {
	// Reason says how that shows.
	Reason string
	// endless says that reading it again takes long and changes nothing.
	endless bool
}

// Error says how it shows.
func (e *IncompleteListError) Error() string { return "HSS's list is incomplete: " + e.Reason }

func incomplete(format string, args ...any) *IncompleteListError {
	return &IncompleteListError{Reason: fmt.Sprintf(format, args...)}
}

func endless(format string, args ...any) *IncompleteListError {
	return &IncompleteListError{Reason: fmt.Sprintf(format, args...), endless: true}
}

// RowKey tells the rows of the list of images apart: by their IDs, and by all
// that a row says if it has none. Two rows with one key are one row, which may
// have changed between two pages.
type RowKey struct {
	id      string
	kind    ImageType
	content string
}

// KeyOf returns the key of a row.
func KeyOf(i *Image) RowKey {
	if i.ID != "" && i.ID != "0" {
		return RowKey{id: i.ID, kind: i.Type}
	}
	content, err := json.Marshal(i)
	if err != nil { // a time that JSON can't hold: such rows count as one
		return RowKey{content: err.Error()}
	}
	return RowKey{content: string(content)}
}

// Walk follows a list from page to page and tells at its end whether all of it
// was seen. It counts different rows: a list that changes while it is read can
// repeat a row, and so miss another.
type Walk[K comparable] struct {
	start, offset, limit int
	// total is the largest number of rows that any page named.
	total    int
	seen     map[K]struct{}
	repeated bool
	// idle is how many pages in a row brought nothing new.
	idle int
}

// NewWalk begins a walk at an offset, by pages of up to limit rows.
func NewWalk[K comparable](offset, limit int) *Walk[K] {
	return &Walk[K]{start: offset, offset: offset, limit: limit, total: UnknownTotal, seen: map[K]struct{}{}}
}

// Offset returns where the next page begins: behind all rows that were
// received, repeated or not.
func (w *Walk[K]) Offset() int { return w.offset }

// Add notes the keys of a page's rows and the total that it names. It reports
// whether another page may follow: not after an empty one, nor after a first
// page that is the whole list beyond doubt. A list that does not end is an
// *IncompleteListError.
func (w *Walk[K]) Add(total int, keys []K) (more bool, err error) {
	first, before := w.offset == 0, len(w.seen)
	w.total = max(w.total, total)
	for _, key := range keys {
		_, again := w.seen[key]
		w.repeated = w.repeated || again
		w.seen[key] = struct{}{}
	}
	w.offset += len(keys)
	if w.idle++; len(w.seen) > before {
		w.idle = 0
	}
	switch {
	case len(keys) == 0, first && w.isWhole(len(keys)):
		return false, nil
	case w.idle >= maxRepeats:
		return false, endless("it repeats itself: %d pages before offset %d brought nothing new", w.idle, w.offset)
	case w.offset > MaxOffset:
		return false, endless("it goes on past offset %d, which the API does not allow", MaxOffset)
	}
	return true, nil
}

// isWhole reports whether a first page is the whole list, so that another call
// would only bring an empty page: most images cost one call and not two by it.
// What total_num counts isn't documented, so the page must also be shorter than
// what was asked for and than any that was cut at a limit of the API's own.
func (w *Walk[K]) isWhole(rows int) bool {
	return rows == w.total && rows == len(w.seen) && rows < min(w.limit, defaultLimit)
}

// Err returns an *IncompleteListError unless every row was seen: at least as
// many different ones as any page counted. A count that is missing or too small
// proves nothing. Then a list ends where a page is empty, as the API's own
// clients read it, but only if no row came twice.
func (w *Walk[K]) Err() error {
	switch rows := w.start + len(w.seen); {
	case rows < w.total:
		return incomplete("it shows %d of %d rows", rows, w.total)
	case rows > w.total && w.repeated:
		return incomplete("it shows rows twice, and HSS does not say how many there are")
	}
	return nil
}

// page is one page of a list.
type page[T any] struct {
	total int // or UnknownTotal
	rows  []T
}

// All returns the rows of all pages from r.Offset on. A row that changed while
// the list was read comes once in each state, else each row comes once. It asks
// for pages of r.Limit rows, or of MaxLimit. A list of which rows are missing is
// read again; if they still are, the error is an *IncompleteListError. Any
// error ends it, also that there are more than Config.MaxPages pages or that the
// list repeats itself: it never ends early without one.
func (c *Client) All(ctx context.Context, r ListRequest) iter.Seq2[Image, error] {
	key := func(i Image) RowKey { return KeyOf(&i) }
	same := func(a, b Image) bool { return reflect.DeepEqual(a, b) }
	return allPages(c, key, same, r.Offset, r.Limit, func(offset, limit int) (page[Image], error) {
		r.Offset, r.Limit = offset, limit
		list, err := c.List(ctx, r)
		if err != nil {
			return page[Image]{}, err
		}
		return page[Image]{list.Total, list.Images}, nil
	})
}

// allPages yields the rows of all pages, each once as key and same tell them
// apart, and any error at the end. Without same the key alone does.
func allPages[T any, K comparable](
	c *Client, key func(T) K, same func(a, b T) bool, offset, limit int, fetch func(offset, limit int) (page[T], error),
) iter.Seq2[T, error] {
	if limit == 0 {
		limit = MaxLimit
	}
	return func(yield func(T, error) bool) {
		r := reader[T, K]{key: key, same: same, fetch: fetch, yield: yield, limit: limit, maxPages: c.config.MaxPages, states: map[K][]T{}}
		var err error
		for range maxReads {
			err = r.read(offset)
			var part *IncompleteListError
			if !errors.As(err, &part) || part.endless {
				break
			}
		}
		if err != nil && !r.stopped {
			var none T
			yield(none, err)
		}
	}
}

// reader reads a list for one caller.
type reader[T any, K comparable] struct {
	key             func(T) K
	same            func(a, b T) bool // optional
	fetch           func(offset, limit int) (page[T], error)
	yield           func(T, error) bool
	limit, maxPages int
	// states are what was yielded of each row.
	states map[K][]T
	// stopped says that the caller wants no more rows.
	stopped bool
}

// read reads the list once.
func (r *reader[T, K]) read(offset int) error {
	walk := NewWalk[K](offset, r.limit)
	for range r.maxPages {
		page, err := r.fetch(walk.Offset(), r.limit)
		if err != nil {
			return fmt.Errorf("rows from %d on: %w", walk.Offset(), err)
		}
		more, err := walk.Add(page.total, r.pass(page.rows))
		switch {
		case r.stopped:
			return nil
		case err != nil:
			return err
		case !more:
			return walk.Err()
		}
	}
	return endless("it has more than %d pages of %d rows", r.maxPages, r.limit)
}

// pass yields the rows that were not yielded before, and returns the keys of all.
func (r *reader[T, K]) pass(rows []T) (keys []K) {
	for _, row := range rows {
		key := r.key(row)
		keys = append(keys, key)
		again := slices.ContainsFunc(r.states[key], func(state T) bool { return r.same == nil || r.same(state, row) })
		if again || r.stopped {
			continue
		}
		r.states[key] = append(r.states[key], row)
		r.stopped = !r.yield(row, nil)
	}
	return keys
}
