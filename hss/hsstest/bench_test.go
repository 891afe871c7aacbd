package hsstest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// BenchmarkList asks an inventory of 100,000 rows in several ways.
func BenchmarkList(b *testing.B) {
	rows := make([]hsstest.Image, 100_000)
	for i := range rows {
		rows[i] = hsstest.Image{Namespace: fmt.Sprintf("team-%d", i%100), ImageName: fmt.Sprintf("app-%d", i/10),
			ImageVersion: fmt.Sprint(i % 10), ScanStatus: "success", VulNum: new(i % 3)}
	}
	h := hsstest.NewHandler(hsstest.WithoutAuthentication(), hsstest.WithImages(rows...))
	for name, query := range map[string]string{
		"by name":       "namespace=team-7&image_name=app-700&limit=200",
		"by namespace":  "namespace=team-7&limit=200",
		"a page":        "limit=200&offset=50000",
		"sorted":        "limit=200&sort_key=latest_scan_time&sort_dir=desc",
		"what is risky": "risky=true&limit=200",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, listPath+"?"+query, nil)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
}

// BenchmarkSetImages replaces an inventory of 100,000 rows.
func BenchmarkSetImages(b *testing.B) {
	rows := make([]hsstest.Image, 100_000)
	for i := range rows {
		rows[i] = hsstest.Image{Namespace: "prod", ImageName: fmt.Sprintf("app-%d", i/10)}
	}
	h := hsstest.NewHandler()
	for b.Loop() {
		h.SetImages(rows...)
	}
}
