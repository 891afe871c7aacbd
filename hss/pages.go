package hss

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
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

// IncompleteListError reports that HSS answered, and that not all rows of a list could be read. Nothing may be concluded
// from such a list, least of all that a row is missing.
type IncompleteListError struct {
	// Reason describes how that shows.
	Reason string
	// final lists are not read again: it takes long, or changes nothing.
	final bool
}

// Error describes how it shows.
func (e *IncompleteListError) Error() string { return "HSS's list is incomplete: " + e.Reason }

func incomplete(final bool, format string, args ...any) error {
	return &IncompleteListError{Reason: fmt.Sprintf(format, args...), final: final}
}

// listPage requests a page of a list, whose rows are in the answer's field key, and its total_num or UnknownTotal. A row
// that cannot be read makes the list incomplete, unless read marks it and leaves it no problems.
func listPage[T any](ctx context.Context, c *Client, request *call, key string, read func(*object) T) (total int, rows []T, err error) {
	request.decode = func(body []byte, scrub func(string) string) error {
		answer, err := parse(body, scrub)
		if err != nil {
			return err
		}
		elements := answer.list(key, MaxLimit+1)
		count := answer.count("total_num")
		switch {
		case answer.text("error_code") != "":
			return errors.New("the answer has an error_code")
		case len(elements) > MaxLimit:
			return fmt.Errorf("there are more than the %d rows that a page may have", MaxLimit)
		case len(answer.problems) > 0:
			return errors.New(answer.problems[0].String())
		case elements == nil && (count == nil || answer.value(key).Kind() != 'n'): // null is an empty list, if it says how many rows there are
			return fmt.Errorf("the answer has no %s", key)
		}
		total, rows = UnknownTotal, make([]T, 0, len(elements))
		if count != nil {
			total = *count
		}
		row := &object{}
		for n, element := range elements {
			row = newObject(element, scrub, row.fields)
			rows = append(rows, read(row))
			if len(row.problems) > 0 {
				return incomplete(true, "%s[%d]: %s", key, n, clean(row.problems[0].String()))
			}
		}
		return nil
	}
	err = c.send(ctx, request)
	return total, rows, err
}

// RowKey identifies a row of the list of images: by its ID, or by its whole content if it has none. Two rows with one
// key are one row, which may have changed between two pages.
type RowKey struct {
	id   string
	kind ImageType
}

// KeyOf returns the key of a row.
func KeyOf(i *Image) RowKey {
	if i.ID != "" && i.ID != "0" {
		return RowKey{i.ID, i.Type}
	}
	return RowKey{id: contentOf(i)}
}

// contentOf returns the whole content of a row as its key.
func contentOf[T any](row *T) string {
	content, err := json.Marshal(row)
	if err != nil { // a time that JSON cannot hold: such rows count as one
		return err.Error()
	}
	return string(content)
}

// whole returns the row itself as its key.
func whole[T any](row *T) T { return *row }

// ReadPages reads a list of pages of up to limit rows, of which there may be maxPages. next requests the page at an offset,
// behind all rows that were received, and returns its total_num or UnknownTotal, and the keys of its rows.
//
// It counts different rows, as a list that changes while it is read can repeat a row, and so miss another. The error is an
// *IncompleteListError unless every row was read: at least as many as any page counted. A count that is missing or too
// small proves nothing. Then a list ends where a page is empty, but only if no row came twice.
func ReadPages[K comparable](limit, maxPages int, next func(offset int) (total int, keys []K, err error)) error {
	seen, repeated, idle := map[K]struct{}{}, false, 0
	total, offset := UnknownTotal, 0
	for range maxPages {
		counted, keys, err := next(offset)
		if err != nil {
			return fmt.Errorf("rows from %d on: %w", offset, err)
		}
		before, first := len(seen), offset == 0
		for _, key := range keys {
			seen[key] = struct{}{}
		}
		added := len(seen) - before
		total, repeated, offset = max(total, counted), repeated || added < len(keys), offset+len(keys)
		if idle++; added > 0 {
			idle = 0
		}
		// A first page may be the whole list, so that most images cost one call and not two. What total_num counts is not
		// documented, so the page must also be shorter than the limit, and than a limit of the API's own.
		ends := len(keys) == 0 || first && !repeated && len(keys) == total && len(keys) < min(limit, defaultLimit)
		switch {
		case ends && len(seen) < total:
			return incomplete(false, "it shows %d of %d rows", len(seen), total)
		case ends && len(seen) > total && repeated:
			return incomplete(false, "it shows rows twice, and HSS does not say how many there are")
		case ends:
			return nil
		case idle >= maxRepeats:
			return incomplete(true, "it repeats itself: %d pages before offset %d brought nothing new", idle, offset)
		}
	}
	return incomplete(true, "it has more than %d pages of %d rows", maxPages, limit)
}

// errStopped ends the reading of a list whose caller stopped.
var errStopped = errors.New("the caller stopped")

// allPages yields the rows of all pages, each state of each row once, and any error at the end. Rows with one key are
// states of one row. A list of which rows are missing is read again. Nothing is read if the request is invalid.
func allPages[T any, K comparable](
	ctx context.Context, c *Client, path string, query url.Values, invalid error, key func(*T) K, read func(*object) T,
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if invalid != nil {
			yield(*new(T), invalid)
			return
		}
		query := maps.Clone(query)
		limit, err := strconv.Atoi(query.Get("limit"))
		if err != nil {
			limit = MaxLimit
			query.Set("limit", strconv.Itoa(limit))
		}
		yielded := map[K][]T{} // the states of each row
		next := func(offset int) (total int, keys []K, err error) {
			if query.Del("offset"); offset > 0 {
				query.Set("offset", strconv.Itoa(offset))
			}
			total, rows, err := listPage(ctx, c, &call{path: path, query: query}, fieldRows, read)
			if err != nil {
				return 0, nil, err
			}
			for _, row := range rows {
				k := key(&row)
				keys = append(keys, k)
				if slices.ContainsFunc(yielded[k], func(state T) bool { return reflect.DeepEqual(state, row) }) {
					continue
				}
				if yielded[k] = append(yielded[k], row); !yield(row, nil) {
					return 0, nil, errStopped
				}
			}
			return total, keys, nil
		}
		for range maxReads {
			err = ReadPages(limit, maxPages, next)
			if part, ok := errors.AsType[*IncompleteListError](err); !ok || part.final {
				break
			}
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(*new(T), err)
		}
	}
}
