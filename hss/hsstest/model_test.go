package hsstest_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// few picks one of a few values, so that rows and queries often meet.
func few(random *rand.Rand, values ...string) string { return values[random.IntN(len(values))] }

func randomRow(random *rand.Rand, version int, now time.Time) hsstest.Image {
	row := hsstest.Image{
		ImageVersion: fmt.Sprint(version), Namespace: few(random, "prod", "pro", "test"), ImageName: few(random, "app", "apps", "web"),
		ImageType: few(random, "private_image", "harbor"), EnterpriseProjectID: few(random, "", "0", "e1"),
		ProjectID: few(random, "", "", "p1", "p2"), ScanStatus: few(random, "success", "unscan", "download_failed"),
		SeverityLevel: few(random, "", "Low", "High"),
	}
	if random.IntN(2) == 0 {
		row.VulNum = new(random.IntN(2))
	}
	if random.IntN(2) == 0 {
		row.LatestScanTime = now.Add(-time.Duration(random.IntN(5)) * time.Hour)
	}
	return row
}

// naive is what the reference says of each parameter, one line for each.
func naive(q url.Values, row hsstest.Image, now time.Time) bool {
	same := func(name, value string) bool { return !q.Has(name) || q.Get(name) == value }
	enterprise := row.EnterpriseProjectID
	if enterprise == "" {
		enterprise = "0"
	}
	asked := q.Get("enterprise_project_id")
	if asked == "" {
		asked = "0"
	}
	vulnerable := row.VulNum != nil && *row.VulNum > 0
	recent := !q.Has("start_latest_scan_time") || !row.LatestScanTime.IsZero() && !row.LatestScanTime.Before(now.Add(-2*time.Hour))
	return (row.ProjectID == "" || row.ProjectID == "p1") && (asked == "all_granted_eps" || asked == enterprise) &&
		same("namespace", row.Namespace) && same("image_name", row.ImageName) && same("image_type", row.ImageType) &&
		same("scan_status", row.ScanStatus) && same("severity_level", row.SeverityLevel) &&
		same("has_vul", fmt.Sprint(vulnerable)) && recent
}

func randomQuery(random *rand.Rand, now time.Time) url.Values {
	q := url.Values{}
	for name, values := range map[string][]string{
		"namespace": {"prod", "pro"}, "image_name": {"app", "web"}, "image_type": {"harbor"}, "scan_status": {"success", "unscan"},
		"severity_level": {"Low", "High"}, "has_vul": {"true", "false"}, "enterprise_project_id": {"0", "e1", "all_granted_eps"},
		"start_latest_scan_time": {fmt.Sprint(now.Add(-2 * time.Hour).UnixMilli())},
	} {
		if random.IntN(3) == 0 {
			q.Set(name, few(random, values...))
		}
	}
	return q
}

// TestEveryQueryFindsWhatANaiveSearchFinds compares the index and the filters
// with the search above, over random inventories, queries and pages.
func TestEveryQueryFindsWhatANaiveSearchFinds(t *testing.T) {
	t.Parallel()
	at := newClock()
	random := rand.New(rand.NewPCG(11, 12))
	for range 20 {
		var rows []hsstest.Image
		for version := range random.IntN(80) {
			rows = append(rows, randomRow(random, version, at.now()))
		}
		h := open(t, hsstest.WithImages(rows...), hsstest.WithClock(at.now))
		for range 50 {
			q := randomQuery(random, at.now())
			var want []string
			for _, row := range rows {
				if naive(q, row, at.now()) {
					want = append(want, row.ImageVersion)
				}
			}
			total := len(want)
			offset, limit := random.IntN(total+2), 1+random.IntN(20)
			want = want[min(offset, total):min(offset+limit, total)]
			q.Set("offset", fmt.Sprint(offset))
			q.Set("limit", fmt.Sprint(limit))
			got := ask(t, h, q.Encode())
			if diff := cmp.Diff(strings.Join(want, " "), got.tags()); diff != "" || got.TotalNum != total {
				t.Fatalf("%s: %d in all, want %d; -want +got:\n%s", q.Encode(), got.TotalNum, total, diff)
			}
		}
	}
}
