package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

const app = "swr.example.com/prod/app:1"

// inBubble runs a test in a bubble whose time passes by itself, with an
// inventory that asks f.
func inBubble(t *testing.T, f *fake, test func(t *testing.T, i *inventory.Inventory), change ...func(*config.Configuration)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		i, err := inventory.New(inventory.Options{Config: settings(change...), Clients: map[string]inventory.Lister{"bj4": f}})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		test(t, i)
	})
}

// slow makes every answer of f take d.
func slow(f *fake, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return fmt.Errorf("asking: %w", ctx.Err())
		}
	}
}

// within asks with a deadline and tells how long it took.
func within(t *testing.T, i *inventory.Inventory, d time.Duration, ref string) (policy.Facts, time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	begun := time.Now()
	facts := i.Facts(ctx, reference(t, ref))
	return facts, time.Since(begun)
}

func status(s hss.ScanStatus) func(*hss.Image) {
	return func(r *hss.Image) { r.ScanStatus = s }
}

func TestHowLongAnAnswerIsFreshDependsOnWhatItSays(t *testing.T) {
	t.Parallel()
	multi := func(s hss.ScanStatus) func(*hss.Image) {
		return func(r *hss.Image) {
			r.Architectures = []hss.AssociatedImage{
				{ScanStatus: hss.ScanStatusSuccess, Digest: digest("c")}, {ScanStatus: s, Digest: digest("d")},
			}
		}
	}
	for name, test := range map[string]struct {
		ref   string
		rows  []hss.Image
		fresh time.Duration
	}{
		"scanned":                       {app, []hss.Image{row()}, 5 * time.Minute},
		"scan failed":                   {app, []hss.Image{row(status(hss.ScanStatusFailed))}, 5 * time.Minute},
		"not found":                     {app, nil, 30 * time.Second},
		"never scanned":                 {app, []hss.Image{row(status(hss.ScanStatusUnscan))}, 15 * time.Second},
		"being scanned":                 {app, []hss.Image{row(status(hss.ScanStatusScanning))}, 15 * time.Second},
		"waiting for its scan":          {app, []hss.Image{row(status(hss.ScanStatusWaitingForScan))}, 15 * time.Second},
		"one architecture is scanned":   {app, []hss.Image{row(multi(hss.ScanStatusScanning))}, 15 * time.Second},
		"another architecture, pinned":  {app + "@" + digest("c"), []hss.Image{row(multi(hss.ScanStatusScanning))}, 5 * time.Minute},
		"one of two rows is scanned":    {app, []hss.Image{row(), row(status("scanning"), func(r *hss.Image) { r.ID = "2" })}, 15 * time.Second},
		"found, but with other digest":  {app + "@" + digest("b"), []hss.Image{row()}, 30 * time.Second},
		"found, with that very digest":  {app + "@" + digest("a"), []hss.Image{row()}, 5 * time.Minute},
		"only a digest, and it's there": {"swr.example.com/prod/app@" + digest("a"), []hss.Image{row()}, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			f.set(nil, test.rows...)
			i, clock := newInventory(t, f)
			i.Facts(t.Context(), reference(t, test.ref))
			clock.Step(test.fresh - time.Nanosecond)
			if i.Facts(t.Context(), reference(t, test.ref)); f.calls() != 1 {
				t.Fatalf("asked again before %s", test.fresh)
			}
			clock.Step(time.Nanosecond)
			if i.Facts(t.Context(), reference(t, test.ref)); f.calls() != 2 {
				t.Errorf("not asked again after %s", test.fresh)
			}
		})
	}
}

func TestManyCallersAskOnce(t *testing.T) {
	t.Parallel()
	f := &fake{rows: []hss.Image{row()}}
	slow(f, time.Second)
	inBubble(t, f, func(t *testing.T, i *inventory.Inventory) {
		var callers sync.WaitGroup
		for n := range 200 {
			ref := app
			if n%2 == 0 {
				ref += "@" + digest("a")
			}
			callers.Go(func() {
				if got, _ := within(t, i, 5*time.Second, ref); got.State != policy.StateFound {
					t.Errorf("got %v: %s", got.State, got.Reason)
				}
			})
		}
		callers.Wait()
		if f.calls() != 1 {
			t.Errorf("HSS was asked %d times", f.calls())
		}
	})
}

