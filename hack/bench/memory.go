package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"runtime"
	"strconv"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
)

// writeMemory measures memory against the number of known images.
func writeMemory(ctx context.Context, w io.Writer, quick bool) error {
	sizes := []int{1_000, 10_000, 100_000, 1_000_000}
	if quick {
		sizes = sizes[:3]
	}
	fmt.Fprint(w, "Live heap after a collection, less what it was before the first image. Each image has a name, version and digest of its own, all\n"+
		"counts and times; HSS is a function in the same process.\n\n")
	t := newTable("known images", "bytes/image", "live heap, MB", "learned in")
	for _, n := range sizes {
		heap, took, err := remember(ctx, n)
		if err != nil {
			return err
		}
		t.add(n, float64(heap)/float64(n), float64(heap)/1e6, took)
	}
	t.writeTo(w)
	return nil
}

// remember has an inventory look up n images, and returns how much memory they take.
func remember(ctx context.Context, n int) (heap uint64, took time.Duration, err error) {
	c, err := newConfiguration("http://127.0.0.1:1", "")
	if err != nil {
		return 0, 0, err
	}
	c.Cache.MaxBytes = 4 << 30
	source := &oneRow{}
	known, err := inventory.New(inventory.Options{Config: c, Clients: map[string]inventory.Lister{"main": source}})
	if err != nil {
		return 0, 0, err
	}
	defer known.Close()
	before, begun := liveHeap(), time.Now()
	for i := range n {
		source.row = newRow(i)
		ref := image.Reference{Host: registryHost, Path: source.row.Namespace + "/" + source.row.Name, Tag: source.row.Version}
		if f := known.Facts(ctx, ref); f.State != policy.StateFound {
			return 0, 0, fmt.Errorf("image %d is not found: %s", i, f.Reason)
		}
	}
	took, heap = time.Since(begun), liveHeap()-before
	if got := known.Images(); got != n {
		return 0, 0, fmt.Errorf("%d images are known, want %d", got, n)
	}
	return heap, took, nil
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
