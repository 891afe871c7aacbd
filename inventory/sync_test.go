package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

// today are images whose times lie in the bubble's past.
func today(n int) []hss.Image {
	rows := images(n)
	for i := range rows {
		rows[i].LatestScanTime = time.Date(1999, 12, 1, 0, 0, i, 0, time.UTC)
	}
	return rows
}

// edit changes the row of one image.
func (w *world) edit(n int, change func(*hss.Image)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rows = slices.Clone(w.rows)
	change(&w.rows[n])
}

// remove deletes the row of one image.
func (w *world) remove(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rows = slices.Delete(slices.Clone(w.rows), n, n+1)
}

func TestASynchronisedProjectCostsNoCallAnImage(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(500)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		begun := time.Now()
		for round := 0; time.Since(begun) < 2*time.Hour; round++ {
			for n := round % 10; n < 500; n += 10 {
				ref := reference(t, ofImage(n))
				if n%2 == 0 {
					ref.Digest = fmt.Sprintf("sha256:%064x", n+1)
				}
				got, ok := i.Known(ref)
				if !ok || got.State != policy.StateFound || time.Since(got.AsOf) > 70*time.Second {
					t.Fatalf("after %s, image %d is known: %v, as of %s: %s", time.Since(begun), n, ok, got.AsOf, got.Reason)
				}
			}
			time.Sleep(17 * time.Second)
		}
		// Up to three whole lists of 3 pages and an empty one, and 3 questions a
		// minute for what changed.
		if w.singly() != 0 || w.listed() > 3*4+3*124 {
			t.Errorf("HSS was asked %d times for one image and %d times for many", w.singly(), w.listed())
		}
	}, synchronised)
}

func TestTheQuestionsOfASynchronisation(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(450)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		start := time.Now()
		time.Sleep(61 * time.Second)
		all := hss.ListRequest{
			EnterpriseProjectID: hss.AllGrantedEnterpriseProjects, Limit: 200, SortKey: hss.SortByLatestScanTime, SortDir: hss.SortDescending,
		}
		with := func(change func(*hss.ListRequest)) hss.ListRequest {
			r := all
			change(&r)
			return r
		}
		var want []hss.ListRequest
		for _, offset := range []int{0, 200, 400, 450} {
			want = append(want, with(func(r *hss.ListRequest) { r.Offset = offset }))
		}
		for range 2 { // the second reaches back as far, plus what passed
			from := start.Add(-15 * time.Minute)
			want = append(
				want,
				with(func(r *hss.ListRequest) { r.StartLatestScanTime = from }),
				with(func(r *hss.ListRequest) { r.StartLatestUpdateTime = from }),
				with(func(r *hss.ListRequest) { r.StartLatestSyncTime = from }),
			)
		}
		if d := cmp.Diff(want, w.questions()); d != "" {
			t.Error(d)
		}
	}, synchronised)
}

func TestChangesAreSeenWithinAnInterval(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*hss.Image){
		"scanned again": func(r *hss.Image) { r.LatestScanTime, r.Severity = time.Now(), hss.SeverityHigh },
		"a scan that began after a push": func(r *hss.Image) {
			r.LatestUpdateTime, r.ScanStatus, r.Severity = time.Now(), hss.ScanStatusScanning, hss.SeverityHigh
		},
		"learnt of late": func(r *hss.Image) {
			r.LatestUpdateTime, r.LatestSyncTime, r.Severity = time.Now().Add(-24*time.Hour), time.Now(), hss.SeverityHigh
		},
		"by a clock that is 14 minutes behind": func(r *hss.Image) {
			r.LatestScanTime, r.Severity = time.Now().Add(-14*time.Minute), hss.SeverityHigh
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{rows: today(300)}
			live(t, w, func(t *testing.T, i *inventory.Inventory) {
				time.Sleep(20 * time.Minute)
				w.edit(7, change)
				time.Sleep(61 * time.Second)
				got, ok := i.Known(reference(t, ofImage(7)))
				if !ok || got.Records[0].Severity != "High" || w.singly() != 0 {
					t.Errorf("known %v: %+v after %d questions", ok, got.Records, w.singly())
				}
				if running := got.Records[0].Scan.Status == "scanning"; running && got.Records[0].LastCompleted == nil {
					t.Errorf("the last completed result is %+v", got.Records[0].LastCompleted)
				}
			}, synchronised)
		})
	}
}