func TestDifferentImagesAreAskedForAtTheSameTime(t *testing.T) {
	t.Parallel()
	f := &fake{}
	slow(f, time.Second)
	inBubble(t, f, func(t *testing.T, i *inventory.Inventory) {
		begun := time.Now()
		var callers sync.WaitGroup
		for n := range 20 {
			callers.Go(func() { within(t, i, 5*time.Second, fmt.Sprintf("swr.example.com/prod/a/b:%d", n)) })
		}
		callers.Wait()
		if took := time.Since(begun); took != time.Second || f.calls() != 40 {
			t.Errorf("%d questions took %s", f.calls(), took)
		}
	}, func(c *config.Configuration) { c.Projects[0].MaxConcurrent = 40 })
}

func TestAnImpatientCallerFailsNobodyAndTheNextFindsTheAnswer(t *testing.T) {
	t.Parallel()
	f := &fake{rows: []hss.Image{row()}}
	slow(f, 3*time.Second)
	inBubble(t, f, func(t *testing.T, i *inventory.Inventory) {
		var patient policy.Facts
		var callers sync.WaitGroup
		callers.Go(func() {
			time.Sleep(time.Second)
			patient, _ = within(t, i, 5*time.Second, app)
		})
		got, took := within(t, i, 2900*time.Millisecond, app)
		if got.State != policy.StateUnavailable || got.Reason != "HSS did not answer in time (2.9s)" || took != 2900*time.Millisecond {
			t.Errorf("the impatient one got %v after %s: %s", got.State, took, got.Reason)
		}
		callers.Wait()
		if patient.State != policy.StateFound {
			t.Errorf("the patient one got %v: %s", patient.State, patient.Reason)
		}
		if next, took := within(t, i, time.Second, app); next.State != policy.StateFound || took != 0 || f.calls() != 1 {
			t.Errorf("the next one got %v after %s and %d questions", next.State, took, f.calls())
		}
	})
}

func TestForACallerWhoseTimeIsUpNothingIsAsked(t *testing.T) {
	t.Parallel()
	f := &fake{rows: []hss.Image{row()}}
	slow(f, time.Second)
	inBubble(t, f, func(t *testing.T, i *inventory.Inventory) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := i.Facts(ctx, reference(t, app)); got.State != policy.StateUnavailable {
			t.Errorf("got %v", got.State)
		}
		synctest.Wait()
		if n := f.calls(); n != 0 {
			t.Errorf("HSS was asked %d times", n)
		}
	})
}

func TestWhatIsKnownIsUsedUntilItsStalenessBound(t *testing.T) {
	t.Parallel()
	f := &fake{rows: []hss.Image{row()}}
	i, clock := newInventory(t, f)
	asOf := clock.Now()
	i.Facts(t.Context(), reference(t, app))
	f.set(&hss.Error{StatusCode: 503, Code: "HSS.0500", Message: "busy", RequestID: "r-1"})
	clock.Step(24 * time.Hour)
	got := i.Facts(t.Context(), reference(t, app))
	if got.State != policy.StateFound || !got.Stale || !got.AsOf.Equal(asOf) || got.StaleReason != "HSS answered 503 HSS.0500: busy (request r-1)" {
		t.Errorf("at the bound got %+v", got)
	}
	clock.Step(time.Nanosecond)
	got = i.Facts(t.Context(), reference(t, app))
	if got.State != policy.StateUnavailable || got.Stale || got.Reason != "HSS answered 503 HSS.0500: busy (request r-1)" || len(got.Records) > 0 {
		t.Errorf("past it got %+v", got)
	}
	f.set(nil, row())
	clock.Step(3 * time.Second)
	if got = i.Facts(t.Context(), reference(t, app)); got.State != policy.StateFound || got.Stale || !got.AsOf.Equal(clock.Now()) {
		t.Errorf("after the outage got %+v", got)
	}
}

