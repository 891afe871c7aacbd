package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

func TestTenThousandPodsOfFiftyImagesCostFiftyLookUps(t *testing.T) {
	t.Parallel()
	for _, latency := range []time.Duration{0, 100 * time.Millisecond, time.Second} {
		t.Run(latency.String(), func(t *testing.T) {
			t.Parallel()
			w := &world{rows: images(50), latency: latency}
			live(t, w, func(t *testing.T, i *inventory.Inventory) {
				var pods sync.WaitGroup
				for n := range 10_000 {
					pods.Go(func() {
						if got, _ := within(t, i, 9*time.Second, ofImage(n%50)); got.State != policy.StateFound {
							t.Errorf("got %v: %s", got.State, got.Reason)
						}
					})
				}
				begun := time.Now()
				pods.Wait()
				// 16 at a time.
				if took := time.Since(begun); w.singly() != 50 || w.listed() != 0 || took != 4*latency {
					t.Errorf("%d look-ups and %d lists took %s", w.singly(), w.listed(), took)
				}
			})
		})
	}
}

func TestAColdPodTakesTheTimeOfOneCall(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(10), latency: time.Second}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		var containers sync.WaitGroup
		begun := time.Now()
		for n := range 10 {
			containers.Go(func() { within(t, i, 9*time.Second, ofImage(n)) })
		}
		containers.Wait()
		if took := time.Since(begun); took != time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestCallsAtOneTimeAreBounded(t *testing.T) {
	t.Parallel()
	for most := 1; most <= 5; most++ {
		w := &world{latency: time.Second}
		live(t, w, func(t *testing.T, i *inventory.Inventory) {
			var callers sync.WaitGroup
			for n := range 12 { // each in two spellings
				callers.Go(func() { within(t, i, time.Minute, fmt.Sprintf("swr.example.com/prod/a/b:%d", n)) })
			}
			callers.Wait()
			if w.atOnce() > most || w.singly() != 24 {
				t.Errorf("%d calls, %d at one time, %d are allowed", w.singly(), w.atOnce(), most)
			}
		}, func(c *config.Configuration) { c.Projects[0].MaxConcurrent = most })
	}
}

func TestPastTheBoundOfTheQueueAnImageIsUnavailableAtOnce(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(20), latency: time.Second}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		var callers sync.WaitGroup
		for n := range 6 { // two are asked for, four wait
			callers.Go(func() { within(t, i, time.Minute, ofImage(n)) })
		}
		synctest.Wait()
		if s := i.Stats().Projects[0]; s.UnderWay != 2 || s.Waiting != 4 {
			t.Errorf("%+v", s)
		}
		got, took := within(t, i, time.Minute, ofImage(7))
		want := "HSS is not asked, since 4 images already wait for their turn"
		if got.State != policy.StateUnavailable || got.Reason != want || took != 0 {
			t.Errorf("got %v after %s: %s", got.State, took, got.Reason)
		}
		if got, _ := within(t, i, time.Minute, ofImage(5)); got.State != policy.StateFound {
			t.Errorf("who shares a turn that is waited for got %v: %s", got.State, got.Reason)
		}
		callers.Wait()
		if got, _ := within(t, i, time.Minute, ofImage(7)); got.State != policy.StateFound {
			t.Errorf("when it is over got %v: %s", got.State, got.Reason)
		}
	}, func(c *config.Configuration) { c.Projects[0].MaxConcurrent, c.Projects[0].MaxWaiting = 2, 4 })
}

func TestATurnThatDoesNotComeIsNotAFailureOfHSS(t *testing.T) {
	t.Parallel()
	w := &world{latency: 30 * time.Second}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		var callers sync.WaitGroup
		for n := range 9 {
			callers.Go(func() {
				got, _ := within(t, i, time.Hour, fmt.Sprintf("swr.example.com/prod/app:%d", n))
				if got.State == policy.StateUnavailable && !strings.HasPrefix(got.Reason, "HSS was not asked, since no turn came in time") {
					t.Error(got.Reason)
				}
			})
		}
		callers.Wait()
		if got := i.Stats().Projects[0].Breaker; got != inventory.BreakerClosed {
			t.Errorf("the breaker is %s", got)
		}
	}, func(c *config.Configuration) {
		c.Projects[0].MaxConcurrent, c.Projects[0].LookupTimeout = 1, config.Duration(31*time.Second)
	})
}

// warm asks for images of a world in the background until ctx ends.
func warm(ctx context.Context, t *testing.T, i *inventory.Inventory, from, to int) error {
	t.Helper()
	var refs []image.Reference
	for n := from; n < to; n++ {
		refs = append(refs, reference(t, ofImage(n)))
	}
	return i.Warm(ctx, slices.Values(refs), nil)
}

func TestAdmissionsGoBeforeTheBackground(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(60), latency: time.Second}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		var callers sync.WaitGroup
		callers.Go(func() {
			if err := warm(t.Context(), t, i, 0, 40); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for n := 40; n < 50; n++ {
			callers.Go(func() {
				if _, took := within(t, i, time.Minute, ofImage(n)); took > 3*time.Second {
					t.Errorf("an admission waited %s", took)
				}
			})
		}
		callers.Wait()
	}, func(c *config.Configuration) { c.Projects[0].MaxConcurrent = 5 })
}