func TestARepushedTagIsAskedForSinglyAndNeverJudgedByItsPast(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(3)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(20 * time.Minute)
		w.edit(1, func(r *hss.Image) {
			r.Digest, r.LatestUpdateTime, r.ScanStatus, r.Severity = digest("e"), time.Now(), hss.ScanStatusUnscan, ""
		})
		time.Sleep(61 * time.Second)
		ref := reference(t, ofImage(1))
		if got, ok := i.Known(ref); ok {
			t.Errorf("it is known: %+v", got)
		}
		w.fail(errors.New("down"))
		got := i.Facts(t.Context(), ref)
		if !got.Stale || len(got.Records) != 2 || got.Records[1].Digest != digest("e") {
			t.Errorf("while HSS is down: %+v", got)
		}
		w.fail(nil)
		time.Sleep(3 * time.Second)
		if got = i.Facts(t.Context(), ref); len(got.Records) != 1 || got.Records[0].Digest != digest("e") || w.singly() != 2 {
			t.Errorf("after %d questions: %+v", w.singly(), got)
		}
	}, synchronised)
}

func TestAFreshPushIsAskedForSingly(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(3)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(20 * time.Minute)
		ref := reference(t, ofImage(3))
		for range 4 { // HSS does not know it yet: once in 30 s, as without synchronising
			if got := i.Facts(t.Context(), ref); got.State != policy.StateNotFound {
				t.Fatalf("got %+v", got)
			}
			time.Sleep(10 * time.Second)
		}
		if w.singly() != 2 {
			t.Errorf("HSS was asked %d times in 40 s", w.singly())
		}
		rows := today(4)
		rows[3].LatestSyncTime = time.Now()
		w.set(rows...)
		time.Sleep(61 * time.Second)
		if got := i.Facts(t.Context(), ref); got.State != policy.StateFound {
			t.Errorf("got %+v", got)
		}
	}, synchronised)
}

func TestARowThatWasNotFoundAndShowsUpIsAskedForAtOnce(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(3)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		ref := reference(t, ofImage(3))
		i.Facts(t.Context(), ref)
		time.Sleep(59 * time.Second)
		rows := today(4)
		rows[3].LatestSyncTime = time.Now()
		w.set(rows...)
		time.Sleep(2 * time.Second)
		if got := i.Facts(t.Context(), ref); got.State != policy.StateFound {
			t.Errorf("got %+v", got)
		}
	}, synchronised, func(c *config.Configuration) { c.Cache.NotFoundFor = config.Duration(time.Hour) })
}

func TestADeletionShowsAfterTheNextWholeList(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(300)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(30 * time.Minute)
		w.remove(299)
		ref := reference(t, ofImage(299))
		if got, ok := i.Known(ref); !ok || got.State != policy.StateFound {
			t.Errorf("before it, known %v: %v", ok, got.State)
		}
		time.Sleep(31 * time.Minute)
		if got, ok := i.Known(ref); ok {
			t.Errorf("after it, it is known: %+v", got)
		}
		if got := i.Facts(t.Context(), ref); got.State != policy.StateNotFound || w.singly() != 1 {
			t.Errorf("after %d questions got %+v", w.singly(), got)
		}
	}, synchronised)
}

