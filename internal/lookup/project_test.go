package lookup_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
)

func TestALaneIsKeptWhileSomebodyUsesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := lookup.NewGroup(lookup.Settings{Clock: clock.RealClock{}})
		defer g.Close()
		p := g.NewProject("prod", 4, time.Minute)
		call := func(namespace string) {
			lane := lookup.AdmissionLane(policy.WithNamespace(t.Context(), namespace))
			if _, err := p.Call(t.Context(), lane, p.Images, func(context.Context) error {
				time.Sleep(time.Second)
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
		var callers sync.WaitGroup
		for range 7 {
			callers.Go(func() { call("greedy") }) // three at one time
		}
		callers.Go(func() { call("other") })
		for _, want := range []int{2, 1, 1, 0} {
			synctest.Wait()
			if n := p.Lanes(); n != want {
				t.Errorf("%d lanes are kept, want %d", n, want)
			}
			time.Sleep(time.Second)
		}
		callers.Wait()
	})
}

func TestACallWhoseTimeIsUpBeforeItBeginsSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := lookup.NewGroup(lookup.Settings{Clock: clock.RealClock{}})
		p := g.NewProject("prod", 1, time.Minute)
		var first sync.WaitGroup
		first.Go(func() {
			_, err := p.CallInBackground(p.Images, func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			})
			if err == nil || err.Error() != "hssgate is shutting down" {
				t.Errorf("at the end: got %v", err)
			}
		})
		synctest.Wait()
		for _, lane := range []lookup.Lane{lookup.Background, lookup.Admissions} { // the lane is full, and the project is
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			at, err := p.Call(ctx, lane, p.Images, func(context.Context) error { return nil })
			if !at.IsZero() || err == nil || err.Error() != "HSS was not called, since the time was up" {
				t.Errorf("lane %s: got %v at %s", lane, err, at)
			}
			cancel()
		}
		g.Close()
		first.Wait()
	})
}
