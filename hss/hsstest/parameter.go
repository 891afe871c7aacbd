package hsstest

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Values that several endpoints share.
const (
	fieldEnterpriseProject   = "enterprise_project_id"
	fieldNamespace           = "namespace"
	fieldImageName           = "image_name"
	defaultEnterpriseProject = "0"
	defaultLimit             = 10
)

// parameter is one query parameter of a list.
type parameter[R any] struct {
	// check returns an error that names the allowed values.
	check func(value string) error
	// get returns the value of a row that the parameter filters by; optional.
	get func(*R) string
	// matches compares a row's value with the parameter's; by default they must be equal.
	matches func(has, want string) bool
}

type parameters[R any] map[string]parameter[R]

// request is a checked query.
type request[R any] struct {
	url.Values

	filters []func(*R) bool
}

// parse checks a query. Every parameter must be known and given once.
func (known parameters[R]) parse(raw string, required ...string) (*request[R], error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, fmt.Errorf("cannot parse the query: %w", err)
	}
	q := &request[R]{Values: values}
	for name, given := range values {
		p, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("parameter %q is not known", name)
		}
		if len(given) != 1 {
			return nil, fmt.Errorf("parameter %q is given %d times, allowed is once", name, len(given))
		}
		if err := p.check(given[0]); err != nil {
			return nil, fmt.Errorf("parameter %q is %.200q, allowed: %w", name, given[0], err)
		}
		q.add(p, given[0])
	}
	for _, name := range required {
		if !values.Has(name) {
			return nil, fmt.Errorf("parameter %q is missing", name)
		}
	}
	return q, nil
}

func (q *request[R]) add(p parameter[R], want string) {
	switch {
	case p.get == nil || want == "":
	case p.matches == nil:
		q.filters = append(q.filters, func(row *R) bool { return p.get(row) == want })
	default:
		q.filters = append(q.filters, func(row *R) bool { return p.matches(p.get(row), want) })
	}
}

func (q *request[R]) match(row *R) bool {
	return !slices.ContainsFunc(q.filters, func(matches func(*R) bool) bool { return !matches(row) })
}

// filter returns the rows that match.
func (q *request[R]) filter(rows []R) []*R {
	var matching []*R
	for i := range rows {
		if q.match(&rows[i]) {
			matching = append(matching, &rows[i])
		}
	}
	return matching
}

// number returns a parameter that was checked.
func (q *request[R]) number(name string, fallback int) int {
	n, err := strconv.Atoi(q.Get(name))
	if err != nil {
		return fallback
	}
	return n
}

func (q *request[R]) enterpriseProject() string {
	if q.Has(fieldEnterpriseProject) {
		return q.Get(fieldEnterpriseProject)
	}
	return defaultEnterpriseProject
}

// listBody is the response to a list request.
type listBody[W any] struct {
	TotalNum int `json:"total_num"`
	DataList []W `json:"data_list"`
}

// page returns the page of the matching rows that q wants. It starts early rows before the offset.
func page[R, W any](q *request[R], rows []*R, wire func(*R) W, early int) response {
	offset := q.number("offset", 0)
	first := min(max(offset-early, 0), len(rows))
	rows = rows[first:]
	body := listBody[W]{TotalNum: first + len(rows), DataList: []W{}}
	for _, row := range rows[:min(q.number("limit", defaultLimit), len(rows))] {
		body.DataList = append(body.DataList, wire(row))
	}
	return response{body: body, rows: len(body.DataList)}
}

// paging adds the parameters of every list but the images'.
func (known parameters[R]) paging() parameters[R] {
	known[fieldEnterpriseProject] = parameter[R]{check: length(1, 256)}
	known["offset"] = parameter[R]{check: number(0, 2_000_000)}
	known["limit"] = parameter[R]{check: number(10, 200)}
	return known
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
