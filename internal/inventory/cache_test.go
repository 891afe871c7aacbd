package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
)

const app = "swr.example.com/prod/app:1"

func TestHowLongAnAnswerIsFreshDependsOnWhatItSays(t *testing.T) {
	t.Parallel()
	type testCase struct {
		ref   string
		rows  []hss.Image
		fresh time.Duration
	}
	each(t, map[string]testCase{
		"scanned":                       {app, []hss.Image{row()}, 5 * time.Minute},
		"scan failed":                   {app, []hss.Image{row(status(hss.ScanStatusFailed))}, 5 * time.Minute},
		"not found":                     {app, nil, 30 * time.Second},
		"never scanned":                 {app, []hss.Image{row(status(hss.ScanStatusUnscan))}, 15 * time.Second},
		"waiting for its scan":          {app, []hss.Image{row(status(hss.ScanStatusWaitingForScan))}, 15 * time.Second},
		"one architecture is scanned":   {app, []hss.Image{row(multi(hss.ScanStatusScanning))}, 15 * time.Second},
		"another architecture, pinned":  {app + "@" + digest("c"), []hss.Image{row(multi(hss.ScanStatusScanning))}, 5 * time.Minute},
		"one of two rows is scanned":    {app, []hss.Image{row(), row(status("scanning"), func(r *hss.Image) { r.ID = "2" })}, 15 * time.Second},
		"found, but with other digest":  {app + "@" + digest("b"), []hss.Image{row()}, 30 * time.Second},
		"only a digest, and it's there": {"swr.example.com/prod/app@" + digest("a"), []hss.Image{row()}, 5 * time.Minute},
	}, func(t *testing.T, test testCase) {
		f := &world{loose: true, rows: test.rows}
		i, clock := newInventory(t, f)
		for _, step := range []struct {
			after time.Duration
			calls int
		}{{0, 1}, {test.fresh - time.Nanosecond, 1}, {time.Nanosecond, 2}} {
			clock.Step(step.after)
			i.Facts(t.Context(), reference(t, test.ref))
			wantCalls(t, f.calls(), step.calls)
		}
	})
}

func TestAnImpatientCallerFailsNobodyAndTheNextFindsTheAnswer(t *testing.T) {
	t.Parallel()
	f := &world{loose: true, rows: []hss.Image{row()}}
	f.slow(3 * time.Second)
	live(t, f, func(t *testing.T, i *inventory.Inventory) {
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
		if late, _ := within(t, i, 0, ofImage(1)); late.State != policy.StateUnavailable || f.calls() != 1 {
			t.Errorf("whose time is up got %v after %d questions", late.State, f.calls())
		}
	})
}

func TestWhatIsKnownIsUsedUntilItsStalenessBound(t *testing.T) {
	t.Parallel()
	const busy = "HSS answered 503 HSS.0500: busy (request r-1)"
	for state, rows := range map[policy.State][]hss.Image{policy.StateFound: {row()}, policy.StateNotFound: nil} {
		f := &world{loose: true, rows: rows}
		i, clock := newInventory(t, f)
		asOf := clock.Now()
		i.Facts(t.Context(), reference(t, app))
		f.cutOff(&hss.Error{StatusCode: 503, Code: "HSS.0500", Message: "busy", RequestID: "r-1"})
		clock.Step(24 * time.Hour)
		got := i.Facts(t.Context(), reference(t, app))
		if got.State != state || !got.Stale || !got.AsOf.Equal(asOf) || got.StaleReason != busy {
			t.Errorf("%v, at the bound: got %+v", state, got)
		}
		clock.Step(time.Nanosecond)
		got = i.Facts(t.Context(), reference(t, app))
		if got.State != policy.StateUnavailable || got.Stale || got.Reason != busy || len(got.Records) > 0 {
			t.Errorf("%v, past it: got %+v", state, got)
		}
		f.set(rows...)
		clock.Step(3 * time.Second)
		if got = i.Facts(t.Context(), reference(t, app)); got.State != state || got.Stale || !got.AsOf.Equal(clock.Now()) {
			t.Errorf("%v, after the outage: got %+v", state, got)
		}
	}
}

