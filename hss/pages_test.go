package hss_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

// servePages serves rows 0 to total-1, moved by shift(page) rows. It does not
// say how many there are.
func servePages(t *testing.T, total int, shift func(page int) int) (endpoint string, queries *[]string) {
	t.Helper()
	return serveCounted(t, total, shift, func(int) int { return hss.UnknownTotal })
}

// serveCounted is servePages that says what count says of a page of some rows.
func serveCounted(t *testing.T, total int, shift, count func(int) int) (endpoint string, queries *[]string) {
	t.Helper()
	queries = new([]string)
	endpoint, _ = serve(t, func(w http.ResponseWriter, r *http.Request) {
		offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		offset += shift(len(*queries))
		*queries = append(*queries, r.URL.RawQuery)
		rows := []string{}
		for i := max(offset, 0); i < min(offset+limit, total); i++ {
			rows = append(rows, fmt.Sprintf(`{"id":%d,"image_name":"app"}`, i))
		}
		_, _ = fmt.Fprintf(w, `{"total_num":%d,"data_list":[%s]}`, count(len(rows)), strings.Join(rows, ","))
	})
	return endpoint, queries
}

func steady(int) int { return 0 }

// collect reads all rows' ids.
func collect(t *testing.T, client *hss.Client, r hss.ListRequest) (ids []string, err error) {
	t.Helper()
	for image, err := range client.All(t.Context(), r) {
		if err != nil {
			return ids, err
		}
		ids = append(ids, image.ID)
	}
	return ids, nil
}

func numbers(from, to int) []string {
	var ids []string
	for i := from; i < to; i++ {
		ids = append(ids, strconv.Itoa(i))
	}
	return ids
}

func TestAllReadsToTheFirstEmptyPage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		total   int
		request hss.ListRequest
		want    []string
		queries []string
	}{
		{"no rows", 0, hss.ListRequest{}, nil, []string{"limit=200"}},
		{"one short page, whatever the total says", 3, hss.ListRequest{}, numbers(0, 3), []string{"limit=200", "limit=200&offset=3"}},
		{"full pages", 400, hss.ListRequest{}, numbers(0, 400), []string{"limit=200", "limit=200&offset=200", "limit=200&offset=400"}},
		{"from an offset on, in small pages", 5, hss.ListRequest{Offset: 1, Limit: 2}, numbers(1, 5), []string{"limit=2&offset=1", "limit=2&offset=3", "limit=2&offset=5"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			endpoint, queries := servePages(t, tc.total, steady)
			got, err := collect(t, newClient(t, endpoint, nil), tc.request)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("ids (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.queries, *queries); diff != "" {
				t.Errorf("queries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAllAsksOnceForWhatIsWholeBeyondDoubt(t *testing.T) {
	t.Parallel()
	right, unknown := func(int) int { return 5 }, func(int) int { return hss.UnknownTotal }
	ofPage := func(rows int) int { return rows }
	for _, tc := range []struct {
		name    string
		total   int
		count   func(rows int) int
		request hss.ListRequest
		want    int
	}{
		{"a short page that says so", 5, right, hss.ListRequest{}, 1},
		{"a page of the API's default limit is perhaps cut there", 10, ofPage, hss.ListRequest{}, 2},
		{"one row less is not", 9, ofPage, hss.ListRequest{}, 1},
		{"a page that is as long as was asked for", 5, right, hss.ListRequest{Limit: 5}, 2},
		{"the total is not known", 5, unknown, hss.ListRequest{}, 2},
		{"the total is smaller", 5, func(int) int { return 4 }, hss.ListRequest{}, 2},
		{"it doesn't begin with the first row", 5, right, hss.ListRequest{Offset: 1}, 2},
		{"the last of several pages, which the list may have moved under", 5, right, hss.ListRequest{Limit: 3}, 3},
		{"an empty page ends it anyway", 0, ofPage, hss.ListRequest{}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			endpoint, queries := serveCounted(t, tc.total, steady, tc.count)
			got, err := collect(t, newClient(t, endpoint, nil), tc.request)
			if err != nil || len(got) != tc.total-tc.request.Offset || len(*queries) != tc.want {
				t.Errorf("%d rows by %d calls, error %v; want %d by %d", len(got), len(*queries), err, tc.total-tc.request.Offset, tc.want)
			}
		})
	}
}

func TestAllDropsRowsThatComeAgain(t *testing.T) {
	t.Parallel()
	endpoint, _ := serveCounted(t, 500, func(page int) int { return -min(page, 2) * 3 }, func(int) int { return 500 })
	got, err := collect(t, newClient(t, endpoint, nil), hss.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(numbers(0, 500), got); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
}

func TestAllKeepsRowsThatOnlyShareAnID(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, rows string
		want       int
	}{
		{"no ids, and other names", `{"image_name":"a"},{"image_name":"b"}`, 2},
		{"no ids, and other results", `{"image_name":"a","vul_num":0},{"image_name":"a","vul_num":9}`, 2},
		{"no ids, and other scans", `{"id":null,"scan_status":"success"},{"id":null,"scan_status":"failed"}`, 2},
		{"zero for an id, and other versions", `{"id":0,"image_version":"1"},{"id":0,"image_version":"2"}`, 2},
		{"zero for an id, and other results", `{"id":0,"malicious_file_num":0},{"id":0,"malicious_file_num":1}`, 2},
		{"the id of another type of image", `{"id":7,"image_type":"shared_image"},{"id":7,"image_type":"private_image"}`, 2},
		{"no ids, and rows that can't be read", `{"vul_num":{},"id":[]},{"latest_scan_time":"-"}`, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			pages := []string{`{"data_list":[` + tc.rows + `]}`, `{"data_list":[]}`}
			endpoint, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(pages[0]))
				pages = pages[1:]
			})
			got, err := collect(t, newClient(t, endpoint, nil), hss.ListRequest{})
			if err != nil || len(got) != tc.want {
				t.Errorf("%d rows, error %v; want %d", len(got), err, tc.want)
			}
		})
	}
}

