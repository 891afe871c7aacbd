package server

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// newBusyDoor is before an HSS that takes its time. HSS holds "good-N" and "bad-N".
func newBusyDoor(t *testing.T, latency time.Duration, images int) *door {
	t.Helper()
	var rows []hsstest.Image
	for n := range images {
		rows = append(rows, row(fmt.Sprint("good-", n), 0), row(fmt.Sprint("bad-", n), 1))
	}
	d := newDoor(t, nil, rows)
	d.hss.SetLatency(latency)
	return d
}

// madeUp names images that HSS doesn't have, and that no one has named before.
func madeUp(n int, attempt string) []string {
	images := make([]string, n)
	for i := range images {
		images[i] = fmt.Sprintf("made-up-%s-%d", attempt, i)
	}
	return images
}

func TestOneNamespacesLookUpsDenyNoOthersPods(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const good, bad, during = 85, 9, 3 * time.Minute
		g := newBusyDoor(t, 200*time.Millisecond, good)
		var reviews sync.WaitGroup
		var denied, admitted atomic.Int64
		each := func(n int, pause time.Duration, review func(n int)) {
			reviews.Go(func() {
				for i := range n {
					reviews.Go(func() { review(i) })
					time.Sleep(pause)
				}
			})
		}
		each(int(during/time.Minute), time.Minute, func(minute int) {
			for n := range 3 {
				for _, images := range []int{1000, 64} {
					reviews.Go(func() { g.review(t, "10s", "evil", "Pod", madeUp(images, fmt.Sprint(minute, "-", n, "-", images))...) })
				}
			}
		})
		each(good, during/good, func(n int) {
			if got := g.review(t, "10s", fmt.Sprint("team-", n%4), "Pod", fmt.Sprint("good-", n)); !got.Allowed || len(got.Warnings) > 0 {
				denied.Add(1)
				t.Logf("good pod %d: %v %v", n, got.Result, got.Warnings)
			}
		})
		each(bad, during/bad, func(n int) {
			if got := g.review(t, "10s", "evil", "Pod", fmt.Sprint("bad-", n)); got.Allowed {
				admitted.Add(1)
				t.Logf("bad pod %d: %v", n, got.Warnings)
			}
		})
		reviews.Wait()
		if denied.Load() > 0 || admitted.Load() > 0 {
			t.Errorf("%d of %d good pods denied or warned of, %d of %d bad pods admitted", denied.Load(), good, admitted.Load(), bad)
		}
	})
}

func TestOfMoreImagesThanAreLookedUpHSSIsNotAsked(t *testing.T) {
	t.Parallel()
	type testCase struct {
		kind    string
		images  []string
		allowed bool
		calls   int
		says    string
	}
	each(t, map[string]testCase{
		"a pod of one too many is denied":          {"Pod", madeUp(65, "a"), false, 0, "the object names 65 different images, at most 64 are looked up"},
		"a pod of a thousand is denied":            {"Pod", madeUp(1000, "a"), false, 0, "the object names 1000 different images, at most 64 are looked up"},
		"a Deployment of a thousand is warned of":  {"Deployment", madeUp(1000, "a"), true, 0, "the object names 1000 different images"},
		"as many as are looked up are":             {"Pod", madeUp(64, "a"), true, 64, "has no image"},
		"an image that is named again counts once": {"Pod", append(madeUp(64, "a"), madeUp(64, "a")...), true, 64, "has no image"},
	}, func(t *testing.T, test testCase) {
		g := newBusyDoor(t, time.Millisecond, 1)
		begun := time.Now()
		got := g.review(t, "10s", "team", test.kind, test.images...)
		says := strings.Join(got.Warnings, "\n")
		if !got.Allowed {
			says += got.Result.Message
		}
		if calls := g.hss.Stats().Requests; got.Allowed != test.allowed || calls != test.calls || !strings.Contains(says, test.says) {
			t.Errorf("allowed: %t, %d calls: %s", got.Allowed, calls, says)
		}
		if !got.Allowed && (got.Result.Code != http.StatusForbidden || time.Since(begun) != 0) {
			t.Errorf("it was denied after %s with %d", time.Since(begun), got.Result.Code)
		}
	})
}

func TestNothingIsLookedUpForAReviewThatHasEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBusyDoor(t, 2*time.Second, 1)
		var reviews sync.WaitGroup
		for n := range 10 {
			reviews.Go(func() { g.review(t, "10s", "evil", "Pod", madeUp(64, fmt.Sprint(n))...) })
		}
		reviews.Wait()
		ended := g.hss.Stats().Requests
		time.Sleep(time.Minute)
		if later := g.hss.Stats().Requests; later != ended {
			t.Errorf("HSS was asked %d times, and %d times more after all reviews had ended", ended, later-ended)
		}
	})
}

func TestAPodIsDecidedWhileAnotherNamespaceAsksForMuch(t *testing.T) {
	t.Parallel()
	type testCase struct {
		latency time.Duration
		// pods is how many of 64 images the other namespace has.
		pods int
		// same has the other namespace ask for the pod's image, too.
		same bool
	}
	each(t, map[string]testCase{
		"HSS is slow":                        {6 * time.Second, 3, false},
		"more wait than may":                 {200 * time.Millisecond, 500, false},
		"the other waits for the same image": {time.Second, 10, true},
	}, func(t *testing.T, test testCase) {
		g := newBusyDoor(t, test.latency, 2)
		g.review(t, "10s", "team", "Pod", "good-1") // until then, one call at a time tries the key
		var reviews sync.WaitGroup
		for n := range test.pods {
			reviews.Go(func() { g.review(t, "10s", "evil", "Pod", madeUp(64, fmt.Sprint(n))...) })
		}
		synctest.Wait()
		if test.same {
			reviews.Go(func() { g.review(t, "10s", "evil", "Pod", "good-0") })
			synctest.Wait()
		}
		if got := g.review(t, "10s", "team", "Pod", "good-0"); !got.Allowed || len(got.Warnings) > 0 {
			t.Errorf("%v %v", got.Result, got.Warnings)
		}
		reviews.Wait()
	})
}
