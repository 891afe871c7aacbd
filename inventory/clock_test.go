package inventory_test

import (
	"errors"
	"testing"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestWhatHSSSaidAfterNowCountsNoMoreOnceTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		back  time.Duration
		fresh bool
	}{
		"by a moment": {time.Minute, true},
		"by more":     {time.Minute + time.Nanosecond, false},
		"by a day":    {24 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{rows: []hss.Image{row()}}
			i, clock := newInventory(t, f)
			ref := reference(t, app)
			i.Facts(t.Context(), ref)
			clock.Step(-tt.back)
			f.set(errors.New("dial tcp: refused"))
			if _, ok := i.Background().Known(ref); ok != tt.fresh {
				t.Errorf("it is fresh to the background: %t, want %t", ok, tt.fresh)
			}
			if _, ok := i.Known(ref); ok != tt.fresh {
				t.Errorf("it is fresh: %t, want %t", ok, tt.fresh)
			}
			want := policy.StateUnavailable
			if tt.fresh {
				want = policy.StateFound
			}
			if got := i.Facts(t.Context(), ref); got.State != want || got.Stale {
				t.Errorf("while HSS is down it is %v (stale: %t), want %v", got.State, got.Stale, want)
			}
			f.set(nil, row())
			clock.Step(time.Hour) // past what failed, and with a clock that is right by then or not
			if got := i.Facts(t.Context(), ref); got.State != policy.StateFound || !got.AsOf.Equal(clock.Now()) {
				t.Errorf("once it is well, it is %v as of %s, at %s", got.State, got.AsOf, clock.Now())
			}
		})
	}
}

func TestVulnerabilitiesListedAfterNowCountNoMoreOnceTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	w := &listingWorld{world: world{rows: []hss.Image{vulnerable()}}, listed: map[string][]hss.Vulnerability{"img-1": two()}}
	clock := clocktesting.NewFakeClock(time.Unix(2_000_000_000, 0))
	i, err := inventory.New(inventory.Options{
		Config:  settings(func(c *config.Configuration) { c.Projects[0].VulnerabilityDetails = true }),
		Clients: map[string]inventory.Lister{"bj4": w}, Clock: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	ref := reference(t, oneApp)
	facts := i.Facts(t.Context(), ref)
	ask := func() policy.Facts { return i.WithVulnerabilities(t.Context(), ref, facts, true) }
	wantFound(t, ask(), read())
	clock.Step(-time.Hour)
	w.answer(func(w *listingWorld) { w.listed = map[string][]hss.Vulnerability{"img-1": two()[:1]} })
	wantFound(t, ask(), read()[1:])
	clock.Step(-time.Hour)
	w.answer(func(w *listingWorld) { w.listError = errors.New("connection reset") })
	wantUnlisted(t, ask(), "connection reset")
}