func TestAllNeverEndsEarlyWithoutAnError(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		total   int
		shift   func(int) int
		change  func(*hss.Config)
		request hss.ListRequest
		rows    int
		want    string
	}{
		{"when there are too many pages", 100, steady, func(c *hss.Config) { c.MaxPages = 3 }, hss.ListRequest{Limit: 10}, 30,
			"it has more than 3 pages of 10 rows"},
		{"when the offset is ignored", 100, func(page int) int { return -page * 10 }, nil, hss.ListRequest{Limit: 10}, 10,
			"it repeats itself: 3 pages before offset 40 brought nothing new"},
		{"when the list goes on past the last offset", 2_000_100, steady, nil, hss.ListRequest{Offset: hss.MaxOffset, Limit: 10}, 10,
			"it goes on past offset 2000000"},
		{"when the request is invalid", 1, steady, nil, hss.ListRequest{Limit: 201}, 0, "limit is 201"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			endpoint, _ := servePages(t, tc.total, tc.shift)
			got, err := collect(t, newClient(t, endpoint, tc.change), tc.request)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
			if len(got) != tc.rows {
				t.Errorf("%d rows, want %d", len(got), tc.rows)
			}
		})
	}
}

func TestAllSaysWhereItFailed(t *testing.T) {
	t.Parallel()
	asked := 0
	endpoint, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked > 1 {
			answer(http.StatusBadRequest, `{"error_code":"HSS.0013"}`)(w, r)
			return
		}
		_, _ = fmt.Fprint(w, `{"data_list":[{"id":1},{"id":2}]}`)
	})
	got, err := collect(t, newClient(t, endpoint, nil), hss.ListRequest{})
	if err == nil || !strings.HasPrefix(err.Error(), "rows from 2 on: HSS answered 400 HSS.0013") || len(got) != 2 {
		t.Errorf("%d rows, error %v", len(got), err)
	}
}

func TestAllStopsWhenTheCallerDoesAndCanBeReadAgain(t *testing.T) {
	t.Parallel()
	endpoint, queries := servePages(t, 500, steady)
	rows := newClient(t, endpoint, nil).All(t.Context(), hss.ListRequest{})
	for range 2 {
		for image, err := range rows {
			if err != nil || image.ID != "0" {
				t.Errorf("first row is %q, error %v", image.ID, err)
			}
			break
		}
	}
	if len(*queries) != 2 {
		t.Errorf("asked %d times, want 2", len(*queries))
	}
}

// serveScript serves pages by their offsets: those of the first read of a list,
// then those of the second, and so on; the last again and again.
func serveScript(t *testing.T, reads ...map[string]string) (endpoint string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	read := -1
	endpoint, _ = serve(t, func(w http.ResponseWriter, r *http.Request) {
		offset := r.URL.Query().Get("offset")
		if *asked = append(*asked, offset); offset == "" {
			read++
		}
		page, ok := reads[min(read, len(reads)-1)][offset]
		if !ok {
			t.Errorf("read %d asks for offset %q", read, offset)
		}
		_, _ = w.Write([]byte(page))
	})
	return endpoint, asked
}

