package hsstest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The names of parameters that are needed in several places.
const (
	fieldEnterpriseProject = "enterprise_project_id"
	fieldNamespace         = "namespace"
	fieldImageName         = "image_name"
)

type parameter struct {
	// check returns an error that names the allowed values.
	check func(value string) error
	// selects reports whether the parameter selects a row of the list of images. Optional.
	selects func(row *Image, want string) bool
}

type parameters map[string]parameter

// query is a checked query.
type query struct {
	url.Values

	known parameters
}

// parse checks a query. Every parameter must be known and given once.
func (known parameters) parse(raw string, required ...string) (query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return query{}, fmt.Errorf("cannot parse the query: %w", err)
	}
	for name, given := range values {
		p, ok := known[name]
		if !ok {
			return query{}, fmt.Errorf("parameter %q is not known", name)
		}
		if len(given) != 1 {
			return query{}, fmt.Errorf("parameter %q is given %d times, allowed is once", name, len(given))
		}
		if err := p.check(given[0]); err != nil {
			return query{}, fmt.Errorf("parameter %q is %.200q, allowed: %w", name, given[0], err)
		}
	}
	for _, name := range required {
		if !values.Has(name) {
			return query{}, fmt.Errorf("parameter %q is missing", name)
		}
	}
	return query{values, known}, nil
}

// selects reports whether all parameters select a row.
func (q query) selects(row *Image) bool {
	for name, values := range q.Values {
		if p := q.known[name]; p.selects != nil && !p.selects(row, values[0]) {
			return false
		}
	}
	return true
}

// page returns the page of rows that q wants, each as shown, or as it is if that is nil.
func page[T any](h *Handler, q query, rows []T, shown func(T) any) map[string]any {
	b := &h.options.behavior
	offset, _ := strconv.Atoi(q.Get("offset")) // parse has checked both; "" is 0
	limit, _ := strconv.Atoi(cmp.Or(q.Get("limit"), "10"))
	switch b.Paging {
	case "repeated":
		offset = max(offset-1, 0)
	case "shuffled":
		rows = slices.Clone(rows)
		rand.New(rand.NewPCG(h.requests.Load(), 0)).Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] }) //nolint:gosec // an order, not a secret
	}
	if b.PageSize == "ten" {
		limit = min(limit, 10)
	}
	list := rows[min(offset, len(rows)):min(offset+limit, len(rows))]
	if len(list) == 0 && b.PastEnd == "last" {
		list = rows[max(len(rows)-10, 0):]
	}
	body := map[string]any{"total_num": len(rows), "data_list": []any{}}
	switch b.Total {
	case "page":
		body["total_num"] = len(list)
	case "zero":
		body["total_num"] = 0
	case "missing":
		delete(body, "total_num")
	}
	if len(list) == 0 && b.PastEnd == null {
		body["data_list"] = nil
		return body
	}
	all := make([]any, len(list))
	for n, row := range list {
		if all[n] = row; shown != nil {
			all[n] = shown(row)
		}
	}
	body["data_list"] = all
	return body
}

// withPaging adds the parameters of every list.
func (known parameters) withPaging(smallest int64) parameters {
	known[fieldEnterpriseProject] = parameter{check: length(1, 256)}
	known["offset"] = parameter{check: number(0, 2_000_000)}
	known["limit"] = parameter{check: number(smallest, 200)}
	return known
}

// since selects rows by a time, in milliseconds. A row without one is never selected.
func since(get func(*Image) time.Time) parameter {
	return parameter{number(0, math.MaxInt64), func(row *Image, want string) bool {
		from, err := strconv.ParseInt(want, 10, 64)
		return err == nil && !get(row).IsZero() && get(row).UnixMilli() >= from
	}}
}

func length(low, high int) func(string) error {
	return func(value string) error {
		if n := utf8.RuneCountInString(value); n < low || n > high {
			return fmt.Errorf("%d to %d characters", low, high)
		}
		return nil
	}
}

func number(low, high int64) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < low || n > high || strings.HasPrefix(value, "+") {
			return fmt.Errorf("a whole number from %d to %d", low, high)
		}
		return nil
	}
}

func oneOf(values ...string) func(string) error {
	return func(value string) error {
		if !slices.Contains(values, value) {
			return errors.New(strings.Join(values, ", "))
		}
		return nil
	}
}
