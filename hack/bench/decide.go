package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
)

// measureDecision is (c): the decision alone, from memory.
func measureDecision(ctx context.Context, b *bench) error {
	b.printf("One goroutine, all images in memory and clean. \"Matching\" policies judge every image; the others match by turns other images,\n" +
		"other labels, and other namespaces. The time is the least of several runs, since others use the machine, too.\n\n")
	const most = 100
	hss := hsstest.NewServer(hsstest.WithImages(imageRows(most)...)) //nolint:contextcheck // closing it is what ends it
	defer hss.Close()
	known, err := b.newWarmInventory(ctx, hss, most)
	if err != nil {
		return err
	}
	defer known.Close()
	if err := b.printDecisions(ctx, known, "policies that match", []int{1, 10, 100, 1000}, func(n int) (int, int) { return n, 0 }); err != nil {
		return err
	}
	return b.printDecisions(ctx, known, "policies, of which 1 matches", []int{1, 10, 100, 1000}, func(n int) (int, int) { return 1, n - 1 })
}

// newWarmInventory returns an inventory that knows the first n images of a server.
func (b *bench) newWarmInventory(ctx context.Context, hss *hsstest.Server, n int) (*inventory.Inventory, error) {
	dir, err := b.newDir("inventory")
	if err != nil {
		return nil, err
	}
	configuration, err := newConfiguration(hss.URL, dir)
	if err != nil {
		return nil, err
	}
	configuration.Projects[0].RequestsPerSecond, configuration.Projects[0].Burst = 1000, 1000
	known, err := newInventory(configuration, clock.RealClock{})
	if err != nil {
		return nil, err
	}
	return known, warm(ctx, known, n)
}

func (b *bench) printDecisions(ctx context.Context, known gate.Facts, title string, policies []int, split func(int) (matching, others int)) error {
	images := []int{1, 3, 10, 100}
	t := newTable(title, "1 image", "3 images", "10 images", "100 images", "3 images: × of 1 policy", "3 images: allocations")
	var one time.Duration
	for _, p := range policies {
		matching, others := split(p)
		decider, err := newGate(known, clock.RealClock{}, matching, others)
		if err != nil {
			return err
		}
		took, allocations := make([]time.Duration, len(images)), make([]int, len(images))
		for i, n := range images {
			if took[i], allocations[i], err = b.timeDecision(ctx, decider, n, matching); err != nil {
				return err
			}
		}
		if one == 0 {
			one = took[1]
		}
		t.add(p, took[0], took[1], took[2], took[3], float64(took[1])/float64(one), allocations[1])
	}
	t.print(b.out)
	return nil
}

// timeDecision decides about a pod of n images, again and again.
func (b *bench) timeDecision(ctx context.Context, decider *gate.Gate, n, matching int) (took time.Duration, allocations int, err error) {
	r := newRequest(n)
	if d := decider.Decide(ctx, r); d.Outcome != gate.Admitted || len(d.Policies) != matching {
		return 0, 0, fmt.Errorf("%d images: outcome %q by %d policies, want %q by %d: %s", n, d.Outcome, len(d.Policies), gate.Admitted, matching, d.Message())
	}
	took, allocations = leastTime(b.quick, func() { decider.Decide(ctx, r) })
	return took, allocations, nil
}

func newRequest(images int) gate.Request {
	w := image.Workload{Kind: "Pod", Labels: map[string]string{"app": "web", "env": namespace}}
	for i := range images {
		w.Uses = append(w.Uses, image.Use{Place: image.PlaceContainer, Name: fmt.Sprintf("c%d", i), Image: imageName(i)})
	}
	return gate.Request{Namespace: namespace, Name: "web", Workload: w}
}

// leastTime runs f in several runs and returns the time and the allocations of
// one call in the fastest of them.
func leastTime(quick bool, f func()) (least time.Duration, allocations int) {
	runs, each := 30, 10*time.Millisecond
	if quick {
		runs = 5
	}
	calls := callsIn(each, f)
	var before, after runtime.MemStats
	for range runs {
		runtime.ReadMemStats(&before)
		begun := time.Now()
		for range calls {
			f()
		}
		took := time.Since(begun) / time.Duration(calls)
		runtime.ReadMemStats(&after)
		if least == 0 || took < least {
			least, allocations = took, int(after.Mallocs-before.Mallocs)/calls //nolint:gosec // a small number
		}
	}
	return least, allocations
}

// callsIn is how many calls of f take about as long as d.
func callsIn(d time.Duration, f func()) int {
	for calls := 1; ; calls *= 2 {
		begun := time.Now()
		for range calls {
			f()
		}
		if time.Since(begun) >= d/2 {
			return calls
		}
	}
}
