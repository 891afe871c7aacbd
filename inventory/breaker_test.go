package inventory_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

// ask asks for n images, one after the other, and returns the last facts.
func ask(t *testing.T, i *inventory.Inventory, n int, name string) (got policy.Facts) {
	t.Helper()
	for m := range n {
		got, _ = within(t, i, time.Minute, fmt.Sprintf("swr.example.com/prod/%s:%d", name, m))
	}
	return got
}

func state(i *inventory.Inventory) inventory.BreakerState { return i.Stats().Projects[0].Breaker }

func TestTheBreakerOpensOnWhatIsWrongWithHSSOnly(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err   error
		opens bool
	}{
		"a broken connection":        {errors.New("connection reset"), true},
		"503":                        {&hss.Error{StatusCode: 503}, true},
		"500":                        {&hss.Error{StatusCode: 500, Code: "HSS.0001"}, true},
		"throttled, without a time":  {&hss.Error{StatusCode: 429, Code: "APIGW.0308"}, true},
		"an answer that is none":     {&hss.Error{StatusCode: 200}, true},
		"400 for a parameter":        {&hss.Error{StatusCode: 400, Code: "HSS.0001"}, false},
		"an error sent as a 200":     {&hss.Error{StatusCode: 200, Code: "HSS.0010"}, false},
		"no permission":              {&hss.Error{StatusCode: 403, Code: "HSS.0013"}, false},
		"a refused signature":        {&hss.Error{StatusCode: 401, Code: "APIGW.0301"}, false},
		"credentials that are held":  {&hss.RefusedError{Err: &hss.Error{StatusCode: 401}}, false},
		"404, such as from a proxy":  {&hss.Error{StatusCode: 404}, false},
		"a request that isn't sent":  {&hss.InvalidRequestError{Request: "scan", Problems: []string{"image_id is too long"}}, false},
		"502 after several attempts": {fmt.Errorf("after 5 attempts: %w", &hss.Error{StatusCode: 502}), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{}
			live(t, w, func(t *testing.T, i *inventory.Inventory) {
				w.fail(test.err)
				ask(t, i, 4, "a")
				if state(i) != inventory.BreakerClosed {
					t.Errorf("after 4 failures it is %s", state(i))
				}
				got := ask(t, i, 6, "b")
				open := state(i) == inventory.BreakerOpen
				if open != test.opens || open != strings.HasPrefix(got.Reason, `HSS project "bj4" failed repeatedly, so it is not asked before 2000-01-01T00:0`) {
					t.Errorf("after 10 failures it is %s: %s", state(i), got.Reason)
				}
				if want := map[bool]int{true: 5, false: 10}[test.opens]; w.singly() != want {
					t.Errorf("HSS was asked %d times, want %d", w.singly(), want)
				}
			})
		})
	}
}

func TestTheBreakerOpensIfHalfOfTheQuestionsFail(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		every int // n-th question succeeds
		opens bool
	}{"every second fails": {2, true}, "two of three succeed": {3, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{}
			live(t, w, func(t *testing.T, i *inventory.Inventory) {
				for n := range 60 {
					w.fail(nil)
					if n%test.every == 0 {
						w.fail(errors.New("broken"))
					}
					within(t, i, time.Minute, fmt.Sprintf("swr.example.com/prod/app:%d", n))
				}
				if opened := state(i) != inventory.BreakerClosed; opened != test.opens {
					t.Errorf("it is %s", state(i))
				}
			})
		})
	}
}

