package hsstest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// numbered makes n rows with the versions 0 to n-1.
func numbered(n int) []hsstest.Image {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint(i))
	}
	return versions(names...)
}

// pages reads to the first empty page, as clients should.
func pages(t *testing.T, h *hsstest.Handler, limit int) []string {
	t.Helper()
	var all []string
	for offset := 0; ; {
		got := ask(t, h, fmt.Sprintf("limit=%d&offset=%d", limit, offset))
		if got.Status != 200 || offset > 10_000 {
			t.Fatalf("offset %d: got %d %s", offset, got.Status, got.Raw)
		}
		if len(got.DataList) == 0 {
			return all
		}
		all = append(all, strings.Fields(got.tags())...)
		offset += len(got.DataList)
	}
}

func TestAPageHasTenRowsUnlessAskedOtherwise(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(numbered(25)...))
	for query, want := range map[string]string{
		"":                  "0 1 2 3 4 5 6 7 8 9",
		"offset=20":         "20 21 22 23 24",
		"limit=2&offset=3":  "3 4",
		"limit=2&offset=25": "",
		"offset=2000000":    "",
	} {
		got := ask(t, h, query)
		if got.tags() != want || got.TotalNum != 25 {
			t.Errorf("%s: got %s of %d, want %s of 25", query, got.tags(), got.TotalNum, want)
		}
		if !strings.Contains(got.Raw, `"data_list":[`) {
			t.Errorf("%s: got %s, want a data_list even if empty", query, got.Raw)
		}
	}
}

func TestPagingReachesEveryRow(t *testing.T) {
	t.Parallel()
	const rows = 57
	for name, options := range map[string][]hsstest.Option{
		"plainly":                    nil,
		"in another order":           {hsstest.WithShuffledRows(7)},
		"with a repeated row":        {hsstest.WithRepeatedRows()},
		"repeated, in another order": {hsstest.WithRepeatedRows(), hsstest.WithShuffledRows(3)},
	} {
		for _, limit := range []int{1, 7, 57, 200} {
			t.Run(fmt.Sprintf("%s by %d", name, limit), func(t *testing.T) {
				t.Parallel()
				h := open(t, append(options, hsstest.WithImages(numbered(rows)...))...)
				all := pages(t, h, limit)
				if seen := slices.Compact(slices.Sorted(slices.Values(all))); len(seen) != rows {
					t.Errorf("saw %d different rows, want %d", len(seen), rows)
				}
			})
		}
	}
}

func TestARowIsRepeatedOnTheNextPage(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithRepeatedRows(), hsstest.WithImages(numbered(5)...))
	if diff := cmp.Diff([]string{"0", "1", "1", "2", "3", "4"}, pages(t, h, 2)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTheShuffledOrderDependsOnTheSeedOnly(t *testing.T) {
	t.Parallel()
	order := func(seed uint64) string {
		return ask(t, open(t, hsstest.WithShuffledRows(seed), hsstest.WithImages(numbered(50)...)), "limit=200").tags()
	}
	plain := ask(t, open(t, hsstest.WithImages(numbered(50)...)), "limit=200").tags()
	first, again, other := order(1), order(1), order(2)
	if first != again {
		t.Error("one seed gave two orders")
	}
	if first == other || first == plain {
		t.Error("two seeds gave one order")
	}
}

func TestASortedListIsSortedOverAllPages(t *testing.T) {
	t.Parallel()
	at := newClock()
	rows := numbered(20)
	for i := range rows {
		rows[i].LatestScanTime = at.now().Add(-1 * (1 << (i % 7)) * 1e9)
	}
	h := open(t, hsstest.WithImages(rows...), hsstest.WithShuffledRows(5))
	last := float64(0)
	for offset := 0; offset < 20; offset += 3 {
		got := ask(t, h, fmt.Sprintf("sort_key=latest_scan_time&limit=3&offset=%d", offset))
		for _, row := range got.DataList {
			next := row["latest_scan_time"].(float64)
			if next < last {
				t.Errorf("offset %d: %v follows %v", offset, next, last)
			}
			last = next
		}
	}
}
