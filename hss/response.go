package hss

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// The fields that several answers have.
const (
	fieldRows      = "data_list"
	fieldErrorCode = "error_code"
)

// UnknownTotal is the Total of a page whose total_num was not sent, is
// negative, or is no number.
const UnknownTotal = -1

// errFault is what an error object is refused with.
var errFault = errors.New("the answer has an error_code")

// ListResponse is one page of the list.
type ListResponse struct {
	// Total is the number of rows that the API says there are on all pages
	// together, or UnknownTotal. Only All believes it, and only if all else
	// says the same.
	Total int
	// Images are the rows of this page, in the API's order, those that can't be
	// read among them: see [Image].Unreadable.
	Images []Image
}

// listAnswer is a page of any of the API's lists.
type listAnswer[T any] struct {
	// key is the field that has the rows.
	key   string
	total *int
	// fault is there only if the answer is an error.
	fault string
	rows  rowList[T]
}

func (p *listAnswer[T]) field(name string) value {
	switch name {
	case p.key:
		return &p.rows
	case "total_num":
		return count{&p.total}
	case fieldErrorCode:
		return (*text)(&p.fault)
	}
	return nil
}

// rowList is the rows of a page.
type rowList[T any] struct {
	list []T // nil: there is no list
	row  func(*decoder) (T, error)
	// unreadable is the first row that can't be read.
	unreadable *RowError
}

func (r *rowList[T]) read(d *decoder) error {
	if d.json.PeekKind() == '[' {
		r.list = []T{}
	}
	return d.array(func(n int) error {
		if n == MaxLimit {
			return fmt.Errorf("there are more than the %d rows that a page may have", MaxLimit)
		}
		row, err := r.row(d)
		if p, ok := errors.AsType[*problem](err); ok {
			r.unreadable = cmp.Or(r.unreadable, &RowError{Row: n, Reason: clean(p.Error())})
			return nil
		}
		r.list = append(r.list, row)
		return err
	})
}

// decodePage reads a page with its rows in a field. It is never known to be
// empty unless it has an empty list.
func decodePage[T any](d *decoder, key string, row func(*decoder) (T, error)) (total int, list []T, err error) {
	p := listAnswer[T]{key: key, rows: rowList[T]{row: row}}
	problems, err := d.object(&p)
	if err == nil {
		err = d.end()
	}
	switch {
	case err != nil:
		return 0, nil, err
	case p.fault != "":
		return 0, nil, errFault
	case len(problems) > 0:
		return 0, nil, &problem{cmp.Or(problems[0].field, "the answer"), problems[0].reason}
	case p.rows.list == nil:
		return 0, nil, fmt.Errorf("the answer has no %s", key)
	case p.rows.unreadable != nil:
		return 0, nil, p.rows.unreadable
	case p.total == nil:
		return UnknownTotal, p.rows.list, nil
	}
	return *p.total, p.rows.list, nil
}

// decodeRows reads a page of a list of which each row counts. It fails with a
// *RowError if it is the row that can't be read.
func decodeRows[T any, O interface {
	*T
	object
}](d *decoder, optional ...string) (page[T], error) {
	total, list, err := decodePage(d, fieldRows, func(d *decoder) (row T, err error) {
		problems, err := d.object(O(&row))
		for _, p := range problems {
			if !slices.Contains(optional, p.field) {
				return row, p
			}
		}
		return row, err
	})
	return page[T]{total, list}, err
}
