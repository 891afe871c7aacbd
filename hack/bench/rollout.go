package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/inventory"
)

// rollout is many pods at once, none of whose images is known: each has one of the images, a single pod has all.
type rollout struct {
	pods, images int
	// latency is that of HSS.
	latency time.Duration
	// synced has the inventory list the project first.
	synced bool
}

// rolledOut is the result of a rollout.
type rolledOut struct {
	calls int
	took  time.Duration
	waits []time.Duration
}

// concurrentPods is how many pods of a rollout are decided at one time.
const concurrentPods = 1000

// writeRollouts measures HSS calls and time for many pods of few images, cold.
func writeRollouts(ctx context.Context, w io.Writer, quick bool) error {
	pods := 10_000
	if quick {
		pods = 1_000
	}
	fmt.Fprintf(w, "The gate, the inventory and hssgate's HSS client with the default limits, and hsstest over HTTP in the same process; %d pods at one\n"+
		"time. HSS has accepted the keys before: keys it hasn't are tried one call at a time. After a synchronisation of the project, its calls\n"+
		"are counted. A single pod has all the images.\n\n", concurrentPods)
	t := newTable("latency of HSS", "pods", "images", "synchronised", "list calls", "calls ÷ images", "decided in", "÷ latency", "p50 of a pod", "p99 of a pod")
	for _, r := range []rollout{
		{pods: pods, images: knownImages},
		{pods: pods, images: knownImages, latency: 100 * time.Millisecond},
		{pods: pods, images: knownImages, latency: time.Second},
		{pods: pods, images: knownImages, latency: 100 * time.Millisecond, synced: true},
		{pods: 1, images: 1, latency: time.Second},
		{pods: 1, images: 10, latency: time.Second},
	} {
		out, err := r.run(ctx)
		if err != nil {
			return err
		}
		latencies := any("")
		if r.latency > 0 {
			latencies = float64(out.took) / float64(r.latency)
		}
		t.add(r.latency, r.pods, r.images, r.synced, out.calls, float64(out.calls)/float64(r.images), out.took, latencies,
			percentile(out.waits, 50), percentile(out.waits, 99))
	}
	t.writeTo(w)
	return nil
}

// run has the pods decided. Each must be admitted.
func (r *rollout) run(ctx context.Context) (out rolledOut, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	hss := newHSS(r.images + 1) //nolint:contextcheck // closing it is what ends it
	defer hss.Close()
	more := ""
	if r.synced {
		more = ", syncInterval: 1m"
	}
	c, err := newConfiguration(hss.URL, more)
	if err != nil {
		return out, err
	}
	known, err := newInventory(c)
	if err != nil {
		return out, err
	}
	defer known.Close()
	if err := r.prepare(ctx, hss, known); err != nil {
		return out, err
	}
	decider, err := newGate(known)
	if err != nil {
		return out, err
	}
	out.waits = make([]time.Duration, r.pods)
	var group errgroup.Group
	group.SetLimit(concurrentPods)
	begun := time.Now()
	for n := range r.pods {
		group.Go(func() (err error) {
			request := newPod(n%r.images, 1)
			if r.pods == 1 {
				request = newPod(0, r.images)
			}
			out.waits[n], err = decide(ctx, decider, &request)
			return err
		})
	}
	err = group.Wait()
	out.took, out.calls = time.Since(begun), hss.Stats().Requests
	return out, err
}

// prepare has HSS accept the keys by the call for one more image, which no pod has, sets its latency and counters and,
// for a project that is synchronised, waits for its list.
func (r *rollout) prepare(ctx context.Context, hss *hsstest.Server, known *inventory.Inventory) error {
	if err := lookUp(ctx, known, imageName(r.images)); err != nil {
		return err
	}
	hss.SetLatency(r.latency)
	hss.ResetStats()
	if !r.synced {
		return nil
	}
	go func() { _ = known.Start(ctx) }() // it ends when the inventory is closed
	synced := func(context.Context) (bool, error) { return !known.Stats().Projects[0].SyncedUntil.IsZero(), nil }
	if err := wait.PollUntilContextCancel(ctx, 10*time.Millisecond, true, synced); err != nil {
		return fmt.Errorf("wait until the project is synchronised: %w", err)
	}
	return nil
}
