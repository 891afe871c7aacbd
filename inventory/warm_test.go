package inventory_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
)

func TestWarmLooksUpWhatRuns(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change []func(*config.Configuration)
		singly int
	}{
		"one by one":                    {nil, 50},
		"but for those that were asked": {[]func(*config.Configuration){func(*config.Configuration) {}}, 50},
		"after the list":                {[]func(*config.Configuration){synchronised}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{rows: today(50), latency: 100 * time.Millisecond}
			live(t, w, func(t *testing.T, i *inventory.Inventory) {
				begun := time.Now()
				refs := func(yield func(image.Reference) bool) {
					for n := range 10_000 {
						if !yield(reference(t, ofImage(n%50))) {
							return
						}
					}
				}
				if err := i.Warm(t.Context(), refs, nil); err != nil {
					t.Error(err)
				}
				if took := time.Since(begun); took > 5*time.Second || w.singly() != test.singly {
					t.Errorf("%d questions took %s", w.singly(), took)
				}
				for n := range 50 {
					if _, ok := i.Known(reference(t, ofImage(n))); !ok {
						t.Errorf("image %d is not known", n)
					}
				}
			}, test.change...)
		})
	}
}

func TestWarmIsBoundedInTimeAndTellsWhatFailed(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(200), latency: time.Hour}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		ctx, cancel := contextFor(t, 5*time.Second)
		defer cancel()
		begun := time.Now()
		err := warm(ctx, t, i, 0, 200)
		// Those under way and those that wait for them end at the same moment, in any order.
		failed := regexp.MustCompile(`^200 of 200 images could not be looked up ahead of time, the first since HSS (did not answer|was not asked) in time \(5s\)`)
		if err == nil || !failed.MatchString(err.Error()) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun); took != 5*time.Second || w.singly() != 16 {
			t.Errorf("%d questions took %s", w.singly(), took)
		}
		if s := i.Stats().Projects[0]; s.Waiting > 64 {
			t.Errorf("%d go on waiting for nobody", s.Waiting)
		}
	})
}

func TestWarmAsksAgainForWhatFailed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		outage, time time.Duration
		failed       string
	}{
		"HSS is well":            {0, 10 * time.Second, ""},
		"HSS is away for 4 s":    {4 * time.Second, 2 * time.Minute, ""},
		"HSS is away for longer": {time.Hour, 10 * time.Second, "30 of 30 images could not be looked up ahead of time, the first since"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{rows: today(30)}
			live(t, w, func(t *testing.T, i *inventory.Inventory) {
				begun := time.Now()
				w.mu.Lock()
				w.trouble = func(hss.ListRequest) error {
					if time.Since(begun) < test.outage {
						return errors.New("away")
					}
					return nil
				}
				w.mu.Unlock()
				ctx, cancel := contextFor(t, test.time)
				defer cancel()
				err := warm(ctx, t, i, 0, 30)
				if took := time.Since(begun); err == nil && took < test.outage || err != nil && took != test.time {
					t.Errorf("it took %s", took)
				}
				if (err == nil) != (test.failed == "") || err != nil && (!strings.HasPrefix(err.Error(), test.failed) || !strings.HasSuffix(err.Error(), "away")) {
					t.Errorf("got %v, want %q", err, test.failed)
				}
				for n := range 30 {
					if _, ok := i.Known(reference(t, ofImage(n))); ok != (err == nil) {
						t.Errorf("image %d: known is %t", n, ok)
					}
				}
			})
		})
	}
}

func TestWarmTellsHowFarItIs(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(50), latency: 100 * time.Millisecond}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		refs := []image.Reference{reference(t, "elsewhere.example.com/prod/app:1")}
		for n := range 100 {
			refs = append(refs, reference(t, ofImage(n%50)))
		}
		var images, known atomic.Int64
		calls := 0
		err := i.Warm(t.Context(), slices.Values(refs), func(i, k int) {
			if k > i || int64(i) < images.Load() || int64(k) < known.Load() {
				t.Errorf("%d of %d after %d of %d", k, i, known.Load(), images.Load())
			}
			images.Store(int64(i))
			known.Store(int64(k))
			calls++
		})
		if err != nil || images.Load() != 50 || known.Load() != 50 || calls != 100 {
			t.Errorf("%d of %d are known, told %d times: %v", known.Load(), images.Load(), calls, err)
		}
	})
}

func TestWarmWaitsForAListNoLongerThanHalfOfItsTime(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(5)}
	w.trouble = func(r hss.ListRequest) error {
		if r.ImageName == "" {
			return errors.New("too many rows")
		}
		return nil
	}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		ctx, cancel := contextFor(t, 10*time.Second)
		defer cancel()
		begun := time.Now()
		if err := warm(ctx, t, i, 0, 5); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took < 5*time.Second || took > 6*time.Second || w.singly() != 5 {
			t.Errorf("%d questions took %s", w.singly(), took)
		}
	}, synchronised, func(c *config.Configuration) { c.Projects[0].RequestsPerSecond = 100 })
}