func TestTheBreakerTriesWithOneQuestionAtATime(t *testing.T) {
	t.Parallel()
	w, seen := &world{}, &notes{}
	watched(t, w, seen, func(t *testing.T, i *inventory.Inventory) {
		w.fail(errors.New("broken"))
		ask(t, i, 5, "a")
		w.forget()
		w.slow(2 * time.Second)
		time.Sleep(5 * time.Second)
		var callers sync.WaitGroup
		for n := range 10 {
			callers.Go(func() { within(t, i, time.Minute, fmt.Sprintf("swr.example.com/prod/b:%d", n)) })
		}
		synctest.Wait()
		if state(i) != inventory.BreakerHalfOpen || w.singly() != 1 {
			t.Errorf("it is %s after %d questions", state(i), w.singly())
		}
		got, took := within(t, i, time.Minute, "swr.example.com/prod/c:1")
		want := `HSS project "bj4" failed repeatedly, and is being tried with one look-up; the last failure: HSS could not be asked: broken`
		if took != 0 || got.Reason != want {
			t.Errorf("after %s got %s", took, got.Reason)
		}
		callers.Wait()
		if state(i) != inventory.BreakerOpen {
			t.Errorf("after another failure it is %s", state(i))
		}
		w.fail(nil)
		time.Sleep(5 * time.Second)
		if got := ask(t, i, 1, "d"); got.State != policy.StateUnavailable {
			t.Errorf("half of the second pause is over: got %v", got.State)
		}
		time.Sleep(5 * time.Second)
		if got := ask(t, i, 10, "d"); got.State != policy.StateNotFound || state(i) != inventory.BreakerClosed {
			t.Errorf("it is %s, and got %v: %s", state(i), got.State, got.Reason)
		}
	})
	want := []string{"breaker bj4 open", "breaker bj4 half-open", "breaker bj4 open", "breaker bj4 half-open", "breaker bj4 closed"}
	if d := cmp.Diff(want, seen.only("breaker")); d != "" {
		t.Error(d)
	}
}

func TestAPanicWhileHSSIsTriedKeepsNobodyFromTryingAgain(t *testing.T) {
	t.Parallel()
	w := &world{}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		w.fail(errors.New("broken"))
		ask(t, i, 5, "a")
		time.Sleep(5 * time.Second)
		w.mu.Lock()
		w.trouble = func(hss.ListRequest) error { panic("odd") }
		w.mu.Unlock()
		if got := ask(t, i, 1, "b"); !strings.Contains(got.Reason, "panic: odd") {
			t.Error(got.Reason)
		}
		w.fail(nil)
		if got := ask(t, i, 1, "c"); got.State != policy.StateNotFound {
			t.Errorf("got %v: %s", got.State, got.Reason)
		}
	})
}

func TestAnOutageOfAnHour(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(20)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		for n := range 10 { // the others are never asked for before
			within(t, i, time.Second, ofImage(n))
		}
		w.fail(&hss.Error{StatusCode: 503})
		w.forget()
		time.Sleep(10 * time.Minute)
		begun := time.Now()
		for time.Since(begun) < time.Hour {
			for n := range 20 {
				got, took := within(t, i, 9*time.Second, ofImage(n))
				if (n < 10) != (got.State == policy.StateFound && got.Stale) || took > 2*time.Second {
					t.Fatalf("image %d: %v (stale %v) after %s: %s", n, got.State, got.Stale, took, got.Reason)
				}
			}
			time.Sleep(5 * time.Second)
		}
		// A question a minute, and the first pauses are shorter.
		if got := w.singly(); got < 55 || got > 75 {
			t.Errorf("HSS was asked %d times in an hour of being down", got)
		}
		w.fail(nil)
		w.forget()
		time.Sleep(time.Minute)
		for range 3 {
			for n := range 20 {
				if got, _ := within(t, i, 9*time.Second, ofImage(n)); got.State != policy.StateFound || got.Stale {
					t.Fatalf("image %d: %v (stale %v): %s", n, got.State, got.Stale, got.Reason)
				}
			}
		}
		if w.singly() != 20 {
			t.Errorf("HSS was asked %d times after it", w.singly())
		}
	}, shortStaleness(2*time.Hour))
}

func TestPastItsStalenessNothingIsUsedAnyMore(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(10)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		for n := range 10 {
			within(t, i, time.Second, ofImage(n))
		}
		w.fail(&hss.Error{StatusCode: 503})
		time.Sleep(time.Hour)
		if got, _ := within(t, i, time.Second, ofImage(0)); got.State != policy.StateFound {
			t.Errorf("at the bound got %v: %s", got.State, got.Reason)
		}
		time.Sleep(time.Second)
		for n := range 10 {
			if got, _ := within(t, i, time.Second, ofImage(n)); got.State != policy.StateUnavailable || got.Reason == "" {
				t.Errorf("past it got %v: %s", got.State, got.Reason)
			}
		}
	}, shortStaleness(time.Hour))
}