func TestAFailureIsRememberedBriefly(t *testing.T) {
	t.Parallel()
	f := &world{loose: true, cut: errors.New("broken")}
	i, clock := newInventory(t, f)
	for range 3 {
		if got := i.Facts(t.Context(), reference(t, app)); got.Reason != "HSS could not be called: broken" {
			t.Errorf("got %q", got.Reason)
		}
	}
	wantCalls(t, f.calls(), 1)
	i.Facts(t.Context(), reference(t, "swr.example.com/prod/other:1"))
	wantCalls(t, f.calls(), 2)
	clock.Step(2 * time.Second)
	i.Facts(t.Context(), reference(t, app))
	wantCalls(t, f.calls(), 3)
}

func TestWhenHSSSaysToWaitTheWholeProjectWaits(t *testing.T) {
	t.Parallel()
	type testCase struct {
		err  error
		wait time.Duration
	}
	each(t, map[string]testCase{
		"Retry-After":                {fmt.Errorf("rows: %w", &hss.Error{StatusCode: 429, RetryAfter: 30 * time.Second}), 30 * time.Second},
		"an absurd Retry-After":      {&hss.Error{StatusCode: 503, RetryAfter: 1000 * time.Hour}, 10 * time.Minute},
		"a 429 that doesn't say":     {&hss.Error{StatusCode: 429}, 0},
		"refused, which others tell": {&hss.Error{StatusCode: 401, Code: "APIGW.0301", RetryAfter: time.Hour}, 0},
	}, func(t *testing.T, test testCase) {
		f := &world{loose: true, cut: test.err}
		i, clock := newInventory(t, f)
		i.Facts(t.Context(), reference(t, app))
		f.set(row())
		clock.Step(test.wait - time.Nanosecond)
		other := reference(t, "swr.example.com/prod/other:1")
		if got := i.Facts(t.Context(), other); test.wait > 0 && (got.State != policy.StateUnavailable || f.calls() != 1) {
			t.Errorf("during the wait got %v after %d questions", got.State, f.calls())
		}
		clock.Step(time.Nanosecond)
		i.Facts(t.Context(), other)
		wantCalls(t, f.calls(), 2)
	})
}

func TestAnAnswerThatBreaksOffIsNone(t *testing.T) {
	t.Parallel()
	f := &world{loose: true, rows: []hss.Image{row()}, cut: errors.New("page 2: cut")}
	i, clock := newInventory(t, f)
	if got := i.Facts(t.Context(), reference(t, app)); got.State != policy.StateUnavailable || len(got.Records) != 1 {
		t.Errorf("got %+v, want the row that was seen, and no answer", got)
	}
	f.set(row())
	clock.Step(time.Minute)
	i.Facts(t.Context(), reference(t, app))
	f.cutOff(errors.New("page 2: cut"), row(func(r *hss.Image) { r.Severity = hss.SeveritySecurity }))
	clock.Step(time.Hour)
	if got := i.Facts(t.Context(), reference(t, app)); !got.Stale || len(got.Records) != 2 || got.Records[0].Severity != "Low" {
		t.Errorf("half an answer took the place of a whole one: %+v", got)
	}
}

func TestOneSpellingThatFailsMakesNoAnswer(t *testing.T) {
	t.Parallel()
	f := &world{loose: true, rows: []hss.Image{row(func(r *hss.Image) { r.Name = "a$b" })}}
	f.trouble = func(r hss.ListRequest) error { return map[string]error{"a/b": errors.New("broken")}[r.ImageName] }
	i, _ := newInventory(t, f)
	if got := i.Facts(t.Context(), reference(t, "swr.example.com/prod/a/b:1")); got.State != policy.StateUnavailable {
		t.Errorf("got %v", got.State)
	}
}

func TestALookUpThatHangsEndsByItself(t *testing.T) {
	t.Parallel()
	f := &world{loose: true, rows: []hss.Image{row()}}
	f.slow(time.Hour)
	live(t, f, func(t *testing.T, i *inventory.Inventory) {
		got, took := within(t, i, time.Minute, app)
		if got.State != policy.StateUnavailable || got.Reason != "HSS did not answer in time (30s)" || took != 30*time.Second {
			t.Errorf("got %v after %s: %s", got.State, took, got.Reason)
		}
	})
}