func TestAListThatIsCutChangesNothing(t *testing.T) {
	t.Parallel()
	w, seen := &world{rows: today(900)}, &notes{}
	watched(t, w, seen, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(50 * time.Minute)
		w.remove(800)
		w.mu.Lock()
		w.trouble = func(r hss.ListRequest) error {
			if r.Offset >= 600 {
				return &hss.Error{StatusCode: 500}
			}
			return nil
		}
		w.mu.Unlock()
		time.Sleep(15 * time.Minute)
		for n := range 900 {
			got, ok := i.Known(reference(t, ofImage(n)))
			if !ok || got.State != policy.StateFound || time.Since(got.AsOf) > 70*time.Second {
				t.Fatalf("image %d is known %v, as of %s", n, ok, got.AsOf)
			}
		}
		w.fail(nil)
		time.Sleep(20 * time.Minute)
		if _, ok := i.Known(reference(t, ofImage(800))); ok {
			t.Error("after a whole list a deleted image is vouched for")
		}
		if _, ok := i.Known(reference(t, ofImage(801))); !ok || w.singly() != 0 {
			t.Errorf("after a whole list another image isn't known; %d questions", w.singly())
		}
	}, synchronised)
	full := seen.only("synced bj4 full=true")
	if len(full) < 3 || full[0] != "synced bj4 full=true rows=900 failed=false" || full[1] != "synced bj4 full=true rows=600 failed=true" ||
		!slices.Contains(full[2:], "synced bj4 full=true rows=899 failed=false") {
		t.Errorf("%q", full)
	}
}

func TestAFirstListThatIsCutVouchesForNothing(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(900)}
	w.trouble = func(r hss.ListRequest) error {
		if r.Offset >= 600 {
			return &hss.Error{StatusCode: 403, Code: "HSS.0013"}
		}
		return nil
	}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(30 * time.Minute)
		for n := range 900 {
			if _, ok := i.Known(reference(t, ofImage(n))); ok {
				t.Fatalf("image %d is known", n)
			}
		}
		if w.listed() > 4*8 { // a refusal is not asked about again, and ever more seldom
			t.Errorf("%d pages were asked for", w.listed())
		}
		if got := i.Facts(t.Context(), reference(t, ofImage(899))); got.State != policy.StateFound {
			t.Errorf("got %+v", got)
		}
	}, synchronised)
}

func TestAShortHiccupDoesNotCutAList(t *testing.T) {
	t.Parallel()
	w, failures := &world{rows: today(900)}, 0
	w.trouble = func(r hss.ListRequest) error {
		if r.Offset == 400 && failures < 4 {
			failures++
			return &hss.Error{StatusCode: 502}
		}
		return nil
	}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(time.Minute)
		if _, ok := i.Known(reference(t, ofImage(899))); !ok || failures != 4 {
			t.Errorf("known %v after %d failures", ok, failures)
		}
	}, synchronised)
}

func TestRowsThatRepeatAndMissWhileAListChanges(t *testing.T) {
	t.Parallel()
	// After the first page of the first list, an image of it is deleted, so
	// that the second page misses one; and one of the end is scanned, so that
	// it would stand on the first page.
	w := &world{rows: today(450)}
	changed := false
	w.meanwhile = func(w *world, r hss.ListRequest) {
		if changed || r.Offset != 0 {
			return
		}
		changed = true
		rows := slices.Clone(w.rows)
		rows[10].LatestScanTime, rows[10].Severity = time.Now(), hss.SeverityHigh
		w.rows = slices.Delete(rows, 440, 441)
		w.total = 450
	}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		for n := range 450 {
			got := i.Facts(t.Context(), reference(t, ofImage(n)))
			want := policy.StateFound
			if n == 440 {
				want = policy.StateNotFound
			}
			if got.State != want || (n == 10 && got.Records[0].Severity != "High") {
				t.Errorf("image %d: %+v", n, got)
			}
		}
	}, synchronised)
}