func TestThatHSSDoesNotKnowAnImageGoesStaleToo(t *testing.T) {
	t.Parallel()
	f := &fake{}
	i, clock := newInventory(t, f)
	i.Facts(t.Context(), reference(t, app))
	f.set(errors.New("dial tcp: refused"))
	clock.Step(time.Hour)
	got := i.Facts(t.Context(), reference(t, app))
	if got.State != policy.StateNotFound || !got.Stale || got.StaleReason != "HSS could not be asked: dial tcp: refused" {
		t.Errorf("got %+v", got)
	}
}

func TestAFailureIsRememberedBriefly(t *testing.T) {
	t.Parallel()
	f := &fake{err: errors.New("broken")}
	i, clock := newInventory(t, f)
	for range 3 {
		if got := i.Facts(t.Context(), reference(t, app)); got.Reason != "HSS could not be asked: broken" {
			t.Errorf("got %q", got.Reason)
		}
	}
	if f.calls() != 1 {
		t.Errorf("asked %d times at once", f.calls())
	}
	i.Facts(t.Context(), reference(t, "swr.example.com/prod/other:1"))
	if f.calls() != 2 {
		t.Error("the failure of one image kept another from being asked for")
	}
	clock.Step(2 * time.Second)
	if i.Facts(t.Context(), reference(t, app)); f.calls() != 3 {
		t.Errorf("asked %d times after errorFor", f.calls())
	}
}

func TestWhenHSSSaysToWaitTheWholeProjectWaits(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		wait time.Duration
	}{
		"Retry-After":                {fmt.Errorf("rows: %w", &hss.Error{StatusCode: 429, RetryAfter: 30 * time.Second}), 30 * time.Second},
		"an absurd Retry-After":      {&hss.Error{StatusCode: 503, RetryAfter: 1000 * time.Hour}, 10 * time.Minute},
		"a 429 that doesn't say":     {&hss.Error{StatusCode: 429}, 0},
		"refused, which others tell": {&hss.Error{StatusCode: 401, Code: "APIGW.0301", RetryAfter: time.Hour}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{err: test.err}
			i, clock := newInventory(t, f)
			i.Facts(t.Context(), reference(t, app))
			f.set(nil, row())
			clock.Step(test.wait - time.Nanosecond)
			other := reference(t, "swr.example.com/prod/other:1")
			if got := i.Facts(t.Context(), other); test.wait > 0 && (got.State != policy.StateUnavailable || f.calls() != 1) {
				t.Errorf("during the wait got %v after %d questions", got.State, f.calls())
			}
			clock.Step(time.Nanosecond)
			if i.Facts(t.Context(), other); f.calls() != 2 {
				t.Errorf("after the wait: %d questions", f.calls())
			}
		})
	}
}

func TestAnAnswerThatBreaksOffIsNone(t *testing.T) {
	t.Parallel()
	f := &fake{rows: []hss.Image{row()}, err: errors.New("page 2: cut")}
	i, clock := newInventory(t, f)
	if got := i.Facts(t.Context(), reference(t, app)); got.State != policy.StateUnavailable || len(got.Records) != 1 {
		t.Errorf("got %+v, want the row that was seen, and no answer", got)
	}
	f.set(nil, row())
	clock.Step(time.Minute)
	i.Facts(t.Context(), reference(t, app))
	f.set(errors.New("page 2: cut"), row(func(r *hss.Image) { r.Severity = hss.SeveritySecurity }))
	clock.Step(time.Hour)
	if got := i.Facts(t.Context(), reference(t, app)); !got.Stale || len(got.Records) != 2 || got.Records[0].Severity != "Low" {
		t.Errorf("half an answer took the place of a whole one: %+v", got)
	}
}