func TestWhileHSSHangsAKnownResultIsUsedSoon(t *testing.T) {
	t.Parallel()
	pushed := func(r *hss.Image) { r.LatestUpdateTime = r.LatestScanTime.Add(time.Hour) }
	type testCase struct {
		ref  string
		rows []hss.Image
		want time.Duration
	}
	each(t, map[string]testCase{
		"a scanned image waits briefly":                  {app, []hss.Image{row()}, 2 * time.Second},
		"so does one architecture, whatever the other":   {app + "@" + digest("c"), []hss.Image{row(multi(hss.ScanStatusScanning))}, 2 * time.Second},
		"an unknown image waits for HSS":                 {app, nil, 9 * time.Second},
		"an unknown digest of a known tag waits for HSS": {app + "@" + digest("b"), []hss.Image{row()}, 9 * time.Second},
		"an image in scanning waits for it":              {app, []hss.Image{row(status(hss.ScanStatusScanning))}, 9 * time.Second},
		"an image pushed after its scan waits for HSS":   {app, []hss.Image{row(pushed)}, 9 * time.Second},
		"so does one of which one architecture failed":   {app, []hss.Image{row(multi(hss.ScanStatusFailed))}, 9 * time.Second},
	}, func(t *testing.T, test testCase) {
		f := &world{loose: true, rows: test.rows}
		live(t, f, func(t *testing.T, i *inventory.Inventory) {
			within(t, i, time.Second, test.ref)
			f.slow(time.Hour)
			time.Sleep(time.Hour)
			got, took := within(t, i, 9*time.Second, test.ref)
			if !got.Stale || took != test.want || !strings.HasPrefix(got.StaleReason, "HSS did not answer in time (") {
				t.Errorf("stale %v after %s: %s", got.Stale, took, got.StaleReason)
			}
		})
	})
}