func TestAListOfWhichRowsAreMissingIsReadAgain(t *testing.T) {
	t.Parallel()
	const (
		a, b, c  = `{"id":1,"image_name":"a"}`, `{"id":2,"image_name":"b"}`, `{"id":3,"image_name":"c"}`
		changedA = `{"id":1,"image_name":"a","severity_level":"High"}`
		badA     = `{"id":1,"image_name":"a","latest_scan_time":"-"}`
		noID     = `{"image_name":"a"}`
	)
	type pages = map[string]string
	list := func(total string, rows ...string) string {
		if total != "" {
			total = `"total_num":` + total + ","
		}
		return "{" + total + `"data_list":[` + strings.Join(rows, ",") + "]}"
	}
	whole := pages{"": list("3", a, b, c)}
	for _, tc := range []struct {
		name  string
		reads []pages
		calls int
		want  string // the IDs, or the error
	}{
		{"a row repeated on the next page", []pages{{"": list("3", a, b), "2": list("3", b), "3": list("3")}, whole}, 4, "1 2 3"},
		{"a row repeated on the same page", []pages{{"": list("3", a, b, b), "3": list("3")}, whole}, 3, "1 2 3"},
		{"a row moved out of a short list", []pages{{"": list("2", a, a), "2": list("2")}}, 6, "it shows 1 of 2 rows"},
		{"rows missing each time", []pages{{"": list("3", a, b), "2": list("3")}}, 6, "it shows 2 of 3 rows"},
		{"an empty list that counts rows", []pages{{"": list("5")}}, 3, "it shows 0 of 5 rows"},
		{"an empty list that counts rows, once", []pages{{"": list("5")}, whole}, 2, "1 2 3"},
		{"a row deleted between two pages, and so another missed", []pages{{"": list("3", a, b), "2": list("2")}, {"": list("2", b, c)}}, 3, "1 2 3"},
		{"a row added between two pages", []pages{{"": list("3", a, b), "2": list("4", b, c), "4": list("4")}, whole}, 4, "1 2 3"},
		{"a row added behind the last page", []pages{{"": list("2", a, b, c), "3": list("3")}}, 2, "1 2 3"},
		{"a row in two states", []pages{{"": list("1", a, changedA), "2": list("1")}}, 2, "1 1"},
		{"a row in two states and another missed", []pages{{"": list("2", a, changedA), "2": list("2")}, {"": list("2", changedA, b)}}, 3, "1 1 2"},
		{"a row in two states, one unreadable", []pages{{"": list("1", badA, a), "2": list("1")}}, 2, "1 1"},
		{"rows without an ID that are equal", []pages{{"": list("2", noID, noID), "2": list("2")}}, 6, "it shows 1 of 2 rows"},
		{"one ID of two types of image", []pages{{"": list("2", a, `{"id":1,"image_type":"harbor"}`)}}, 1, "1 1"},
		{"one ID with two digests", []pages{{"": list("2", a, `{"id":1,"image_digest":"x"}`), "2": list("2")}}, 6, "it shows 1 of 2 rows"},
		{"no count", []pages{{"": list("", a, b), "2": list("")}}, 2, "1 2"},
		{"no count and no rows", []pages{{"": list("")}}, 1, ""},
		{"no count and a row repeated", []pages{{"": list("", a, b), "2": list("", b), "3": list("")}}, 9, "it shows rows twice, and HSS does not say how many there are"},
		{"a count that is no number", []pages{{"": list(`"many"`, a, b), "2": list("-1")}}, 2, "1 2"},
		{"a count of 0", []pages{{"": list("0", a, b), "2": list("0")}}, 2, "1 2"},
		{"a count of 0 and a row repeated", []pages{{"": list("0", a, a), "2": list("0")}}, 6, "it shows rows twice, and HSS does not say how many there are"},
		{"a count that is too small", []pages{{"": list("1", a, b), "2": list("1")}}, 2, "1 2"},
		{"a count that only the last page names", []pages{{"": list("", a, b), "2": list("3")}, whole}, 3, "1 2 3"},
		{"no rows and a count of 0", []pages{{"": list("0")}}, 1, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			endpoint, asked := serveScript(t, tc.reads...)
			ids, err := collect(t, newClient(t, endpoint, nil), hss.ListRequest{})
			got := strings.Join(ids, " ")
			var part *hss.IncompleteListError
			if errors.As(err, &part) {
				got = part.Reason
			}
			if got != tc.want || (err != nil) != (part != nil) || len(*asked) != tc.calls {
				t.Errorf("got %q by %d calls, error %v; want %q by %d", got, len(*asked), err, tc.want, tc.calls)
			}
		})
	}
}

func TestVulnerabilitiesOfWhichSomeAreMissingAreReadAgain(t *testing.T) {
	t.Parallel()
	part := map[string]string{"": `{"total_num":2,"data_list":[{"vul_id":"A"},{"vul_id":"A"}]}`, "2": `{"total_num":2,"data_list":[]}`}
	whole := map[string]string{"": `{"total_num":2,"data_list":[{"vul_id":"A"},{"vul_id":"B"}]}`}
	for _, tc := range []struct {
		name  string
		reads []map[string]string
		rows  int
		want  string
	}{
		{"whole the second time", []map[string]string{part, whole}, 2, ""},
		{"never whole", []map[string]string{part}, 1, "HSS's list is incomplete: it shows 1 of 2 rows"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			endpoint, _ := serveScript(t, tc.reads...)
			got, err := vulnerabilities(t, newClient(t, endpoint, nil), vulnerable())
			if len(got) != tc.rows || (err == nil) != (tc.want == "") || err != nil && err.Error() != tc.want {
				t.Errorf("%d rows, error %v; want %d, %q", len(got), err, tc.rows, tc.want)
			}
		})
	}
}