func TestOneSpellingThatFailsMakesNoAnswer(t *testing.T) {
	t.Parallel()
	f := &fake{rows: []hss.Image{row(func(r *hss.Image) { r.Name = "a$b" })}}
	first := make(chan struct{}, 1)
	f.hold = func(context.Context) error {
		select {
		case first <- struct{}{}:
			return errors.New("broken")
		default:
			return nil
		}
	}
	i, _ := newInventory(t, f)
	if got := i.Facts(t.Context(), reference(t, "swr.example.com/prod/a/b:1")); got.State != policy.StateUnavailable {
		t.Errorf("got %v", got.State)
	}
}

func TestALookUpThatHangsEndsByItself(t *testing.T) {
	t.Parallel()
	f := &fake{rows: []hss.Image{row()}}
	slow(f, time.Hour)
	inBubble(t, f, func(t *testing.T, i *inventory.Inventory) {
		got, took := within(t, i, time.Minute, app)
		if got.State != policy.StateUnavailable || got.Reason != "HSS did not answer in time (30s)" || took != 30*time.Second {
			t.Errorf("got %v after %s: %s", got.State, took, got.Reason)
		}
	})
}

func TestWhileHSSHangsAKnownResultIsUsedSoon(t *testing.T) {
	t.Parallel()
	pushed := func(r *hss.Image) { r.LatestUpdateTime = r.LatestScanTime.Add(time.Hour) }
	multi := func(s hss.ScanStatus) func(*hss.Image) {
		return func(r *hss.Image) {
			r.MultiArch = true
			r.Architectures = []hss.AssociatedImage{{ScanStatus: hss.ScanStatusSuccess, Digest: digest("c")}, {ScanStatus: s, Digest: digest("d")}}
		}
	}
	for name, test := range map[string]struct {
		ref  string
		rows []hss.Image
		want time.Duration
	}{
		"a scanned image waits briefly":                  {app, []hss.Image{row()}, 2 * time.Second},
		"so it does by its digest":                       {app + "@" + digest("a"), []hss.Image{row()}, 2 * time.Second},
		"so does one architecture, whatever the other":   {app + "@" + digest("c"), []hss.Image{row(multi(hss.ScanStatusScanning))}, 2 * time.Second},
		"an unknown image waits for HSS":                 {app, nil, 9 * time.Second},
		"an unknown digest of a known tag waits for HSS": {app + "@" + digest("b"), []hss.Image{row()}, 9 * time.Second},
		"a digest of no use waits for HSS":               {app + "@sha512:" + strings.Repeat("ab", 64), []hss.Image{row()}, 9 * time.Second},
		"an image in scanning waits for it":              {app, []hss.Image{row(status(hss.ScanStatusScanning))}, 9 * time.Second},
		"an image whose scan failed waits for HSS":       {app, []hss.Image{row(status(hss.ScanStatusFailed))}, 9 * time.Second},
		"an image pushed after its scan waits for HSS":   {app, []hss.Image{row(pushed)}, 9 * time.Second},
		"so does one of which one architecture failed":   {app, []hss.Image{row(multi(hss.ScanStatusFailed))}, 9 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{rows: test.rows}
			inBubble(t, f, func(t *testing.T, i *inventory.Inventory) {
				within(t, i, time.Second, test.ref)
				slow(f, time.Hour)
				time.Sleep(time.Hour)
				got, took := within(t, i, 9*time.Second, test.ref)
				if !got.Stale || took != test.want || !strings.HasPrefix(got.StaleReason, "HSS did not answer in time (") {
					t.Errorf("stale %v after %s: %s", got.Stale, took, got.StaleReason)
				}
			})
		})
	}
}