func TestAnAdmissionTakesOverWhatTheBackgroundAskedFor(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(60), latency: time.Second}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		var callers sync.WaitGroup
		callers.Go(func() {
			if err := warm(t.Context(), t, i, 0, 60); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for n := 50; n < 55; n++ { // the end of the queue
			callers.Go(func() {
				if _, took := within(t, i, time.Minute, ofImage(n)); took > 2*time.Second {
					t.Errorf("an admission waited %s", took)
				}
			})
		}
		callers.Wait()
		if w.singly() != 60 {
			t.Errorf("HSS was asked %d times", w.singly())
		}
	}, func(c *config.Configuration) { c.Projects[0].MaxConcurrent = 5 })
}

func TestMadeUpNamesPushOutNothingThatIsKnown(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(100)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		for n := range 100 {
			within(t, i, time.Second, ofImage(n))
		}
		for n := range 3000 {
			within(t, i, time.Second, fmt.Sprintf("swr.example.com/prod/app-0:made-up-%d", n))
		}
		synctest.Wait()
		for n := range 100 {
			if _, ok := i.Known(reference(t, ofImage(n))); !ok {
				t.Errorf("image %d is forgotten", n)
			}
		}
		if s := i.Stats(); s.Images != 100 || s.NotFound > 25 || i.Images() > 125 {
			t.Errorf("%+v", s)
		}
	}, func(c *config.Configuration) { c.Cache.MaxImages = 100 })
}

// It runs alone, since it counts all memory of the program.
func TestTheCacheIsBoundedInBytes(t *testing.T) {
	f := &echo{}
	c := settings(func(c *config.Configuration) { c.Cache.MaxBytes = 1 << 20 })
	i, err := inventory.New(inventory.Options{Config: c, Clients: map[string]inventory.Lister{"bj4": f}})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	before := heap()
	for n := range 2000 {
		f.row = typical(n)
		f.row.ScanFailedDescription = strings.Repeat("x", 10_000)
		i.Facts(t.Context(), referenceOf(f.row))
	}
	if grown := int64(heap()) - int64(before); grown > 4<<20 {
		t.Errorf("the memory grew by %d bytes", grown)
	}
	// What was stored last is counted a moment later.
	s := i.Stats()
	for n := 0; n < 3000 && s.Bytes > 1<<20+100_000; n++ {
		time.Sleep(10 * time.Millisecond)
		s = i.Stats()
	}
	if s.Bytes > 1<<20+100_000 || s.Images < 50 {
		t.Errorf("%+v", s)
	}
	runtime.KeepAlive(i)
}

func TestMoreTextThanCanBeTrueIsAnErrorOfOneImage(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*hss.Image){
		"in a row": func(r *hss.Image) { r.ScanFailedDescription = strings.Repeat("x", 1<<16) },
		"in an architecture": func(r *hss.Image) {
			r.Architectures = []hss.AssociatedImage{{ID: strings.Repeat("x", 1<<16)}}
		},
	} {
		f := &fake{rows: []hss.Image{row(change)}}
		i, _ := newInventory(t, f)
		for range 10 {
			got := i.Facts(t.Context(), reference(t, app))
			if got.State != policy.StateUnavailable || !strings.Contains(got.Reason, "bytes of text") {
				t.Errorf("%s: got %v: %s", name, got.State, got.Reason)
			}
		}
		if i.Stats().Projects[0].Breaker != inventory.BreakerClosed {
			t.Errorf("%s opens the breaker", name)
		}
	}
}

func TestCloseIsBoundedThoughAClientDoesNotHeedIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &fake{hold: func(context.Context) error { <-release; return errors.New("at last") }}
		i, err := inventory.New(inventory.Options{Config: settings(), Clients: map[string]inventory.Lister{"bj4": f}})
		if err != nil {
			t.Fatal(err)
		}
		within(t, i, time.Second, app)
		begun := time.Now()
		i.Close()
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("Close took %s", took)
		}
		close(release)
	})
}

func TestNothingIsLeftRunning(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 5 {
		w := &world{rows: images(30), latency: time.Millisecond}
		i, err := inventory.New(inventory.Options{Config: settings(synchronised), Clients: map[string]inventory.Lister{"bj4": w}})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = i.Start(context.Background()) }()
		for n := range 30 {
			i.Facts(t.Context(), reference(t, ofImage(n)))
			if n == 20 {
				w.fail(errors.New("down"))
			}
		}
		i.Close()
	}
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if after := runtime.NumGoroutine(); after > before {
		stacks := make([]byte, 1<<16)
		t.Errorf("%d goroutines more than before:\n%s", after-before, stacks[:runtime.Stack(stacks, true)])
	}
}

func TestAQueueIsHssgatesOwnLimitOnlyWhileHSSAnswers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hangs time.Duration
		want  policy.Cause
	}{
		"HSS answered a moment ago":        {time.Second, policy.CauseOverload},
		"HSS has not answered for seconds": {6 * time.Second, policy.CauseOutage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{}
			live(t, w, func(t *testing.T, i *inventory.Inventory) {
				within(t, i, time.Minute, ofImage(0))
				w.slow(time.Hour)
				for n := range 2 {
					go within(t, i, time.Minute, ofImage(n+1))
				}
				time.Sleep(test.hangs)
				if got, _ := within(t, i, time.Minute, ofImage(3)); got.State != policy.StateUnavailable || got.Cause != test.want {
					t.Errorf("got %v because of %v, want %v: %s", got.State, got.Cause, test.want, got.Reason)
				}
			}, func(c *config.Configuration) {
				c.Projects[0].MaxConcurrent, c.Projects[0].MaxWaiting, c.Projects[0].LookupTimeout = 1, 1, config.Duration(30*time.Second)
			})
		})
	}
}