func TestCloseEndsWhatIsUnderWayAndWhatIsKnownStays(t *testing.T) {
	t.Parallel()
	f := &world{loose: true, rows: []hss.Image{row()}}
	live(t, f, func(t *testing.T, i *inventory.Inventory) {
		within(t, i, time.Second, app)
		f.slow(time.Hour)
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

func TestReasonsAreOneShortLine(t *testing.T) {
	t.Parallel()
	f := &world{trouble: func(hss.ListRequest) error { panic("odd row\n\r\n\t" + strings.Repeat("ä", 5000)) }} // an error of one image
	i, _ := newInventory(t, f)
	got := i.Facts(t.Context(), reference(t, app))
	if reason := got.Reason; strings.ContainsAny(reason, "\n\r\t") || len(reason) > 410 || strings.ContainsRune(reason, '\uFFFD') ||
		!strings.HasPrefix(reason, "internal error while calling HSS: panic: odd row ä") || got.State != policy.StateUnavailable {
		t.Errorf("got %v with %d bytes: %q", got.State, len(reason), reason)
	}
}

// ask asks for n images, one after the other, and returns the last facts. None waits for the breaker.
func ask(t *testing.T, i *inventory.Inventory, n int, name string) (got policy.Facts) {
	t.Helper()
	for m := range n {
		got, _ = within(t, i, 100*time.Millisecond, fmt.Sprintf("swr.example.com/prod/%s:%d", name, m))
	}
	return got
}

func state(i *inventory.Inventory) gobreaker.State { return i.Stats().Projects[0].Breaker }

func TestTheBreakerOpensOnWhatIsWrongWithHSSOnly(t *testing.T) {
	t.Parallel()
	type testCase struct {
		err   error
		opens bool
	}
	each(t, map[string]testCase{
		"a broken connection":        {errors.New("connection reset"), true},
		"500":                        {&hss.Error{StatusCode: 500, Code: "HSS.0001"}, true},
		"throttled, without a time":  {&hss.Error{StatusCode: 429, Code: "APIGW.0308"}, true},
		"an answer that is none":     {&hss.Error{StatusCode: 200}, true},
		"an error sent as a 200":     {&hss.Error{StatusCode: 200, Code: "HSS.0010"}, false},
		"no permission":              {&hss.Error{StatusCode: 403, Code: "HSS.0013"}, false},
		"a refused signature":        {&hss.Error{StatusCode: 401, Code: "APIGW.0301"}, false},
		"credentials that are held":  {&hss.RefusedError{Err: &hss.Error{StatusCode: 401}}, false},
		"a request that isn't sent":  {&hss.InvalidRequestError{Request: "scan", Problems: []string{"image_id is too long"}}, false},
		"a row that isn't read":      {errors.Join(&hss.Error{StatusCode: 200}, &hss.IncompleteListError{Reason: "data_list[3]: vul_id is a list"}), false},
		"502 after several attempts": {fmt.Errorf("after 5 attempts: %w", &hss.Error{StatusCode: 502}), true},
	}, func(t *testing.T, test testCase) {
		w := &world{}
		live(t, w, func(t *testing.T, i *inventory.Inventory) {
			w.fail(test.err)
			ask(t, i, 4, "a")
			if state(i) != gobreaker.StateClosed {
				t.Errorf("after 4 failures it is %s", state(i))
			}
			got := ask(t, i, 6, "b")
			open := state(i) == gobreaker.StateOpen
			if open != test.opens || open != strings.HasPrefix(got.Reason, failedRepeatedly) {
				t.Errorf("after 10 failures it is %s: %s", state(i), got.Reason)
			}
			wantCalls(t, w.singly(), map[bool]int{true: 5, false: 10}[test.opens])
		})
	})
}

const failedRepeatedly = `HSS project "bj4" failed repeatedly, so it is only tried every 10s; the last failure: `

func TestTheBreakerOpensIfHalfOfTheQuestionsFail(t *testing.T) {
	t.Parallel()
	for every, opens := range map[int]bool{2: true, 3: false} { // every nth question fails
		w := &world{}
		live(t, w, func(t *testing.T, i *inventory.Inventory) {
			for n := range 60 {
				w.fail(nil)
				if n%every == 0 {
					w.fail(errors.New("broken"))
				}
				within(t, i, 100*time.Millisecond, fmt.Sprintf("swr.example.com/prod/app:%d", n))
			}
			if opened := state(i) != gobreaker.StateClosed; opened != opens {
				t.Errorf("if one of %d fails it is %s", every, state(i))
			}
		})
	}
}

func TestOneCallAtATimeTriesWhetherHSSIsWellAgain(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(1)}
	clients(t, w, inventory.Options{}, func(t *testing.T, i *inventory.Inventory) {
		within(t, i, time.Minute, ofImage(0))
		time.Sleep(time.Hour)
		w.fail(errors.New("broken"))
		ask(t, i, 5, "a")
		w.forget()
		w.slow(2 * time.Second)
		for n := range 600 { // for a minute
			within(t, i, 100*time.Millisecond, fmt.Sprintf("swr.example.com/prod/b:%d", n))
		}
		if n := w.calls(); n != 6 {
			t.Errorf("HSS was tried %d times", n)
		}
		time.Sleep(time.Minute)
		for _, healthy := range []bool{false, true} {
			if healthy {
				w.fail(nil)
			}
			if got, took := within(t, i, time.Minute, ofImage(0)); !got.Stale || took != 0 {
				t.Errorf("a known image waited %s: %+v", took, got)
			}
			time.Sleep(10 * time.Second)
			if closed := state(i) == gobreaker.StateClosed; closed != healthy {
				t.Errorf("the breaker is closed: %t, want %t", closed, healthy)
			}
		}
	})
}

func TestTenThousandPodsOfFiftyImagesCostFiftyLookUps(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(50), latency: time.Second}
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
		if took := time.Since(begun); w.singly() != 50 || w.listed() != 0 || took != 4*time.Second { // 16 at a time
			t.Errorf("%d look-ups and %d lists took %s", w.singly(), w.listed(), took)
		}
	})
}

func TestCallsAtOneTimeAreBounded(t *testing.T) {
	t.Parallel()
	for bound, inBackground := range map[int]bool{1: false, 5: false, 16: true} {
		w := &world{latency: time.Second}
		clients(t, w, inventory.Options{MaxConcurrent: bound}, func(t *testing.T, i *inventory.Inventory) {
			facts, want := i.Facts, bound
			if inBackground {
				facts, want = i.Background().Facts, 4 // 30 %
			}
			var callers sync.WaitGroup
			for n := range 12 { // each in two spellings
				callers.Go(func() { facts(context.Background(), reference(t, fmt.Sprintf("swr.example.com/prod/a/b:%d", n))) })
			}
			callers.Wait()
			if w.atOnce() != want || w.singly() != 24 {
				t.Errorf("%d calls, %d at one time, %d are allowed", w.singly(), w.atOnce(), want)
			}
		})
	}
}

