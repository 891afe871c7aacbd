package inventory_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

func TestTheBackgroundIsToldTheSame(t *testing.T) {
	t.Parallel()
	w, seen := &world{rows: []hss.Image{row()}}, &notes{}
	watched(t, w, seen, func(t *testing.T, i *inventory.Inventory) {
		b := i.Background()
		for _, s := range []string{app, app + "@" + digest("a"), app + "@" + digest("b"), "swr.example.com/prod/none:1", "nginx"} {
			ref := reference(t, s)
			got := b.Facts(t.Context(), ref)
			if want := i.Facts(t.Context(), ref); !cmp.Equal(want, got) {
				t.Errorf("%s: %s", s, cmp.Diff(want, got))
			}
			if known, ok := b.Known(ref); !ok || !cmp.Equal(known, got) {
				t.Errorf("%s is known: %v", s, ok)
			}
		}
		w.fail(errors.New("down"))
		time.Sleep(time.Hour)
		if got := b.Facts(t.Context(), reference(t, app)); got.State != policy.StateFound || !got.Stale || got.StaleReason == "" {
			t.Errorf("while HSS is down got %+v", got)
		}
		if got := b.Facts(t.Context(), reference(t, "swr.example.com/prod/other:1")); got.State != policy.StateUnavailable || got.Reason == "" {
			t.Errorf("while HSS is down got %+v", got)
		}
	})
	if n := len(seen.only("looked")); n != 5 {
		t.Errorf("%d uses were counted, those of the background too", n)
	}
}

func TestWhatOnlyTheBackgroundAsksForIsNotRefreshed(t *testing.T) {
	t.Parallel()
	w := &world{rows: []hss.Image{row()}}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		for range 10 {
			i.Background().Facts(t.Context(), reference(t, app))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		if w.singly() != 1 {
			t.Errorf("HSS was asked %d times", w.singly())
		}
	})
}

func TestTheBackgroundKeepsToItsShare(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(40), latency: time.Second}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		var callers sync.WaitGroup
		for n := range 40 {
			callers.Go(func() { i.Background().Facts(t.Context(), reference(t, ofImage(n))) })
		}
		callers.Wait()
		if w.atOnce() != 4 { // 30 % of 16
			t.Errorf("%d calls at one time", w.atOnce())
		}
	})
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

// clumsy is an observer that panics the first time it hears of a list.
type clumsy struct {
	notes
	once sync.Once
}

func (c *clumsy) Synced(project string, s inventory.Synchronisation) {
	c.once.Do(func() { panic("clumsy") })
	c.notes.Synced(project, s)
}

func TestAPanicDoesNotEndTheSynchronisation(t *testing.T) {
	t.Parallel()
	w, seen := &world{rows: today(10)}, &clumsy{}
	watched(t, w, seen, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(10 * time.Minute)
		if _, ok := i.Known(reference(t, ofImage(3))); !ok {
			t.Error("it has ended")
		}
	}, synchronised)
	if full := seen.only("synced bj4 full=true"); len(full) == 0 {
		t.Errorf("%q", seen.seen)
	}
}

func TestRowsThatCannotBeKeptAreAskedForSingly(t *testing.T) {
	t.Parallel()
	rows := today(4)
	long := string(make([]byte, 1<<16))
	rows[1].ScanFailedDescription = long
	w := &world{rows: rows}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		for n, want := range []bool{true, false, true, true} {
			if _, ok := i.Known(reference(t, ofImage(n))); ok != want {
				t.Errorf("image %d is known: %v", n, ok)
			}
		}
		time.Sleep(20 * time.Minute)
		w.edit(2, func(r *hss.Image) { r.ScanFailedDescription, r.LatestScanTime = long, time.Now() })
		time.Sleep(61 * time.Second)
		if got, ok := i.Known(reference(t, ofImage(2))); ok {
			t.Errorf("a row that can't be read is passed over: %+v", got)
		}
	}, synchronised)
}

func TestArchitecturesAreSynchronisedToo(t *testing.T) {
	t.Parallel()
	rows := today(2)
	rows[1].MultiArch = true
	rows[1].Architectures = []hss.AssociatedImage{
		{ID: "x", Digest: digest("c"), ScanStatus: hss.ScanStatusSuccess, Vulnerabilities: new(1)},
		{ID: "y", Digest: digest("d"), ScanStatus: hss.ScanStatusSuccess, Vulnerabilities: new(2)},
	}
	w := &world{rows: rows}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(65 * time.Minute) // two whole lists
		ref := reference(t, ofImage(1)+"@"+digest("d"))
		got, ok := i.Known(ref)
		if !ok || !got.Records[0].PinnedArchitecture || *got.Records[0].Architectures[0].Scan.Vulnerabilities != 2 {
			t.Errorf("known %v: %+v", ok, got)
		}
		w.edit(1, func(r *hss.Image) {
			r.Architectures = []hss.AssociatedImage{r.Architectures[0], {ID: "y", Digest: digest("d"), ScanStatus: hss.ScanStatusFailed}}
			r.LatestScanTime = time.Now()
		})
		time.Sleep(61 * time.Second)
		if got, ok = i.Known(ref); !ok || got.Records[0].Architectures[0].Scan.Status != "failed" || w.singly() != 0 {
			t.Errorf("known %v after %d questions: %+v", ok, w.singly(), got)
		}
	}, synchronised)
}
