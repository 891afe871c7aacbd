package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hssgate/hssgate/hss"
)

// security is the level of an image without findings.
const security = string(hss.SeveritySecurity)

// row is a JSON object as HSS sent it: how values are written matters here.
type row map[string]json.RawMessage

// kind returns the first letter of a value: that of null, true or false, a quote, a bracket, or 0 for every number; 0 without value.
func (r row) kind(name string) byte {
	switch value := r[name]; {
	case len(value) == 0:
		return 0
	case value[0] == '-' || value[0] >= '0' && value[0] <= '9':
		return '0'
	default:
		return value[0]
	}
}

// text returns a text, or a number as written; empty: null or missing.
func (r row) text(name string) (text string) {
	switch r.kind(name) {
	case '"':
		_ = json.Unmarshal(r[name], &text) // HSS's answer was valid
	case '0':
		text = string(r[name])
	}
	return text
}

// number returns a number, also of a text; -1: it is none.
func (r row) number(name string) float64 {
	n, err := strconv.ParseFloat(r.text(name), 64)
	if err != nil {
		return hss.UnknownTotal
	}
	return n
}

// time returns a time that was sent in milliseconds, as a text or in seconds.
func (r row) time(name string) time.Time {
	switch n := r.number(name); {
	case n <= 0:
		return time.Time{}
	case n < secondsUpTo:
		return time.Unix(int64(n), 0)
	default:
		return time.UnixMilli(int64(n))
	}
}

// secondsUpTo is where times in milliseconds begin: in 1973, and in seconds in 5138.
const secondsUpTo = 100_000_000_000

func (r row) status() hss.ScanStatus { return hss.ScanStatus(strings.ToLower(r.text("scan_status"))) }

func (r row) multi() bool {
	return string(r["is_multiple_arch"]) == "true" || len(r.list("association_images")) > 1
}

func (r row) list(name string) (rows []row) {
	_ = json.Unmarshal(r[name], &rows) // another value is no list
	return rows
}

// names returns what names the image of a row: rows with the same are its architectures.
func (r row) names() string {
	return strings.Join([]string{r.text("image_type"), r.text("registry_id"), r.text("registry_name"), r.text("instance_id"), r.text("namespace"), r.text("image_name"), r.text("image_version")}, "\n")
}

// key identifies a row.
func (r row) key() string {
	return cmp.Or(r.text("id"), r.names()+r.text("image_digest")) + "\n" + r.text("image_type")
}

func keys(rows []row) (all []string) {
	for _, r := range rows {
		all = append(all, r.key())
	}
	return all
}

// others returns the rows that are none of those that are known, also in another state.
func others(rows, known []row) []row {
	keys := keys(known)
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return slices.Contains(keys, r.key()) })
}

// nested returns how the name of a repository a/b is spelled; empty: it is not such a name.
func (r row) nested() string {
	name := r.text("image_name")
	return cmp.Or(when(strings.Contains(name, "$"), "dollar"), when(strings.Contains(name, "%2F"), "escaped"), when(strings.Contains(name, "/"), "slash"))
}

// found reports whether a row counts anything that was found.
func (r row) found() bool {
	return slices.ContainsFunc([]string{"vul_num", "unsafe_setting_num", "malicious_file_num"}, func(name string) bool {
		return r.number(name) != 0
	})
}

// page is one answer with a list.
type page struct {
	row
	rows []row
}

// firstPage returns the first page of a list.
func firstPage[T any](ctx context.Context, s *session, list iter.Seq2[T, error]) (page, error) {
	return s.request(ctx, func() (err error) {
		for _, err = range list {
			break
		}
		return err
	})
}

// list requests a page of the list of images.
func (s *session) list(ctx context.Context, r hss.ListRequest) (page, error) {
	return s.request(ctx, func() error {
		_, err := s.client.List(ctx, r)
		return err
	})
}

// request returns the page that a call gets. One that is not what hssgate expects, such as null, shows how HSS behaves, too.
func (s *session) request(ctx context.Context, call func() error) (p page, err error) {
	s.wire.body = nil // the request may get no answer
	err = call()
	_ = json.Unmarshal(s.wire.body, &p.row) // else it is no list
	p.rows = p.list("data_list")
	if _, listed := p.row["data_list"]; listed && ctx.Err() == nil {
		return p, nil
	}
	return p, err
}

// all returns a request for a page of all images.
func (s *session) all(offset, limit int) hss.ListRequest {
	return hss.ListRequest{EnterpriseProjectID: s.project.EnterpriseProjectID, Offset: offset, Limit: limit}
}

// collect reads pages of a list until all rows are there, as far as that shows, or enough. Unlike hssgate it goes on with a list
// that repeats itself or lacks rows, as HSS may order the rows anew for each page: then maxIdle pages in a row bring nothing new.
func (s *session) collect(ctx context.Context, r hss.ListRequest, pages int) (rows []row, first page, whole bool, err error) {
	const maxIdle, maxRows = 20, 2000
	seen, idle := map[string]bool{}, 0
	next := func(offset int) (total int, _ []string, err error) {
		if idle == maxIdle || len(rows) >= maxRows {
			return 0, nil, &hss.IncompleteListError{}
		}
		r.Offset = offset
		p, err := s.list(ctx, r)
		if pages, idle = pages-1, idle+1; err == nil && first.row == nil {
			first = p
		}
		for _, row := range p.rows {
			if !seen[row.key()] {
				seen[row.key()], rows, idle = true, append(rows, row), 0
			}
		}
		return int(p.number("total_num")), keys(p.rows), err
	}
	for pages > 0 && idle < maxIdle && len(rows) < maxRows {
		err = hss.ReadPages(r.Limit, pages, next)
		if _, incomplete := errors.AsType[*hss.IncompleteListError](err); !incomplete {
			return rows, first, err == nil, err
		}
	}
	return rows, first, idle == maxIdle, nil
}
