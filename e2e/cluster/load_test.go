package cluster_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// rate is how many requests the load asks for in a second, and clients by how
// many clients at a time at most, which is far more than it should take.
const (
	rate    = 100
	clients = 100
)

// load is a steady stream of dry runs: the API server sends each to hssgate.
type load struct {
	world *world
	stop  context.CancelFunc
	done  chan struct{}

	started time.Time
	took    time.Duration
	mu      sync.Mutex
	times   []time.Duration
	failed  []failure
}

// failure is a request without the answer that it should have.
type failure struct {
	n              int
	started, ended time.Time
	err            error
}

func (f failure) describe(since time.Time) string {
	return fmt.Sprintf("request %d, %s after the start: %v", f.n, f.started.Sub(since).Round(time.Millisecond), f.err)
}

func (w *world) startLoad(t *testing.T) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{world: w, stop: stop, done: make(chan struct{}), started: time.Now()}
	go l.run(ctx)
	t.Cleanup(stop)
	return l
}

// run asks at a steady pace, however long answers take.
func (l *load) run(ctx context.Context) {
	defer close(l.done)
	var asked sync.WaitGroup
	defer asked.Wait()
	slots := make(chan struct{}, clients)
	asking := context.WithoutCancel(ctx)
	for n := range int(1e9) {
		due := l.started.Add(time.Duration(n) * time.Second / rate)
		select {
		case <-ctx.Done():
			l.took = time.Since(l.started)
			return
		case <-time.After(time.Until(due)):
		}
		slots <- struct{}{}
		asked.Go(func() {
			defer func() { <-slots }()
			l.ask(asking, n)
		})
	}
}

// ask asks about a bad image one time in ten, so that the answers show that
// hssgate gave them.
func (l *load) ask(ctx context.Context, n int) {
	started := time.Now()
	var err error
	if n%10 == 0 {
		err = l.world.refuses(ctx)
	} else {
		err = l.world.try(ctx, goodImage)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = append(l.times, time.Since(started))
	if err != nil {
		l.failed = append(l.failed, failure{n: n, started: started, ended: time.Now(), err: err})
	}
}

// finish stops the load and checks that every request got its answer.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.end(t)
	for _, failure := range l.failed[:min(len(l.failed), 20)] {
		t.Error(failure.describe(l.started))
	}
	if len(l.failed) > 0 {
		t.Errorf("%d of %d requests failed", len(l.failed), len(l.times))
	}
}

// end stops the load and checks that there were as many requests as there should
// be to tell anything.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	<-l.done
	slices.SortFunc(l.times, cmp.Compare[time.Duration])
	n := len(l.times)
	perSecond := float64(n) / l.took.Seconds()
	t.Logf("%d requests in %s, %.1f a second, %d failed; median %s, p99 %s, slowest %s", n, l.took.Round(time.Second), perSecond,
		len(l.failed), l.times[n/2].Round(time.Microsecond), l.times[n*99/100].Round(time.Microsecond), l.times[n-1].Round(time.Microsecond))
	// A slow machine can't keep the pace; that anything was asked must be sure.
	if perSecond < rate/20 {
		t.Errorf("got %.1f requests a second, want %d", perSecond, rate)
	}
}