func TestALookUpThatNobodyWaitsForIsNotMade(t *testing.T) {
	t.Parallel()
	w := &world{latency: 10 * time.Second}
	clients(t, w, inventory.Options{MaxConcurrent: 1}, func(t *testing.T, i *inventory.Inventory) {
		within(t, i, time.Second, ofImage(0))
		const want = "HSS was not called in time (1s), since other calls came first: at most 1 are made at one time"
		if got, took := within(t, i, time.Second, ofImage(1)); got.Reason != want || got.Cause != policy.CauseOutage || took != time.Second {
			t.Errorf("after %s got %q", took, got.Reason)
		}
		time.Sleep(time.Minute)
		wantCalls(t, w.singly(), 1)
	})
}

// warm asks for images of a world ahead of time until ctx ends. It returns how many are known.
func warm(ctx context.Context, t *testing.T, i *inventory.Inventory, n int) (known int64, err error) {
	t.Helper()
	var p inventory.Progress
	err = i.Warm(ctx, func(yield func(image.Reference) bool) {
		for m := range 3 * n {
			if !yield(reference(t, ofImage(m%n))) {
				return
			}
		}
	}, &p)
	if got := p.Images.Load(); got != int64(n) {
		t.Errorf("%d images were seen, want %d", got, n)
	}
	return p.Known.Load(), err
}

func TestAdmissionsGoBeforeTheBackground(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(60), latency: time.Second}
	clients(t, w, inventory.Options{MaxConcurrent: 5}, func(t *testing.T, i *inventory.Inventory) {
		var callers sync.WaitGroup
		callers.Go(func() {
			if _, err := warm(t.Context(), t, i, 40); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for n := 40; n < 50; n++ {
			callers.Go(func() {
				if _, took := within(t, i, time.Minute, ofImage(n)); took > 4*time.Second {
					t.Errorf("an admission waited %s", took)
				}
			})
		}
		callers.Wait()
	})
}

func TestNoNamespaceWaitsForAllThatAnotherNeeds(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(400), latency: time.Second}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		var callers sync.WaitGroup
		for n := 1; n < 400; n++ {
			callers.Go(func() { i.Facts(policy.WithNamespace(t.Context(), "greedy"), reference(t, ofImage(n))) })
		}
		time.Sleep(5 * time.Second)
		begun := time.Now()
		i.Facts(policy.WithNamespace(t.Context(), "other"), reference(t, ofImage(399))) // which the first one waits for, too
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("the other namespace waited %s", took)
		}
		callers.Wait()
	})
}

func TestMadeUpNamesEvictNoKnownImage(t *testing.T) {
	t.Parallel()
	const known, madeUp, most = 500, 15_000, 12_500 // the cache has room for 11,400
	w := &world{rows: images(known)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		for n := range known {
			within(t, i, time.Minute, ofImage(n))
		}
		for n := range madeUp {
			ref := image.Reference{Host: "swr.example.com", Path: fmt.Sprintf("prod/made-up-%d", n), Tag: "1"}
			if f := i.Facts(t.Context(), ref); f.State != policy.StateNotFound {
				t.Fatal(f.Reason)
			}
		}
		synctest.Wait()
		wantKnown(t, i, true, upTo(known)...)
		if s := i.Stats(); s.Images != known || s.NotFound > most {
			t.Errorf("%d images and %d made-up names are cached", s.Images, s.NotFound)
		}
	}, func(c *config.Configuration) { c.Cache.MaxBytes = 1 << 20 })
}

func TestTheBackgroundLearnsOfAnOutageAndIsNeitherCountedNorRefreshed(t *testing.T) {
	t.Parallel()
	w, seen := &world{rows: []hss.Image{row()}}, &notes{}
	clients(t, w, inventory.Options{Observer: seen}, func(t *testing.T, i *inventory.Inventory) {
		b := i.Background()
		for range 10 {
			b.Facts(t.Context(), reference(t, app))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		wantCalls(t, w.singly(), 1)
		w.fail(errors.New("down"))
		if got := b.Facts(t.Context(), reference(t, app)); got.State != policy.StateFound || !got.Stale || got.StaleReason == "" {
			t.Errorf("while HSS is down got %+v", got)
		}
		if got := b.Facts(t.Context(), reference(t, "swr.example.com/prod/other:1")); got.State != policy.StateUnavailable || got.Reason == "" {
			t.Errorf("while HSS is down got %+v", got)
		}
	})
	if n := len(seen.only("looked")); n != 0 {
		t.Errorf("%d uses were counted", n)
	}
}

func TestChangesAreCounted(t *testing.T) {
	t.Parallel()
	w := &world{rows: []hss.Image{row()}}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		ref := reference(t, app)
		step := func(what string, want uint64, rows ...hss.Image) {
			w.set(rows...)
			time.Sleep(time.Hour)
			i.Facts(t.Context(), ref)
			synctest.Wait()
			if got := i.Changes(); got != want {
				t.Errorf("%s: %d changes, want %d", what, got, want)
			}
		}
		step("first seen", 0, row())
		step("as before", 0, row())
		step("another severity", 1, row(func(r *hss.Image) { r.Severity = hss.SeverityHigh }))
		step("gone", 2)
		step("still gone", 2)
		step("back", 3, row())
	})
}

