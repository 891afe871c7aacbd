package hss

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
)

const (
	// UnknownTotal is the total of a page whose total_num was not sent, is negative, or is no number.
	UnknownTotal = -1
	// maxPages bounds what is read of one list.
	maxPages = 1000
	// maxReads is how often a list is read that changes while it is read.
	maxReads = 3
	// maxRepeats is how many pages in a row may bring nothing new. One may, as rows move between pages while the list
	// changes.
	maxRepeats = 3
	// defaultLimit is how many rows the API sends on a page by default.
	defaultLimit = 10
)

// IncompleteListError reports that HSS answered, and that not all rows of a list could be read, as may happen while it
// changes. Nothing may be concluded from such a list, least of all that a row is missing.
type IncompleteListError struct {
	// Reason describes how that shows.
	Reason string
	// endless lists are not read again: it takes long and changes nothing.
	endless bool
}

// Error describes how it shows.
func (e *IncompleteListError) Error() string { return "HSS's list is incomplete: " + e.Reason }

func incomplete(endless bool, format string, args ...any) error {
	return &IncompleteListError{Reason: fmt.Sprintf(format, args...), endless: endless}
}

// RowError reports that a row of a list cannot be read, though others may. The list of images has no such error: it
// marks the row, see [Image].Unreadable.
type RowError struct {
	// Row is the row's place on its page, from 0 on.
	Row int
	// Reason names the field, and quotes the beginning of its value.
	Reason string
}

// Error names the row and the reason.
func (e *RowError) Error() string { return fmt.Sprintf("data_list[%d]: %s", e.Row, e.Reason) }

// page is one page of a list.
type page[T any] struct {
	total int // or UnknownTotal
	rows  []T
}

// listPage requests a page of a list, whose rows are in the answer's field key. It is never empty unless the answer has
// an empty list.
func listPage[T any](ctx context.Context, c *Client, request *call, key string, read func(*object) T) (p page[T], err error) {
	request.expected = cmp.Or(request.expected, noList)
	request.decode = func(body []byte, scrub func(string) string) error {
		answer, err := parse(body, scrub)
		if err != nil {
			return err
		}
		elements := answer.list(key, MaxLimit+1)
		total := answer.count("total_num")
		switch {
		case answer.text("error_code") != "":
			return errors.New("the answer has an error_code")
		case len(elements) > MaxLimit:
			return fmt.Errorf("there are more than the %d rows that a page may have", MaxLimit)
		case len(answer.problems) > 0:
			return errors.New(answer.problems[0].String())
		case elements == nil:
			return fmt.Errorf("the answer has no %s", key)
		}
		p = page[T]{total: UnknownTotal}
		if total != nil {
			p.total = *total
		}
		for n, element := range elements {
			row := newObject(element, scrub)
			p.rows = append(p.rows, read(row))
			if len(row.problems) > 0 {
				return &RowError{Row: n, Reason: clean(row.problems[0].String())}
			}
		}
		return nil
	}
	err = c.send(ctx, request)
	return p, err
}

// RowKey identifies a row of the list of images: by its ID, or by its whole content if it has none. Two rows with one
// key are one row, which may have changed between two pages.
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
	if err != nil { // a time that JSON cannot hold: such rows count as one
		return RowKey{content: err.Error()}
	}
	return RowKey{content: string(content)}
}

// Walk follows a list from page to page, and reports at its end whether all of it was read. It counts different rows: a
// list that changes while it is read can repeat a row, and so miss another.
type Walk[K comparable] struct {
	offset, limit int
	// total is the largest number of rows that any page named.
	total    int
	seen     map[K]struct{}
	repeated bool
	// idle is how many pages in a row brought nothing new.
	idle int
}

// NewWalk starts a walk by pages of up to limit rows.
func NewWalk[K comparable](limit int) *Walk[K] {
	return &Walk[K]{limit: limit, total: UnknownTotal, seen: map[K]struct{}{}}
}

// Offset returns where the next page begins: behind all rows that were received, repeated or not.
func (w *Walk[K]) Offset() int { return w.offset }

// Add counts a page with its total and the keys of its rows. It reports whether another page may follow: not after an
// empty one, nor after a first page that is surely the whole list. A list that does not end is an *IncompleteListError.
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
		return false, incomplete(true, "it repeats itself: %d pages before offset %d brought nothing new", w.idle, w.offset)
	case w.offset > MaxOffset:
		return false, incomplete(true, "it goes on past offset %d, which the API does not allow", MaxOffset)
	}
	return true, nil
}

// isWhole reports whether a first page is the whole list, so that most images cost one call and not two. What total_num
// counts is not documented, so the page must also be shorter than the limit, and than a limit of the API's own.
func (w *Walk[K]) isWhole(rows int) bool {
	return rows == w.total && rows == len(w.seen) && rows < min(w.limit, defaultLimit)
}

// Err returns an *IncompleteListError unless every row was read: at least as many different ones as any page counted. A
// count that is missing or too small proves nothing. Then a list ends where a page is empty, but only if no row came
// twice.
func (w *Walk[K]) Err() error {
	switch rows := len(w.seen); {
	case rows < w.total:
		return incomplete(false, "it shows %d of %d rows", rows, w.total)
	case rows > w.total && w.repeated:
		return incomplete(false, "it shows rows twice, and HSS does not say how many there are")
	}
	return nil
}

// errStopped ends the reading of a list whose caller stopped.
var errStopped = errors.New("the caller stopped")

// allPages yields the rows of all pages, each state of each row once, and any error at the end. Rows
// with one key are states of one row. A list of which rows are missing is read again. Nothing is read if the request is
// invalid.
func allPages[T any, K comparable](
	invalid error, key func(*T) K, limit int, fetch func(offset, limit int) (page[T], error),
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if invalid != nil {
			yield(*new(T), invalid)
			return
		}
		yielded := map[K][]T{} // the states of each row
		pass := func(row *T) (K, bool) {
			k := key(row)
			if slices.ContainsFunc(yielded[k], func(state T) bool { return reflect.DeepEqual(state, *row) }) {
				return k, true
			}
			yielded[k] = append(yielded[k], *row)
			return k, yield(*row, nil)
		}
		var err error
		for range maxReads {
			err = readAll(cmp.Or(limit, MaxLimit), fetch, pass)
			if part, ok := errors.AsType[*IncompleteListError](err); !ok || part.endless {
				break
			}
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(*new(T), err)
		}
	}
}

// readAll reads a list once, and passes each row on until pass returns false. pass returns the row's key.
func readAll[T any, K comparable](
	limit int, fetch func(offset, limit int) (page[T], error), pass func(*T) (K, bool),
) error {
	walk := NewWalk[K](limit)
	for range maxPages {
		page, err := fetch(walk.Offset(), limit)
		if err != nil {
			return fmt.Errorf("rows from %d on: %w", walk.Offset(), err)
		}
		keys := make([]K, len(page.rows))
		for n := range page.rows {
			key, more := pass(&page.rows[n])
			if !more {
				return errStopped
			}
			keys[n] = key
		}
		if more, err := walk.Add(page.total, keys); err != nil {
			return err
		} else if !more {
			return walk.Err()
		}
	}
	return incomplete(true, "it has more than %d pages of %d rows", maxPages, limit)
}
