package inventory

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/config"
)

// smallBudget is one of 10 calls a second and a burst of 20, of which the
// background may have a half.
func smallBudget() *budget {
	p := config.DefaultProject()
	p.RequestsPerSecond, p.Burst, p.BackgroundPercent = 10, 20, 50
	return newBudget(&p)
}

// rush has n calls of a level wait for their turns, and returns how many got
// theirs within d.
func rush(ctx context.Context, b *budget, l level, n int, d time.Duration) int {
	ctx, cancel := context.WithTimeout(withUrgency(ctx, newUrgency(l)), d)
	defer cancel()
	var calls sync.WaitGroup
	var mu sync.Mutex
	let := 0
	for range n {
		calls.Go(func() {
			if b.Wait(ctx) == nil {
				mu.Lock()
				defer mu.Unlock()
				let++
			}
		})
	}
	calls.Wait()
	return let
}

func TestTheBudgetOfEachLevel(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		level       level
		least, most int // calls in 10 s
	}{
		"admissions take the burst and all of the rate":  {forAdmission, 120, 120},
		"a warm-up leaves half of the burst":             {forWarmUp, 108, 111},
		"the background takes its share and its burst's": {forBackground, 58, 61},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if got := rush(t.Context(), smallBudget(), test.level, 300, 10*time.Second); got < test.least || got > test.most {
					t.Errorf("%d calls in 10 s, want %d to %d", got, test.least, test.most)
				}
			})
		})
	}
}

func TestABusyBackgroundDelaysNoAdmission(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := smallBudget()
		var background sync.WaitGroup
		for _, l := range []level{forBackground, forWarmUp} {
			background.Go(func() { rush(t.Context(), b, l, 100, 20*time.Second) })
		}
		time.Sleep(10 * time.Second)
		begun := time.Now()
		for range 10 { // the half of the burst
			if err := b.Wait(t.Context()); err != nil || time.Since(begun) != 0 {
				t.Errorf("an admission waited %s: %v", time.Since(begun), err)
			}
		}
		if got := rush(t.Context(), b, forAdmission, 100, 5*time.Second); got < 49 {
			t.Errorf("admissions got %d calls in 5 s, want 50", got)
		}
		background.Wait()
	})
}

func TestACallThatBecomesUrgentWaitsAsAdmissionsDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := smallBudget()
		for range 20 {
			b.all.Allow()
		}
		u := newUrgency(forBackground)
		let := make(chan error)
		begun := time.Now()
		go func() { let <- b.Wait(withUrgency(t.Context(), u)) }()
		synctest.Wait()
		u.raise("a")
		u.raise("a")
		if err := <-let; err != nil || time.Since(begun) > 100*time.Millisecond {
			t.Errorf("it waited %s: %v", time.Since(begun), err)
		}
	})
}

func TestNoTimeForTheBudgetSaysNothingOfHSS(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, l := range []level{forAdmission, forWarmUp, forBackground} {
			b := smallBudget()
			for range 20 {
				b.all.Allow()
			}
			ctx, cancel := context.WithTimeout(withUrgency(t.Context(), newUrgency(l)), 10*time.Millisecond)
			err := b.Wait(ctx)
			cancel()
			var unsent *unsentError
			if !errors.As(err, &unsent) || judge(err) != healthNone {
				t.Errorf("level %d: %v", l, err)
			}
		}
	})
}

func TestASmallBudgetLetsEveryLevelThrough(t *testing.T) {
	t.Parallel()
	for l := range levels {
		synctest.Test(t, func(t *testing.T) {
			p := config.DefaultProject()
			p.RequestsPerSecond, p.Burst, p.BackgroundPercent = 0.5, 1, 1
			b := newBudget(&p)
			if got := rush(t.Context(), b, l, 10, 1000*time.Second); got < 5 {
				t.Errorf("level %d: %d calls in 1000 s", l, got)
			}
		})
	}
}