func TestWhatIsInUseIsRefreshedBeforeItGrowsOld(t *testing.T) {
	t.Parallel()
	w := &world{rows: []hss.Image{row()}}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		w.slow(3 * time.Second)
		ref := reference(t, app)
		i.Facts(t.Context(), ref)
		begun := time.Now()
		for time.Since(begun) < 2*time.Hour {
			if _, ok := i.Known(ref); !ok {
				t.Fatalf("after %s somebody would have to wait", time.Since(begun))
			}
			time.Sleep(20 * time.Second)
		}
		// Once in 4 minutes, that is four fifths of 5.
		if got := w.singly(); got < 29 || got > 31 {
			t.Errorf("HSS was asked %d times in 2 hours", got)
		}
	})
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := open(t, &world{latency: time.Hour}, inventory.Options{Config: settings(synchronised)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun := time.Now()
		if err := i.Start(ctx); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("Start ended after %s with %v", time.Since(begun), err)
		}
		i.Close()
		if err := i.Start(t.Context()); err == nil {
			t.Error("it starts after Close")
		}
	})
}

func TestWarmLooksUpWhatRuns(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(50), latency: 100 * time.Millisecond}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		if known, err := warm(t.Context(), t, i, 50); err != nil || known != 50 {
			t.Errorf("%d are known: %v", known, err)
		}
		wantCalls(t, w.singly(), 50)
		wantKnown(t, i, true, upTo(50)...)
		w.fail(errors.New("away"))
		time.Sleep(time.Hour)
		const want = "50 of 50 images could not be looked up ahead of time, the first since away"
		if _, err := warm(t.Context(), t, i, 50); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	})
}

func TestWarmWaitsForAListNoLongerThanHalfOfItsTime(t *testing.T) {
	t.Parallel()
	for cut, singly := range map[bool]int{false: 0, true: 5} {
		w := &world{rows: today(5), latency: time.Second}
		w.failIf(func(r hss.ListRequest) error {
			return map[bool]error{true: errors.New("too many rows")}[cut && r.ImageName == ""]
		})
		live(t, w, func(t *testing.T, i *inventory.Inventory) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			begun := time.Now()
			if _, err := warm(ctx, t, i, 5); err != nil || time.Since(begun) > 12*time.Second {
				t.Errorf("it took %s: %v", time.Since(begun), err)
			}
			wantCalls(t, w.singly(), singly)
		}, synchronised)
	}
}

// typical is a row as SWR's are: names of a few words, a commit's hash as the version, all counts and times.
func typical(n int) hss.Image {
	return hss.Image{
		ID: fmt.Sprint(10_000_000 + n), Namespace: fmt.Sprintf("team-%02d", n%40), Name: fmt.Sprintf("payments-service-%d", n/50),
		Version: fmt.Sprintf("v1.%d.%d-%07x", n%50, n%7, n), Digest: fmt.Sprintf("sha256:%064x", n+1),
		Type: hss.ImageTypePrivate, RegistryType: hss.RegistryTypeSWRPrivate, RegistryName: "SWR",
		ScanStatus: hss.ScanStatusSuccess, Severity: hss.SeverityMedium,
		Vulnerabilities: new(n % 300), UnsafeSettings: new(n % 9), MaliciousFiles: new(0),
		LatestScanTime: time.UnixMilli(1_700_000_000_000 + int64(n)), LatestUpdateTime: time.UnixMilli(1_690_000_000_000 + int64(n)),
	}
}

