package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	// rate is how many reviews the load sends in a second, and clients how many
	// wait for their answer at the same time at most.
	rate    = 20
	clients = 100
)

// load is a steady stream of dry runs, each reviewed by hssgate.
type load struct {
	cluster *cluster
	stop    context.CancelFunc
	done    chan struct{}
	started time.Time
	took    time.Duration

	mu     sync.Mutex
	times  []time.Duration
	failed []failure
}

// failure is a review without the answer that it should have.
type failure struct {
	started, ended time.Duration // since the start of the load
	err            error
}

func (f failure) String() string {
	return fmt.Sprintf("from %s to %s: %v", f.started.Round(time.Millisecond), f.ended.Round(time.Millisecond), f.err)
}

// load starts a load.
func (c *cluster) load(t *testing.T) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{cluster: c, stop: stop, done: make(chan struct{}), started: time.Now()}
	go l.run(ctx)
	t.Cleanup(stop)
	return l
}

// run sends reviews at a steady pace, however long answers take.
func (l *load) run(ctx context.Context) {
	defer close(l.done)
	sending := context.WithoutCancel(ctx)
	pace(ctx, rate, clients, func(n int) { l.send(sending, n) })
	l.took = time.Since(l.started)
}

// pace calls f with 0, 1 and so on, a number of times a second, and some calls at
// the same time at most, until ctx ends.
func pace(ctx context.Context, perSecond float64, concurrent int, f func(n int)) {
	started := time.Now()
	var calls sync.WaitGroup
	defer calls.Wait()
	slots := make(chan struct{}, concurrent)
	for n := 0; ; n++ {
		due := started.Add(time.Duration(float64(n) * float64(time.Second) / perSecond))
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(due)):
		}
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			f(n)
		})
	}
}

// send sends a bad image one time in ten, so that the answers show that hssgate
// gave them.
func (l *load) send(ctx context.Context, n int) {
	started := time.Since(l.started)
	var err error
	if n%10 == 0 {
		err = l.cluster.denies(ctx)
	} else {
		err = l.cluster.review(ctx, goodImage)
	}
	ended := time.Since(l.started)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = append(l.times, ended-started)
	if err != nil {
		l.failed = append(l.failed, failure{started, ended, err})
	}
}

// await waits until n reviews have been answered.
func (l *load) await(t *testing.T, n int) {
	t.Helper()
	eventually(t, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.times) < n {
			return fmt.Errorf("%d reviews have been answered, want %d", len(l.times), n)
		}
		return nil
	})
}

// failsNone has n reviews answered.
func (c *cluster) failsNone(t *testing.T, n int) {
	t.Helper()
	l := c.load(t)
	l.await(t, n)
	l.finish(t, 0)
}

// finish stops the load and logs its figures. It fails the test if more reviews
// than allowed failed.
func (l *load) finish(t *testing.T, allowed int) {
	t.Helper()
	l.stop()
	<-l.done
	slices.Sort(l.times)
	n := len(l.times)
	t.Logf("%d reviews in %s, %d failed; median %s, slowest %s", n, l.took.Round(time.Second), len(l.failed),
		l.times[n/2].Round(time.Millisecond), l.times[n-1].Round(time.Millisecond))
	if len(l.failed) <= allowed {
		return
	}
	t.Errorf("%d of %d reviews failed, allowed %d", len(l.failed), n, allowed)
	for _, f := range l.failed[:min(len(l.failed), 20)] {
		t.Error(f)
	}
}
