package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
)

// rollout is many pods at once, none of whose images is known.
type rollout struct {
	pods, images int
	latency      time.Duration
	// concurrency is how many pods are being admitted at one time.
	concurrency int
	// synced has the inventory list the project first.
	synced bool
}

// rolledOut is what came of it.
type rolledOut struct {
	calls int
	took  time.Duration
	wait  []time.Duration
}

// measureRollout is (e): HSS calls and time for many pods of few images, cold.
func measureRollout(ctx context.Context, b *bench) error {
	b.printf("The gate, the inventory and hssgate's HSS client with the default budget (20 calls a second, a burst of 40, 16 at one time),\n" +
		"and hsstest over HTTP in the same process. HSS has accepted the keys before: keys it hasn't are tried one call at a time.\n\n")
	pods := 10_000
	if b.quick {
		pods = 1_000
	}
	header := []string{"latency of HSS", "pods", "images", "at one time", "list calls", "calls ÷ images", "pods ÷ calls", "all decided in", "p50 of a pod", "p99 of a pod"}
	t := newTable(header...)
	for _, latency := range []time.Duration{0, 100 * time.Millisecond, time.Second} {
		for _, concurrency := range []int{100, 1000} {
			r := rollout{pods: pods, images: knownImages, latency: latency, concurrency: concurrency}
			if err := r.addTo(ctx, b, t); err != nil {
				return err
			}
		}
	}
	synced := rollout{pods: pods, images: knownImages, latency: 100 * time.Millisecond, concurrency: 1000, synced: true}
	t.print(b.out)
	b.printf("The same after a synchronisation of the project, whose calls are counted:\n\n")
	t = newTable(header...)
	if err := synced.addTo(ctx, b, t); err != nil {
		return err
	}
	t.print(b.out)
	return b.measureColdPod(ctx)
}

func (r *rollout) addTo(ctx context.Context, b *bench, t *table) error {
	out, err := r.run(ctx, b)
	if err != nil {
		return err
	}
	t.add(r.latency, r.pods, r.images, r.concurrency, out.calls, float64(out.calls)/float64(r.images), float64(r.pods)/float64(out.calls),
		out.took, percentile(out.wait, 50), percentile(out.wait, 99))
	return nil
}

// measureColdPod tells how long one pod of unknown images waits.
func (b *bench) measureColdPod(ctx context.Context) error {
	b.printf("One pod, none of whose images is known:\n\n")
	t := newTable("latency of HSS", "images", "list calls", "decided in", "÷ latency")
	for _, latency := range []time.Duration{100 * time.Millisecond, time.Second} {
		for _, images := range []int{1, 10} {
			r := rollout{pods: 1, images: images, latency: latency, concurrency: 1}
			out, err := r.run(ctx, b)
			if err != nil {
				return err
			}
			t.add(latency, images, out.calls, out.took, float64(out.took)/float64(latency))
		}
	}
	t.print(b.out)
	return nil
}

// run has the pods decided about. Each must be admitted.
func (r *rollout) run(ctx context.Context, b *bench) (out rolledOut, err error) {
	// One more image, which no pod has, for the keys to be accepted by.
	hss := hsstest.NewServer(hsstest.WithImages(imageRows(r.images + 1)...)) //nolint:contextcheck // closing it is what ends it
	defer hss.Close()
	known, err := b.newColdInventory(ctx, hss, r)
	if err != nil {
		return rolledOut{}, err
	}
	defer known.Close()
	decider, err := newGate(known, clock.RealClock{}, 10, 0)
	if err != nil {
		return rolledOut{}, err
	}
	begun := time.Now()
	out.wait, err = r.decide(ctx, decider)
	out.took = time.Since(begun)
	out.calls = hss.Stats().Requests
	return out, err
}

// newColdInventory returns an inventory that knows no image of any pod, unless
// the project is to be synchronised, with hss's latency and counters set.
func (b *bench) newColdInventory(ctx context.Context, hss *hsstest.Server, r *rollout) (*inventory.Inventory, error) {
	dir, err := b.newDir("rollout")
	if err != nil {
		return nil, err
	}
	c, err := newConfiguration(hss.URL, dir)
	if err != nil {
		return nil, err
	}
	c.Projects[0].Sync.Enabled = r.synced
	known, err := newInventory(c, clock.RealClock{})
	if err != nil {
		return nil, err
	}
	extra, err := image.Parse(imageName(r.images))
	if err != nil {
		return nil, err
	}
	known.Facts(ctx, extra)
	hss.SetLatency(r.latency)
	hss.ResetStats()
	if !r.synced {
		return known, nil
	}
	go func() { _ = known.Start(ctx) }() // it ends when the inventory is closed
	return known, awaitSync(ctx, known)
}

// awaitSync waits until the project is listed, at most a minute.
func awaitSync(ctx context.Context, known *inventory.Inventory) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for known.Stats().Projects[0].SyncedUntil.IsZero() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the project is not synchronised: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

func (r *rollout) decide(ctx context.Context, decider *gate.Gate) ([]time.Duration, error) {
	wait, errs := make([]time.Duration, r.pods), make([]error, r.concurrency)
	var next atomic.Int64
	var wg sync.WaitGroup
	for worker := range r.concurrency {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= r.pods || errs[worker] != nil {
					return
				}
				wait[n], errs[worker] = r.decideOne(ctx, decider, n)
			}
		})
	}
	wg.Wait()
	return wait, errors.Join(errs...)
}

// decideOne decides about the n-th pod: one of a single image, or the only one,
// which has all of them.
func (r *rollout) decideOne(ctx context.Context, decider *gate.Gate, n int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request := newRequest(r.images)
	if r.pods > 1 {
		request.Workload.Uses = request.Workload.Uses[n%r.images:][:1]
	}
	begun := time.Now()
	if d := decider.Decide(ctx, request); d.Outcome != gate.Admitted {
		return 0, fmt.Errorf("pod %d: outcome %q, want %q: %s", n, d.Outcome, gate.Admitted, d.Message())
	}
	return time.Since(begun), nil
}
