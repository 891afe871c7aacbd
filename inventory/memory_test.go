package inventory_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
)

// typical is a row as SWR's are: names of a few words, a commit's hash as the
// version, all counts and times.
func typical(n int) hss.Image {
	return hss.Image{
		ID: fmt.Sprint(10_000_000 + n), Namespace: fmt.Sprintf("team-%02d", n%40), Name: fmt.Sprintf("payments-service-%d", n/50),
		Version: fmt.Sprintf("v1.%d.%d-%07x", n%50, n%7, n), Digest: fmt.Sprintf("sha256:%064x", n+1),
		Type: hss.ImageTypePrivate, RegistryType: hss.RegistryTypeSWRPrivate, RegistryName: "SWR",
		ScanStatus: hss.ScanStatusSuccess, Severity: hss.SeverityMedium,
		Vulnerabilities: new(n % 300), UnsafeSettings: new(n % 9), MaliciousFiles: new(0),
		LatestScanTime: time.UnixMilli(1_700_000_000_000 + int64(n)), LatestUpdateTime: time.UnixMilli(1_690_000_000_000 + int64(n)),
	}
}

// referenceOf is the reference with tag that finds a row.
func referenceOf(r hss.Image) image.Reference {
	return image.Reference{Host: "swr.example.com", Path: r.Namespace + "/" + r.Name, Tag: r.Version}
}

// heap is how much memory is in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// large makes room for n images.
func large(n int) func(*config.Configuration) {
	return func(c *config.Configuration) {
		c.Cache.MaxImages, c.Cache.MaxBytes = n+n/10, config.Bytes(max(1<<20, n*512))
	}
}

// BenchmarkMemory reports how much memory each known image takes in all.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(bytesPerImage(b, n), "bytes/image")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// bytesPerImage learns of n images and measures.
func bytesPerImage(tb testing.TB, n int) float64 {
	tb.Helper()
	f := &echo{}
	c := settings(large(n))
	i, err := inventory.New(inventory.Options{Config: c, Clients: map[string]inventory.Lister{"bj4": f}})
	if err != nil {
		tb.Fatal(err)
	}
	defer i.Close()
	before := heap()
	for m := range n {
		f.row = typical(m)
		i.Facts(tb.Context(), referenceOf(f.row))
	}
	after := heap()
	if got := i.Stats().Images; got < n*99/100 {
		tb.Fatalf("%d of %d images are remembered", got, n)
	}
	tb.Logf("%d images, %d bytes as counted by the cache", i.Stats().Images, i.Stats().Bytes/uint64(n))
	return float64(after-before) / float64(n)
}