// A tag was pushed again, and pods name what it is now.
func TestADigestThatIsNotKnownYetIsWaitedForThoughItsTagIs(t *testing.T) {
	t.Parallel()
	f := &fake{rows: []hss.Image{row()}}
	inBubble(t, f, func(t *testing.T, i *inventory.Inventory) {
		within(t, i, time.Second, app)
		f.set(nil, row(func(r *hss.Image) { r.Digest = digest("b") }))
		slow(f, 3*time.Second)
		time.Sleep(time.Hour)
		got, took := within(t, i, 9*time.Second, app+"@"+digest("b"))
		if got.State != policy.StateFound || got.Stale || took != 3*time.Second {
			t.Errorf("after %s got %v, stale %v: %s", took, got.State, got.Stale, got.Reason)
		}
	})
}

func TestCloseEndsWhatIsUnderWayAndWhatIsKnownStays(t *testing.T) {
	t.Parallel()
	f := &fake{rows: []hss.Image{row()}}
	inBubble(t, f, func(t *testing.T, i *inventory.Inventory) {
		within(t, i, time.Second, app)
		slow(f, time.Hour)
		got, _ := within(t, i, time.Second, "swr.example.com/prod/other:1")
		begun := time.Now()
		i.Close()
		i.Close()
		if got.State != policy.StateUnavailable || time.Since(begun) != 0 {
			t.Errorf("Close took %s; got %v", time.Since(begun), got.State)
		}
		if got, _ = within(t, i, time.Second, app); got.State != policy.StateFound {
			t.Errorf("what is known is %v after Close", got.State)
		}
		got, _ = within(t, i, time.Second, "swr.example.com/prod/third:1")
		if got.State != policy.StateUnavailable || got.Reason != "hssgate is shutting down" {
			t.Errorf("got %v: %s", got.State, got.Reason)
		}
	})
}

func TestAPanicBelowIsAnErrorOfOneImage(t *testing.T) {
	t.Parallel()
	f := &fake{hold: func(context.Context) error { panic("odd row") }}
	i, _ := newInventory(t, f)
	got := i.Facts(t.Context(), reference(t, app))
	if got.State != policy.StateUnavailable || got.Reason != "HSS could not be asked: internal error while asking HSS: panic: odd row" {
		t.Errorf("got %v: %s", got.State, got.Reason)
	}
}

func TestReasonsAreOneShortLine(t *testing.T) {
	t.Parallel()
	f := &fake{err: errors.New("<html>\n\r\n\t" + strings.Repeat("ä", 5000))}
	i, _ := newInventory(t, f)
	got := i.Facts(t.Context(), reference(t, app)).Reason
	if strings.ContainsAny(got, "\n\r\t") || len(got) > 410 || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("got %d bytes: %q", len(got), got)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, &fake{}, func(t *testing.T, i *inventory.Inventory) {
		for n := range 500 {
			within(t, i, time.Second, fmt.Sprintf("swr.example.com/prod/app:%d", n))
		}
		synctest.Wait() // for the eviction, which goes on behind
		if got := i.Images(); got > 10 {
			t.Errorf("%d images are remembered, 10 are allowed", got)
		}
	}, func(c *config.Configuration) { c.Cache.MaxImages = 10 })
}

func TestManyCallersOfManyImagesWhileTheWorldChanges(t *testing.T) {
	t.Parallel()
	f := &fake{rows: []hss.Image{row()}}
	i, clock := newInventory(t, f, func(c *config.Configuration) { c.Cache.MaxImages = 5 })
	var callers sync.WaitGroup
	for n := range 8 {
		callers.Go(func() {
			for m := range 200 {
				got := i.Facts(t.Context(), reference(t, fmt.Sprintf("swr.example.com/prod/app:%d", m%12)))
				if got.State == 0 || (got.State == policy.StateFound) != (len(got.Records) > 0) {
					t.Errorf("got %+v", got)
				}
				switch (m + n) % 20 {
				case 0:
					clock.Step(16 * time.Second)
				case 7:
					f.set(errors.New("down"))
				case 14:
					f.set(nil, row(status(hss.ScanStatusScanning)))
				}
			}
		})
	}
	callers.Wait()
}
