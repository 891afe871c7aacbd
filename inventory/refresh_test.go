package inventory_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

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

func TestWhatIsNotInUseIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rows []hss.Image
		uses int
		want int // questions in a day
	}{
		"asked for once":        {[]hss.Image{row()}, 0, 1},
		"used once after that":  {[]hss.Image{row()}, 1, 2},
		"used often, then not":  {[]hss.Image{row()}, 10, 2},
		"not found, used often": {nil, 10, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{rows: test.rows}
			live(t, w, func(t *testing.T, i *inventory.Inventory) {
				ref := reference(t, app)
				i.Facts(t.Context(), ref)
				for range test.uses {
					time.Sleep(time.Second)
					i.Facts(t.Context(), ref)
				}
				time.Sleep(24 * time.Hour)
				if got := w.singly(); got != test.want {
					t.Errorf("HSS was asked %d times, want %d", got, test.want)
				}
			})
		})
	}
}

func TestAScanThatPeopleWaitForIsSeenSoon(t *testing.T) {
	t.Parallel()
	w := &world{rows: []hss.Image{row(status(hss.ScanStatusScanning))}}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		ref := reference(t, app)
		i.Facts(t.Context(), ref)
		i.Facts(t.Context(), ref)
		w.set(row())
		time.Sleep(12 * time.Second)
		synctest.Wait()
		got, ok := i.Known(ref)
		if !ok || got.Records[0].Scan.Status != "success" || w.singly() != 2 {
			t.Errorf("known %v after %d questions: %+v", ok, w.singly(), got.Records)
		}
	})
}

func TestARefreshThatFailsIsNotRepeatedUntilSomebodyAsks(t *testing.T) {
	t.Parallel()
	w := &world{rows: []hss.Image{row()}}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		ref := reference(t, app)
		i.Facts(t.Context(), ref)
		i.Facts(t.Context(), ref)
		w.fail(errors.New("down"))
		time.Sleep(time.Hour)
		if w.singly() != 2 {
			t.Errorf("HSS was asked %d times", w.singly())
		}
		got := i.Facts(t.Context(), ref)
		if got.State != policy.StateFound || !got.Stale {
			t.Errorf("got %+v", got)
		}
	})
}

func TestRefreshingKeepsToTheBackgroundsShare(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(60)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		for n := range 60 {
			i.Facts(t.Context(), reference(t, ofImage(n)))
			i.Facts(t.Context(), reference(t, ofImage(n)))
		}
		w.slow(time.Second)
		w.forget()
		time.Sleep(4*time.Minute + 30*time.Second)
		if w.singly() != 60 || w.atOnce() != 3 {
			t.Errorf("HSS was asked %d times, %d at a time; want 60 and 3", w.singly(), w.atOnce())
		}
	}, func(c *config.Configuration) { c.Projects[0].MaxConcurrent = 10 })
}

func TestStartEndsWithItsContextAndBeginsOnce(t *testing.T) {
	t.Parallel()
	w := &world{rows: []hss.Image{row()}}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		if err := i.Start(t.Context()); err == nil || err.Error() != "the inventory was started already" {
			t.Errorf("a second Start ended with %v", err)
		}
		if i.NeedLeaderElection() {
			t.Error("only a leader would refresh")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		i, err := inventory.New(inventory.Options{Config: settings(synchronised), Clients: map[string]inventory.Lister{"bj4": w}})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		w.slow(time.Hour)
		ctx, cancel := contextFor(t, time.Minute)
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
