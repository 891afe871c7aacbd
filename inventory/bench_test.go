package inventory_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

// BenchmarkKnown is what an admission of a known image costs.
func BenchmarkKnown(b *testing.B) {
	multi := func(r *hss.Image) {
		r.MultiArch = true
		r.Architectures = []hss.AssociatedImage{
			{ID: "2", Digest: digest("c"), ScanStatus: "success", Vulnerabilities: new(1)},
			{ID: "3", Digest: digest("d"), ScanStatus: "success", Vulnerabilities: new(2)},
		}
	}
	for name, test := range map[string]struct {
		ref string
		row hss.Image
	}{
		"tag":               {app, row()},
		"tag and digest":    {app + "@" + digest("a"), row()},
		"two architectures": {app, row(multi)},
	} {
		i, err := inventory.New(inventory.Options{
			Config: settings(), Clients: map[string]inventory.Lister{"bj4": &echo{test.row}},
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(i.Close)
		ref := reference(b, test.ref)
		if got := i.Facts(b.Context(), ref); got.State != policy.StateFound {
			b.Fatal(got.Reason)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := i.Known(ref); !ok {
					b.Fatal("not known")
				}
			}
		})
		b.Run(name+", on all cores", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i.Known(ref)
				}
			})
		})
	}
}

// cold makes an inventory that knows nothing of the images of w.
func cold(b *testing.B, w *world) *inventory.Inventory {
	b.Helper()
	i, err := inventory.New(inventory.Options{Config: settings(), Clients: map[string]inventory.Lister{"bj4": w}})
	if err != nil {
		b.Fatal(err)
	}
	return i
}

// BenchmarkColdPod is how long a pod with ten images waits, none of which is
// known, in times of one call.
func BenchmarkColdPod(b *testing.B) {
	for _, latency := range []time.Duration{100 * time.Millisecond, time.Second} {
		b.Run(latency.String(), func(b *testing.B) {
			w := &world{rows: images(10), latency: latency}
			for b.Loop() {
				i := cold(b, w)
				rollOut(b, i, 10, 10)
				i.Close()
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(latency), "calls'-time")
		})
	}
}

// BenchmarkRollOut is how long 10,000 pods of 50 images wait, none of which is
// known, and how often HSS is asked for that.
func BenchmarkRollOut(b *testing.B) {
	for _, latency := range []time.Duration{0, 100 * time.Millisecond, time.Second} {
		b.Run(latency.String(), func(b *testing.B) {
			w := &world{rows: images(50), latency: latency}
			for b.Loop() {
				i := cold(b, w)
				rollOut(b, i, 10_000, 50)
				i.Close()
			}
			b.ReportMetric(float64(w.singly())/float64(b.N), "lookups/op")
		})
	}
}

// rollOut asks for n images at once, of which so many are different.
func rollOut(b *testing.B, i *inventory.Inventory, n, different int) {
	b.Helper()
	var pods sync.WaitGroup
	for m := range n {
		ref := reference(b, ofImage(m%different))
		pods.Go(func() {
			if got := i.Facts(b.Context(), ref); got.State != policy.StateFound {
				b.Errorf("%s: %s", ref, got.Reason)
			}
		})
	}
	pods.Wait()
}

// BenchmarkList is how long a whole list of a project takes to work in.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{1_000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rows := images(n)
			for b.Loop() {
				listOnce(b, &listWorld{rows: rows}, n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/image")
		})
	}
}

// listOnce synchronises a project and awaits its first list.
func listOnce(b *testing.B, w *listWorld, n int) {
	b.Helper()
	i, err := inventory.New(inventory.Options{Config: settings(synchronised, large(n)), Clients: map[string]inventory.Lister{"bj4": w}})
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- i.Start(b.Context()) }()
	for i.Stats().Projects[0].SyncedUntil.IsZero() {
		time.Sleep(time.Millisecond)
	}
	if got := i.Stats().Images; got != n {
		b.Errorf("%d images are known, want %d", got, n)
	}
	i.Close()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}
