package bench_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
)

// concurrentPods is how many pods of a rollout are decided at one time.
const concurrentPods = 1000

// rollout is many pods at once, none of whose images is known: each has one of the images, a single pod has all.
type rollout struct {
	pods, images int
	latency      time.Duration // of HSS
	synced       bool          // the inventory lists the project first
}

// BenchmarkRollout measures the time until all pods of a rollout are admitted, and the calls to HSS that it takes: through
// the gate, the inventory and hssgate's HSS client with the default limits.
func BenchmarkRollout(b *testing.B) {
	for _, r := range []rollout{
		{pods: 10_000, images: knownImages},
		{pods: 10_000, images: knownImages, latency: 100 * time.Millisecond},
		{pods: 10_000, images: knownImages, latency: time.Second},
		{pods: 10_000, images: knownImages, latency: 100 * time.Millisecond, synced: true},
		{pods: 1, images: 1, latency: time.Second},
		{pods: 1, images: 10, latency: time.Second},
	} {
		b.Run(fmt.Sprintf("pods=%d/images=%d/latency=%s/synced=%t", r.pods, r.images, r.latency, r.synced), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(float64(r.run(b, b.StopTimer, b.StartTimer)), "calls")
			}
		})
	}
}

// run has the pods decided, each of which must be admitted, and returns how often HSS was called.
func (r *rollout) run(tb testing.TB, stopTimer, startTimer func()) (calls int) {
	tb.Helper()
	stopTimer()
	hss := newHSS(tb, r.images+1)
	c := newConfiguration(tb, hss.URL)
	if r.synced {
		c.Projects[0].SyncInterval = config.Duration(time.Minute)
	}
	known := newInventory(tb, c)
	lookUp(tb, known, r.images, 1) // HSS accepts the keys by the call for an image that no pod has: until then, calls are made one by one
	hss.SetLatency(r.latency)
	hss.ResetStats()
	if r.synced {
		var running sync.WaitGroup
		running.Go(func() { _ = known.Start(tb.Context()) }) // it ends with the context, too
		tb.Cleanup(running.Wait)
		for known.Stats().Projects[0].SyncedUntil.IsZero() {
			time.Sleep(time.Millisecond)
		}
	}
	decider := newGate(tb, known)
	startTimer()
	var group errgroup.Group
	group.SetLimit(concurrentPods)
	for n := range r.pods {
		group.Go(func() error {
			first, images := n%r.images, 1
			if r.pods == 1 {
				first, images = 0, r.images
			}
			return decide(tb.Context(), decider, first, images)
		})
	}
	if err := group.Wait(); err != nil {
		tb.Fatal(err)
	}
	return hss.Stats().Requests
}

// decide has the gate decide about a pod of the images from first on, which must be admitted.
func decide(ctx context.Context, decider *gate.Gate, first, images int) error {
	w := image.Workload{Kind: "Pod", Labels: map[string]string{"app": "web"}}
	for i := range images {
		w.Uses = append(w.Uses, image.Use{Place: image.PlaceContainer, Name: fmt.Sprintf("c%d", i), Image: imageName(first + i)})
	}
	if d := decider.Decide(ctx, gate.Request{Namespace: "prod", Name: "web", Workload: w}); d.Outcome != gate.Admitted {
		return fmt.Errorf("outcome %q, want %q: %s", d.Outcome, gate.Admitted, d.Message())
	}
	return nil
}

// TestRollout takes the benchmarks' code through small ones.
func TestRollout(t *testing.T) {
	for _, r := range []rollout{{pods: 40, images: 4}, {pods: 40, images: 4, synced: true}, {pods: 1, images: 4}} {
		if calls := r.run(t, func() {}, func() {}); calls < 1 || calls > r.images {
			t.Errorf("%+v: %d calls", r, calls)
		}
	}
	if heap := remember(t, 2000); heap < 2000*64 || heap > 2000*2048 {
		t.Errorf("2,000 images take %d bytes", heap)
	}
}
