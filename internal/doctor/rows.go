package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hssgate/hssgate/hss"
)

const (
	// samplePages and sampleRows bound what is read of the list of images.
	samplePages = 40
	sampleRows  = 2000
	// maxIdle is how many pages in a row may bring nothing new: HSS may order the rows anew for each page.
	maxIdle = 12
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

// number returns a number, also of a text; false: it is none.
func (r row) number(name string) (int64, bool) {
	n, err := strconv.ParseInt(r.text(name), 10, 64)
	return n, err == nil
}

// score returns a number from 0 to 10; 0: it is none.
func (r row) score(name string) float64 {
	n, err := strconv.ParseFloat(r.text(name), 64)
	if err != nil || !(n > 0 && n <= 10) {
		return 0
	}
	return n
}

// time returns a time that was sent in milliseconds, as a text or in seconds.
func (r row) time(name string) time.Time {
	n, _ := r.number(name)
	switch {
	case n <= 0:
		return time.Time{}
	case n < secondsUpTo:
		return time.Unix(n, 0)
	}
	return time.UnixMilli(n)
}

// secondsUpTo is where times in milliseconds begin: in 1973, and in seconds in 5138.
const secondsUpTo = 100_000_000_000

func (r row) status() string { return strings.ToLower(r.text("scan_status")) }

// running reports whether a scan waits or runs, and failed whether the last one ended without a result.
func (r row) running() bool { return r.status() == "scanning" || r.status() == "waiting_for_scan" }
func (r row) failed() bool  { return hss.ScanStatus(r.status()).Failed() }

func (r row) multi() bool {
	return string(r["is_multiple_arch"]) == "true" || len(r.list("association_images")) > 1
}

// thirdParty reports whether the image is of Harbor or JFrog.
func (r row) thirdParty() bool {
	return r.text("image_type") == string(hss.ImageTypeHarbor) || r.text("image_type") == string(hss.ImageTypeJFrog)
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

// is reports whether two rows are one, perhaps in two states.
func (r row) is(other row) bool { return r.key() == other.key() }

// found reports whether a row counts anything that was found.
func (r row) found() bool {
	for _, name := range []string{"vul_num", "unsafe_setting_num", "malicious_file_num"} {
		if n, ok := r.number(name); !ok || n != 0 {
			return true
		}
	}
	return false
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
func (s *session) request(ctx context.Context, call func() error) (page, error) {
	s.wire.forget()
	err := call()
	p := s.wire.page()
	if _, listed := p.row["data_list"]; listed && ctx.Err() == nil {
		return p, nil
	}
	return p, err
}

// all returns a request for a page of all images.
func (s *session) all(offset, limit int) hss.ListRequest {
	return hss.ListRequest{EnterpriseProjectID: s.project.EnterpriseProjectID, Offset: offset, Limit: limit}
}

// collect reads pages of a list until all rows are there, as far as that shows, or enough. It begins again if rows were repeated or are
// missing at the end: HSS may order them anew for each page.
func (s *session) collect(ctx context.Context, r hss.ListRequest, pages int) (rows []row, first page, whole bool, err error) {
	seen, idle, before, repeated := map[string]bool{}, 0, []string{""}, false
	for n := 0; n < pages && len(rows) < sampleRows; n++ {
		p, err := s.list(ctx, r)
		if err != nil {
			return rows, first, false, err
		}
		if n == 0 {
			first = p
		}
		idle++
		var keys []string
		for _, row := range p.rows {
			keys = append(keys, row.key())
			if repeated = repeated || seen[row.key()]; !seen[row.key()] {
				seen[row.key()] = true
				rows, idle = append(rows, row), 0
			}
		}
		// A total that is no larger than a page may be that of the page.
		total, _ := p.number("total_num")
		all := int(total) > len(p.rows) && len(rows) >= int(total)
		ends := len(p.rows) == 0 || slices.Equal(keys, before)
		switch {
		case all, idle == maxIdle, ends && !repeated && len(rows) >= int(total):
			return rows, first, true, nil
		case ends:
			r.Offset = 0
		default:
			r.Offset += len(p.rows)
		}
		before = keys
	}
	return rows, first, false, nil
}
