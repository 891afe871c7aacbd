package hsstest

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	defaultEnterpriseProject = "0"
	defaultLimit             = 10
)

// query is a checked list request.
type query struct {
	offset, limit int
	sorted        bool
	descending    bool
	// namespace and imageName are kept for the index; nil: not asked for.
	namespace, imageName *string
	enterpriseProject    string
	filters              []func(*Image) bool
	ranges               map[string]*timeRange
	substring            bool
}

// timeRange holds the milliseconds that a time must lie within.
type timeRange struct {
	start, end *int64
	get        func(*Image) time.Time
}

// parseQuery checks every parameter of a list request.
func parseQuery(raw string, known map[string]parameter[query], o *options) (*query, error) {
	q := &query{limit: defaultLimit, enterpriseProject: defaultEnterpriseProject,
		ranges: map[string]*timeRange{}, substring: o.substring}
	if err := readQuery(raw, known, o, q); err != nil {
		return nil, err
	}
	return q, q.addRanges(o.now())
}

// readQuery checks every parameter of raw, and that the required ones are there.
func readQuery[Q any](raw string, known map[string]parameter[Q], o *options, into *Q, required ...string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return fmt.Errorf("the query can't be parsed: %w", err)
	}
	for name, given := range values {
		parse, ok := known[name]
		if !ok && o.unknownParameters {
			continue
		}
		if !ok {
			return fmt.Errorf("parameter %q is not known", name)
		}
		if len(given) != 1 {
			return fmt.Errorf("parameter %q is given %d times, allowed is once", name, len(given))
		}
		if err := parse(into, given[0]); err != nil {
			return fmt.Errorf("parameter %q is %.200q, allowed: %w", name, given[0], err)
		}
	}
	for _, name := range required {
		if !values.Has(name) {
			return fmt.Errorf("parameter %q is missing", name)
		}
	}
	return nil
}

// addRanges makes filters of the time ranges. A range without an end goes
// until now, one without a start begins at 0.
func (q *query) addRanges(now time.Time) error {
	for name, r := range q.ranges {
		start, end := int64(0), now.UnixMilli()
		if r.start != nil {
			start = *r.start
		}
		if r.end != nil {
			end = *r.end
		}
		if r.start != nil && r.end != nil && start > end {
			return fmt.Errorf("parameter %q is %d, allowed: at most %q, which is %d", "start_"+name, start, "end_"+name, end)
		}
		q.filters = append(q.filters, func(i *Image) bool {
			at := r.get(i)
			return !at.IsZero() && start <= at.UnixMilli() && at.UnixMilli() <= end
		})
	}
	return nil
}

// matches tells whether a project's request asks for the row.
func (q *query) matches(i *Image, project string) bool {
	if !i.VisibleTo(project, q.enterpriseProject) {
		return false
	}
	for _, filter := range q.filters {
		if !filter(i) {
			return false
		}
	}
	return true
}

// addText adds a filter on a text.
func (q *query) addText(want string, get func(*Image) string) {
	if q.substring {
		q.filters = append(q.filters, func(i *Image) bool { return strings.Contains(get(i), want) })
		return
	}
	q.filters = append(q.filters, func(i *Image) bool { return get(i) == want })
}
