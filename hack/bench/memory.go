package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

// remembered is what a process measured that remembers images.
type remembered struct {
	Images int           `json:"images"`
	Heap   uint64        `json:"heap"`
	Before uint64        `json:"before"`
	Took   time.Duration `json:"took"`
	Usage  usage         `json:"usage"`
}

// measureMemory is (d): memory against the number of known images, each in a
// process of its own.
func measureMemory(ctx context.Context, b *bench) error {
	sizes := []int{1_000, 10_000, 100_000, 1_000_000}
	if b.quick {
		sizes = sizes[:3]
	}
	b.printf("Live heap after a collection, less what it was before the first image, and the process's largest resident size. Each image has a\n" +
		"name, version and digest of its own, all counts and times; HSS is a function in the same process.\n\n")
	t := newTable("known images", "bytes/image", "÷ 400", "live heap, MB", "resident, MB", "learned in")
	for _, n := range sizes {
		r, err := b.remember(ctx, n, n)
		if err != nil {
			return err
		}
		each := float64(r.Heap-r.Before) / float64(r.Images)
		t.add(r.Images, each, each/400, float64(r.Heap)/1e6, float64(r.Usage.MaxRSS)/1e6, r.Took)
	}
	t.print(b.out)
	b.printf("A flood of distinct images against cache.maxImages of 10,000:\n\n")
	t = newTable("distinct images", "remembered", "live heap, MB", "resident, MB")
	for _, n := range []int{10_000, 100_000, 500_000} {
		if b.quick && n > 100_000 {
			break
		}
		r, err := b.remember(ctx, n, 10_000)
		if err != nil {
			return err
		}
		t.add(n, r.Images, float64(r.Heap)/1e6, float64(r.Usage.MaxRSS)/1e6)
	}
	t.print(b.out)
	return nil
}

// remember has a child learn of n images with room for some.
func (b *bench) remember(ctx context.Context, n, room int) (r remembered, err error) {
	c, err := b.startSelf(ctx, 0, childRemember, strconv.Itoa(n), strconv.Itoa(room))
	if err != nil {
		return remembered{}, err
	}
	err = c.read(&r)
	return r, errors.Join(err, c.stop())
}

// rememberImages is what such a child does.
func rememberImages(ctx context.Context, distinct, room string, out io.Writer) error {
	n, nErr := strconv.Atoi(distinct)
	limit, limitErr := strconv.Atoi(room)
	if err := errors.Join(nErr, limitErr); err != nil {
		return err
	}
	c, err := newConfiguration("http://127.0.0.1:1", os.TempDir())
	if err != nil {
		return err
	}
	// A tenth more: the cache keeps no exact count.
	c.Cache.MaxImages, c.Cache.MaxBytes = limit+limit/10, 4<<30
	source := &rows{}
	known, err := inventory.New(inventory.Options{Config: c, Clients: map[string]inventory.Lister{"main": source}})
	if err != nil {
		return err
	}
	r := remembered{Before: liveHeap()}
	begun := time.Now()
	for i := range n {
		source.row = imageOf(i)
		if f := known.Facts(ctx, referenceOf(&source.row)); f.State != policy.StateFound {
			return fmt.Errorf("image %d is not found: %s", i, f.Reason)
		}
	}
	r.Took, r.Heap, r.Images = time.Since(begun), liveHeap(), known.Images()
	if r.Usage, err = usageOfSelf(); err != nil {
		return err
	}
	known.Close()
	return json.NewEncoder(out).Encode(r)
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// rows is an HSS with one image.
type rows struct{ row hss.Image }

// All yields it.
func (s *rows) All(context.Context, hss.ListRequest) iter.Seq2[hss.Image, error] {
	return func(yield func(hss.Image, error) bool) { yield(s.row, nil) }
}

// imageOf is a row as HSS has many: some services, each with many versions.
func imageOf(n int) hss.Image {
	count := func(n int) *int { return &n }
	return hss.Image{
		ID: strconv.Itoa(10_000_000 + n), Namespace: fmt.Sprintf("team-%02d", n%40), Name: fmt.Sprintf("payments-service-%d", n/50),
		Version: fmt.Sprintf("2026.%d.%d-%07x", n%12, n%50, n), Digest: fmt.Sprintf("sha256:%064x", n+1),
		Type: config.TypePrivate, RegistryType: hss.RegistryTypeSWRPrivate, RegistryName: "SWR",
		ScanStatus: hss.ScanStatusSuccess, Severity: hss.SeverityMedium,
		Vulnerabilities: count(n % 300), UnsafeSettings: count(n % 9), MaliciousFiles: count(0),
		LatestScanTime: time.UnixMilli(1_790_000_000_000 + int64(n)), LatestUpdateTime: time.UnixMilli(1_780_000_000_000 + int64(n)),
	}
}

func referenceOf(r *hss.Image) image.Reference {
	return image.Reference{Host: registryHost, Path: r.Namespace + "/" + r.Name, Tag: r.Version}
}