func TestAListThatShowsFewerRowsThanThereAreOnlyConfirms(t *testing.T) {
	t.Parallel()
	w, seen := &world{rows: today(300)}, &notes{}
	watched(t, w, seen, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(30 * time.Minute)
		w.mu.Lock()
		w.total = 302
		w.mu.Unlock()
		rows := today(302)
		w.set(rows[1:301]...)
		time.Sleep(31 * time.Minute)
		for n, want := range map[int]bool{0: false, 1: true, 299: true, 300: false} {
			if _, ok := i.Known(reference(t, ofImage(n))); ok != want {
				t.Errorf("image %d is known: %v", n, ok)
			}
		}
	}, synchronised)
	if full := seen.only("synced bj4 full=true"); len(full) != 2 || full[1] != "synced bj4 full=true rows=300 failed=true" {
		t.Errorf("%q", full)
	}
}

func TestSeveralRowsOfOneImageStandTogether(t *testing.T) {
	t.Parallel()
	rows := today(500)
	shared := rows[499]
	shared.ID, shared.Type, shared.Severity, shared.LatestScanTime = "x", hss.ImageTypeShared, hss.SeverityHigh, time.Time{}
	nested := rows[498]
	nested.ID, nested.Name = "y", "team$app"
	slashed := rows[498]
	slashed.ID, slashed.Name = "z", "team/app"
	mixed := rows[498]
	mixed.ID, mixed.Name = "odd", "a/b$c"
	w := &world{rows: append(rows, shared, nested, slashed, mixed)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		got, ok := i.Known(reference(t, ofImage(499)))
		if !ok || len(got.Records) != 2 {
			t.Errorf("known %v: %+v", ok, got.Records)
		}
		if got, ok = i.Known(reference(t, "swr.example.com/prod/team/app:1")); !ok || len(got.Records) != 2 {
			t.Errorf("known %v: %+v", ok, got.Records)
		}
		if _, ok = i.Known(reference(t, "swr.example.com/prod/a/b/c:1")); ok {
			t.Error("a mixed spelling is taken for an image")
		}
		time.Sleep(20 * time.Minute)
		w.edit(500, func(r *hss.Image) { r.LatestScanTime, r.Severity = time.Now(), hss.SeverityLow })
		time.Sleep(61 * time.Second)
		got, ok = i.Known(reference(t, ofImage(499)))
		if !ok || len(got.Records) != 2 || got.Records[0].Severity != "Low" || got.Records[1].Severity != "Low" || w.singly() != 0 {
			t.Errorf("known %v: %+v", ok, got.Records)
		}
		if again := time.Since(got.AsOf); again > 70*time.Second {
			t.Errorf("it is %s old", again)
		}
	}, synchronised)
}

func TestImagesNamedByDigestAloneAreVouchedForUntilTheirRepositoryChanges(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(5)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		ref := reference(t, fmt.Sprintf("swr.example.com/prod/app-2@sha256:%064x", 3))
		i.Facts(t.Context(), ref)
		time.Sleep(20 * time.Minute)
		if _, ok := i.Known(ref); !ok || w.singly() != 1 {
			t.Errorf("known %v after %d questions", ok, w.singly())
		}
		w.edit(2, func(r *hss.Image) { r.LatestUpdateTime, r.Digest = time.Now(), digest("e") })
		time.Sleep(61 * time.Second)
		if got, ok := i.Known(ref); ok {
			t.Errorf("after its tag went to another digest it is known: %+v", got)
		}
		if got := i.Facts(t.Context(), ref); got.State != policy.StateNotFound {
			t.Errorf("got %+v", got)
		}
	}, synchronised)
}

func TestRowsWithoutAnIDAreSynchronisedByWhatTheySay(t *testing.T) {
	t.Parallel()
	rows := today(3)
	for n := range rows {
		rows[n].ID = ""
	}
	w := &world{rows: rows}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(125 * time.Minute) // three whole lists
		for n := range 3 {
			if got, ok := i.Known(reference(t, ofImage(n))); !ok || len(got.Records) != 1 {
				t.Errorf("image %d is known %v: %+v", n, ok, got.Records)
			}
		}
		w.edit(1, func(r *hss.Image) { r.LatestScanTime, r.Severity = time.Now(), hss.SeverityHigh })
		time.Sleep(61 * time.Second)
		// Which row changed can't be told. The image is in use, so HSS is asked
		// for it at once.
		if got, ok := i.Known(reference(t, ofImage(1))); !ok || len(got.Records) != 1 || got.Records[0].Severity != "High" || w.singly() != 1 {
			t.Errorf("known %v after %d questions: %+v", ok, w.singly(), got.Records)
		}
	}, synchronised)
}