// referenceOf is the reference with tag that finds a row.
func referenceOf(r hss.Image) image.Reference {
	return image.Reference{Host: "swr.example.com", Path: r.Namespace + "/" + r.Name, Tag: r.Version}
}

// heap is how much memory is in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// filled is an inventory that has looked up n images, each with so much text, and how the memory has grown. Its tests run
// alone, since it counts all memory of the program.
func filled(t *testing.T, n, text, maxBytes int) (i *inventory.Inventory, grown int) {
	t.Helper()
	f := &echo{}
	i = open(t, f, inventory.Options{Config: settings(func(c *config.Configuration) { c.Cache.MaxBytes = config.Bytes(maxBytes) })})
	before := heap()
	for m := range n {
		f.row = typical(m)
		f.row.ScanFailedDescription = strings.Repeat("x", text)
		i.Facts(t.Context(), referenceOf(f.row))
	}
	return i, int(heap()) - int(before)
}

func TestAnImageTakesLessThanAKilobyte(t *testing.T) {
	const n = 20_000
	i, grown := filled(t, n, 0, n*1200)
	s := i.Stats()
	if s.Images < n*99/100 {
		t.Fatalf("%d of %d images are cached", s.Images, n)
	}
	t.Logf("%d images take %d bytes each, %d by the cache's estimate", s.Images, grown/n, s.Bytes/uint64(s.Images))
	if grown/n >= 1024 {
		t.Errorf("an image takes %d bytes", grown/n)
	}
}

func TestTheCacheIsBoundedInBytes(t *testing.T) {
	const most = 1 << 20
	i, grown := filled(t, 2000, 10_000, most)
	if grown > 4*most {
		t.Errorf("the memory grew by %d bytes", grown)
	}
	// What was stored last is counted a moment later.
	s := i.Stats()
	for n := 0; n < 3000 && s.Bytes > most+100_000; n++ {
		time.Sleep(10 * time.Millisecond)
		s = i.Stats()
	}
	if s.Bytes > most+100_000 || s.Images < 50 {
		t.Errorf("%+v", s)
	}
}

// echo answers every request with its one row.
type echo struct {
	inventory.Lister
	row hss.Image
}

func (e *echo) All(context.Context, hss.ListRequest) iter.Seq2[hss.Image, error] {
	return func(yield func(hss.Image, error) bool) { yield(e.row, nil) }
}

// spied is an observer that keeps the spans below which HSS is called.
type spied struct {
	notes
	spans []trace.SpanContext
}

func (s *spied) Asked(ctx context.Context, _ string, _ time.Duration, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spans = append(s.spans, trace.SpanContextFromContext(ctx))
}

func TestACallIsBelowTheLookUpThatBeganItAndOthersAreLinkedToThat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		spans := tracetest.NewInMemoryExporter()
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")
		seen := &spied{}
		i := open(t, &world{rows: images(1), latency: time.Second}, inventory.Options{Observer: seen})
		lookUp := func(name string) trace.Span {
			ctx, span := tracer.Start(t.Context(), name)
			go func() {
				defer span.End()
				i.Facts(ctx, reference(t, ofImage(0)))
			}()
			synctest.Wait()
			return span
		}
		first := lookUp("first")
		lookUp("second")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(seen.spans) != 1 || !seen.spans[0].Equal(first.SpanContext()) {
			t.Errorf("HSS was called below %v, want %v", seen.spans, first.SpanContext())
		}
		for _, s := range spans.GetSpans() {
			if linked := len(s.Links) == 1 && s.Links[0].SpanContext.Equal(first.SpanContext()); linked != (s.Name == "second") {
				t.Errorf("%s is linked with %v", s.Name, s.Links)
			}
		}
	})
}

// During an outage, images that are not known are refused for hours.
func TestALookUpThatIsRefusedLeavesNothingBehind(t *testing.T) {
	const n = 10_000
	i := open(t, &world{cut: &hss.Error{StatusCode: 503, RetryAfter: time.Hour}}, inventory.Options{})
	i.Facts(t.Context(), reference(t, app))
	before := heap()
	for m := range n {
		if f := i.Facts(t.Context(), referenceOf(typical(m))); f.State != policy.StateUnavailable {
			t.Fatalf("got %v", f.State)
		}
	}
	if grown := int(heap()) - int(before); grown > n*20 {
		t.Errorf("%d look-ups left %d bytes behind", n, grown)
	}
	runtime.KeepAlive(i)
}
