package bench_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
)

// BenchmarkMemory measures the live heap that known images take. Each has a name, version and digest of its own, all
// counts and times. -short leaves the million out.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000, 1_000_000} {
		if testing.Short() && n > 100_000 {
			continue
		}
		b.Run(fmt.Sprintf("images=%d", n), func(b *testing.B) {
			for b.Loop() {
				heap := remember(b, n)
				b.ReportMetric(float64(heap)/float64(n), "B/image")
				b.ReportMetric(float64(heap)/1e6, "MB")
			}
		})
	}
}

// remember has an inventory look up n images, and returns how much memory they take.
func remember(tb testing.TB, n int) (heap uint64) {
	tb.Helper()
	c := newConfiguration(tb, "http://127.0.0.1:1")
	c.Cache.MaxBytes = 4 << 30
	source := &oneRow{}
	known, err := inventory.New(inventory.Options{Config: c, Clients: map[string]inventory.Lister{"main": source}})
	if err != nil {
		tb.Fatal(err)
	}
	defer known.Close()
	before := liveHeap()
	for i := range n {
		source.row = newRow(i)
		ref := image.Reference{Host: registryHost, Path: source.row.Namespace + "/" + source.row.Name, Tag: source.row.Version}
		if f := known.Facts(tb.Context(), ref); f.State != policy.StateFound {
			tb.Fatalf("image %d is not found: %s", i, f.Reason)
		}
	}
	heap = liveHeap() - before
	if got := known.Images(); got != n {
		tb.Fatalf("%d images are known, want %d", got, n)
	}
	return heap
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// oneRow is an HSS with one image.
type oneRow struct {
	inventory.Lister
	row hss.Image
}

// All yields it.
func (s *oneRow) All(context.Context, hss.ListRequest) iter.Seq2[hss.Image, error] {
	return func(yield func(hss.Image, error) bool) { yield(s.row, nil) }
}

// newRow returns a row as HSS has many: some services, each with many versions.
func newRow(n int) hss.Image {
	return hss.Image{
		ID: strconv.Itoa(10_000_000 + n), Namespace: fmt.Sprintf("team-%02d", n%40), Name: fmt.Sprintf("payments-service-%d", n/50),
		Version: fmt.Sprintf("2026.%d.%d-%07x", n%12, n%50, n), Digest: fmt.Sprintf("sha256:%064x", n+1),
		Type: config.TypePrivate, RegistryType: hss.RegistryTypeSWRPrivate, RegistryName: "SWR",
		ScanStatus: hss.ScanStatusSuccess, Severity: hss.SeverityMedium,
		Vulnerabilities: new(n % 300), UnsafeSettings: new(n % 9), MaliciousFiles: new(0),
		LatestScanTime: time.UnixMilli(1_790_000_000_000 + int64(n)), LatestUpdateTime: time.UnixMilli(1_780_000_000_000 + int64(n)),
	}
}