func TestASeenChangeIsNoChangeTheNextTime(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(3)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(20 * time.Minute)
		w.edit(1, func(r *hss.Image) { r.LatestUpdateTime, r.ScanStatus = time.Now(), hss.ScanStatusScanning })
		w.edit(2, func(r *hss.Image) {
			r.LatestUpdateTime, r.ScanStatus, r.Digest = time.Now(), hss.ScanStatusScanning, digest("e")
		})
		time.Sleep(61 * time.Second)
		seen := i.Changes()
		time.Sleep(10 * time.Minute)
		if got := i.Changes(); seen != 2 || got != seen {
			t.Errorf("%d changes at once, and %d after ten more questions for them", seen, got)
		}
	}, synchronised)
}

func TestSynchronisingYieldsToAdmissions(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(5000), latency: time.Second}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		for n := range 8 { // the list takes 26 s
			if _, took := within(t, i, time.Minute, ofImage(n)); took > 2*time.Second {
				t.Errorf("an admission waited %s", took)
			}
		}
		time.Sleep(time.Minute)
		if _, ok := i.Known(reference(t, ofImage(4999))); !ok {
			t.Error("the list did not come through")
		}
	}, synchronised, func(c *config.Configuration) { c.Projects[0].MaxConcurrent = 1 })
}

func TestASynchronisationThatIsToldToWaitWaits(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(5)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(10 * time.Second)
		w.fail(&hss.Error{StatusCode: 429, RetryAfter: 5 * time.Minute})
		time.Sleep(55 * time.Second) // a poll was told to wait
		w.forget()
		w.fail(nil)
		time.Sleep(4*time.Minute + 30*time.Second)
		if w.listed() != 0 {
			t.Errorf("HSS was asked %d times while it should not be", w.listed())
		}
		time.Sleep(2 * time.Minute)
		if w.listed() == 0 {
			t.Error("it is not asked any more")
		}
	}, synchronised)
}

func TestAProjectBeyondTheCacheIsNotHalfKnown(t *testing.T) {
	t.Parallel()
	w, seen := &world{rows: today(1000)}, &notes{}
	watched(t, w, seen, func(t *testing.T, i *inventory.Inventory) {
		synctest.Wait()
		if s := i.Stats(); s.Images > 100 {
			t.Errorf("%+v", s)
		}
		for n := range 1000 {
			if got := i.Facts(t.Context(), reference(t, ofImage(n))); got.State != policy.StateFound || len(got.Records) != 1 {
				t.Fatalf("image %d: %+v", n, got)
			}
		}
	}, synchronised, func(c *config.Configuration) { c.Cache.MaxImages = 100 })
	if full := seen.only("synced bj4 full=true"); len(full) != 1 || full[0] != "synced bj4 full=true rows=1000 failed=true" {
		t.Errorf("%q", full)
	}
}

func TestAListThatNeverEndsIsGivenUp(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(200)}
	endless := &endlessWorld{w}
	synctest.Test(t, func(t *testing.T) {
		i, err := inventory.New(inventory.Options{Config: settings(synchronised), Clients: map[string]inventory.Lister{"bj4": endless}})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		ctx, cancel := contextFor(t, 10*time.Second)
		defer cancel()
		if err := i.Start(ctx); err != nil {
			t.Error(err)
		}
		if got := w.listed(); got > 4+3 { // the list, and what changed
			t.Errorf("%d pages were asked for", got)
		}
		if got, ok := i.Known(reference(t, ofImage(1))); ok {
			t.Errorf("got %+v", got)
		}
	})
}

