package hss_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

// servePages serves rows 0 to total-1, moved by shift(page) rows. It says that
// there is one row.
func servePages(t *testing.T, total int, shift func(page int) int) (endpoint string, queries *[]string) {
	t.Helper()
	return serveCounted(t, total, shift, func(int) int { return 1 })
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
		{"the total is larger", 5, func(int) int { return 6 }, hss.ListRequest{}, 2},
		{"the total is smaller", 5, func(int) int { return 4 }, hss.ListRequest{}, 2},
		{"it doesn't begin with the first row", 5, right, hss.ListRequest{Offset: 1}, 2},
		{"the last of several pages, which the list may have moved under", 5, right, hss.ListRequest{Limit: 3}, 3},
		{"an empty page ends it anyway", 0, right, hss.ListRequest{}, 1},
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
	endpoint, _ := servePages(t, 500, func(page int) int { return -min(page, 2) * 3 })
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
		{"no ids, and nothing else either", `{"image_name":"a"},{"image_name":"a"}`, 1},
		{"zero for an id, and other versions", `{"id":0,"image_version":"1"},{"id":0,"image_version":"2"},{"id":0,"image_version":"2"}`, 2},
		{"zero for an id, and other results", `{"id":0,"malicious_file_num":0},{"id":0,"malicious_file_num":1}`, 2},
		{"the id of another type of image", `{"id":7,"image_type":"shared_image"},{"id":7,"image_type":"private_image"}`, 2},
		{"the same id, digest and all", `{"id":7,"image_digest":"x"},{"id":7,"image_digest":"x"}`, 1},
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
			"the list has more than 3 pages of 10 rows"},
		{"when the offset is ignored", 100, func(page int) int { return -page * 10 }, nil, hss.ListRequest{Limit: 10}, 10,
			"the list repeats itself: 3 pages before offset 40 brought nothing new"},
		{"when the list goes on past the last offset", 2_000_100, steady, nil, hss.ListRequest{Offset: hss.MaxOffset, Limit: 10}, 10,
			"the list goes on past offset 2000000"},
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
