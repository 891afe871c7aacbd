package inventory

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurnsAreNeitherLostNorOverdrawn has callers of every level come, wait,
// become urgent, give up and leave at random.
func TestTurnsAreNeitherLostNorOverdrawn(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			turns := newTurnstile(1+random.IntN(6), 40, 50)
			var underWay, background, served atomic.Int64
			var callers sync.WaitGroup
			for range 400 {
				u, calls := newUrgency(level(random.IntN(int(levels)))), 1+random.IntN(3)
				patience, work := time.Duration(random.IntN(4000)), time.Duration(random.IntN(300))
				comes, raised := time.Duration(random.IntN(9000)), random.IntN(5) == 0
				callers.Go(func() {
					time.Sleep(comes)
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					if raised {
						time.AfterFunc(patience/2, func() { u.raise("b") })
					}
					own, err := turns.acquire(ctx, u, calls)
					if err != nil {
						return
					}
					served.Add(1)
					n := int64(own.calls)
					if underWay.Add(n) > int64(turns.slots) || own.calls < 1 || own.calls > calls {
						t.Errorf("%d calls at one time, %d are allowed", underWay.Load(), turns.slots)
					}
					if own.level == forBackground && background.Add(n) > int64(turns.background) {
						t.Errorf("%d calls in the background, %d are allowed", background.Load(), turns.background)
					}
					time.Sleep(work)
					if own.level == forBackground {
						background.Add(-n)
					}
					underWay.Add(-n)
					turns.release(own)
				})
			}
			callers.Wait()
			busy, waiting := turns.load()
			if busy != 0 || waiting != 0 || served.Load() == 0 {
				t.Errorf("in the end %d calls are under way, %d wait; %d were served", busy, waiting, served.Load())
			}
			for l := range turns.queues {
				if n, lines := turns.queues[l].order.Len(), len(turns.queues[l].lines); n != 0 || lines != 0 {
					t.Errorf("%d of %d lines wait at level %d", n, lines, l)
				}
			}
		})
	}
}