func TestNewRefusesToSynchroniseWithAClientThatCannotPage(t *testing.T) {
	t.Parallel()
	_, err := inventory.New(inventory.Options{Config: settings(synchronised), Clients: map[string]inventory.Lister{"bj4": &fake{}}})
	want := `project "bj4" is to be synchronised, and its client *inventory_test.fake cannot list pages`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// altered is a world some of whose pages are not as they should be.
type altered struct {
	*world
	alter func(r hss.ListRequest, page *hss.ListResponse)
}

func (a *altered) List(ctx context.Context, r hss.ListRequest) (*hss.ListResponse, error) {
	page, err := a.world.List(ctx, r)
	if err == nil {
		a.alter(r, page)
	}
	return page, err
}

// isPoll reports whether a request is for what changed lately.
func isPoll(r *hss.ListRequest) bool {
	return !r.StartLatestScanTime.IsZero() || !r.StartLatestUpdateTime.IsZero() || !r.StartLatestSyncTime.IsZero()
}

func TestASynchronisationConfirmsNoRowThatIsInTwoStates(t *testing.T) {
	t.Parallel()
	both := func(page *hss.ListResponse, worseFirst bool) {
		n := slices.IndexFunc(page.Images, func(row hss.Image) bool { return row.Name == "app-7" })
		if n < 0 {
			return
		}
		states := []hss.Image{page.Images[n], page.Images[n]}
		states[0].Severity, states[1].Severity = hss.SeverityLow, hss.SeverityHigh
		if worseFirst {
			slices.Reverse(states)
		}
		page.Images = append(append(slices.Clone(page.Images[:n]), states...), page.Images[n+1:]...)
	}
	for name, ofPolls := range map[string]bool{"in a whole list": false, "in a list of changes": true} {
		for order, worseFirst := range map[string]bool{"the worse first": true, "the worse last": false} {
			t.Run(name+", "+order, func(t *testing.T) {
				t.Parallel()
				w := &world{rows: today(100)}
				client := &altered{w, func(r hss.ListRequest, page *hss.ListResponse) {
					if isPoll(&r) == ofPolls {
						both(page, worseFirst)
					}
				}}
				clients(t, client, nil, func(t *testing.T, i *inventory.Inventory) {
					time.Sleep(20 * time.Minute)
					w.edit(7, func(r *hss.Image) { r.LatestScanTime, r.Severity = time.Now(), hss.SeverityHigh })
					time.Sleep(61 * time.Second)
					for _, n := range []int{6, 8} {
						if _, ok := i.Known(reference(t, ofImage(n))); !ok {
							t.Errorf("image %d is not known", n)
						}
					}
					if got, ok := i.Known(reference(t, ofImage(7))); ok {
						t.Errorf("it is known: %+v", got.Records)
					}
					if got := i.Facts(t.Context(), reference(t, ofImage(7))); len(got.Records) != 1 || got.Records[0].Severity != "High" {
						t.Errorf("got %+v", got)
					}
				}, synchronised)
			})
		}
	}
}

func TestChangesOfWhichSomeAreMissingVouchForNothing(t *testing.T) {
	t.Parallel()
	w, seen := &world{rows: today(5)}, &lastSync{}
	client := &altered{w, func(r hss.ListRequest, page *hss.ListResponse) {
		if isPoll(&r) {
			page.Total++
		}
	}}
	clients(t, client, seen, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(10 * time.Minute)
		_, changes := seen.errs()
		if part, ok := errors.AsType[*hss.IncompleteListError](changes); !ok || part.Reason != "it shows 0 of 1 rows" {
			t.Errorf("the changes: %v", changes)
		}
		if got, ok := i.Known(reference(t, ofImage(1))); ok {
			t.Errorf("it is known as of %s", got.AsOf)
		}
	}, synchronised)
}
