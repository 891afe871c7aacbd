package inventory_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
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

func TestASynchronisedProjectCostsNoCallAnImage(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(500)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		begun := time.Now()
		for round := 0; time.Since(begun) < 2*time.Hour; round++ {
			for n := round % 25; n < 500; n += 25 {
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
		// Up to three whole lists of 3 pages and an empty one, and 3 questions a minute for what changed.
		if w.singly() != 0 || w.listed() > 3*4+3*124 {
			t.Errorf("HSS was asked %d times for one image and %d times for many", w.singly(), w.listed())
		}
		for _, r := range w.questions() { // without an order, pages miss rows
			if r.EnterpriseProjectID != hss.AllGrantedEnterpriseProjects || r.SortKey != hss.SortByLatestScanTime || r.SortDir != hss.SortDescending {
				t.Fatalf("HSS was asked %+v", r)
			}
		}
	}, synchronised)
}

func TestChangesAreSeenWithinAnInterval(t *testing.T) {
	t.Parallel()
	each(t, map[string]func(*hss.Image){
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
	}, func(t *testing.T, change func(*hss.Image)) {
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
			seen := i.Changes()
			if time.Sleep(10 * time.Minute); seen != 1 || i.Changes() != seen {
				t.Errorf("%d changes at once, and %d after ten more questions for them", seen, i.Changes())
			}
		}, synchronised)
	})
}

func TestARepushedTagIsAskedForSinglyAndNeverEvaluatedByItsPast(t *testing.T) {
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
		if got.State != policy.StateUnavailable || len(got.Records) != 2 || got.Records[1].Digest != digest("e") {
			t.Errorf("while HSS is down: %+v", got)
		}
		w.fail(nil)
		time.Sleep(3 * time.Second)
		if got = i.Facts(t.Context(), ref); len(got.Records) != 1 || got.Records[0].Digest != digest("e") || w.singly() != 2 {
			t.Errorf("after %d questions: %+v", w.singly(), got)
		}
	}, synchronised)
}

func TestARowThatWasNotFoundAndShowsUpIsAskedForAtOnce(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(3)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		i.Facts(t.Context(), reference(t, ofImage(3)))
		time.Sleep(59 * time.Second)
		rows := today(4)
		rows[3].LatestSyncTime = time.Now()
		w.set(rows...)
		time.Sleep(2 * time.Second)
		wantState(t, i, 3, policy.StateFound)
	}, synchronised, func(c *config.Configuration) { c.Cache.NotFoundFor = time.Hour })
}

func TestAListThatIsCutChangesNothing(t *testing.T) {
	t.Parallel()
	w, seen := &world{rows: today(900)}, &notes{}
	clients(t, w, inventory.Options{Observer: seen}, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(50 * time.Minute)
		w.set(slices.Delete(today(900), 800, 801)...)
		w.failIf(func(r hss.ListRequest) error {
			if r.Offset >= 600 {
				return &hss.Error{StatusCode: 500}
			}
			return nil
		})
		time.Sleep(15 * time.Minute)
		for n := range 900 {
			got, ok := i.Known(reference(t, ofImage(n)))
			if !ok || got.State != policy.StateFound || time.Since(got.AsOf) > 70*time.Second {
				t.Fatalf("image %d is known %v, as of %s", n, ok, got.AsOf)
			}
		}
		w.fail(nil)
		time.Sleep(20 * time.Minute)
		wantKnown(t, i, false, 800)
		wantKnown(t, i, true, 801)
		if got := i.Facts(t.Context(), reference(t, ofImage(800))); got.State != policy.StateNotFound || w.singly() != 1 {
			t.Errorf("what was deleted is %v after %d questions", got.State, w.singly())
		}
	}, synchronised)
	full := seen.only("synced bj4 full=true")
	if len(full) < 3 || full[0] != "synced bj4 full=true rows=900 failed=false" || full[1] != "synced bj4 full=true rows=600 failed=true" ||
		!slices.Contains(full[2:], "synced bj4 full=true rows=899 failed=false") {
		t.Errorf("%q", full)
	}
}

// hours is an observer that notes at which hours everything was listed.
type hours struct {
	notes
	begun time.Time
	full  []int
}

func (h *hours) Synced(_ string, full bool, _ int, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.begun.IsZero() {
		h.begun = time.Now()
	}
	if full {
		h.full = append(h.full, int(time.Since(h.begun).Round(time.Minute)/time.Hour))
	}
}

func TestEverythingIsListedLessOftenAsLongAsListsOfChangesMissNothing(t *testing.T) {
	t.Parallel()
	type testCase struct {
		change       func(w *world) // in the tenth hour
		maxStaleness time.Duration
		want         []int
	}
	const day = 24 * time.Hour
	less, again := []int{0, 1, 3, 7, 15, 27, 39}, []int{0, 1, 3, 7, 15, 16, 18, 22, 30}
	edit := func(change func(r *hss.Image)) func(w *world) { return func(w *world) { w.edit(7, change) } }
	rows := func(change func([]hss.Image) []hss.Image) func(w *world) {
		return func(w *world) { w.set(change(slices.Clone(w.rows))...) }
	}
	// during has something happen before the next whole list is answered.
	during := func(do func(w *world) error) func(w *world) {
		return func(w *world) {
			w.failIf(func(r hss.ListRequest) error {
				if isPoll(&r) {
					return nil
				}
				w.fail(nil)
				return do(w)
			})
		}
	}
	scanned := func(r *hss.Image) { r.Severity, r.LatestScanTime = hss.SeverityHigh, time.Now() }
	each(t, map[string]testCase{
		"nothing changes":                         {edit(func(*hss.Image) {}), day, less},
		"results of less than a day may be used":  {edit(func(*hss.Image) {}), day / 4, []int{0, 1, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39}},
		"a change that lists of changes show":     {edit(scanned), day, less},
		"a change while everything is listed":     {during(func(w *world) error { w.edit(7, scanned); return nil }), day, less},
		"a new image":                             {rows(func(rows []hss.Image) []hss.Image { return append(rows, today(51)[50]) }), day, less},
		"a change that has no time":               {edit(func(r *hss.Image) { r.Severity = hss.SeverityHigh }), day, again},
		"an image that was deleted":               {rows(func(rows []hss.Image) []hss.Image { return slices.Delete(rows, 48, 49) }), day, again},
		"one of the rows of an image was deleted": {rows(func(rows []hss.Image) []hss.Image { return rows[:50] }), day, again},
		"a whole list that fails":                 {during(func(*world) error { return &hss.Error{StatusCode: 500} }), day, []int{0, 1, 3, 7, 15, 15, 16, 18, 22, 30}},
	}, func(t *testing.T, tt testCase) {
		w, seen := &world{rows: append(today(50), today(50)[49])}, &hours{}
		w.edit(50, func(r *hss.Image) { r.ID, r.Type = "x", hss.ImageTypeShared })
		clients(t, w, inventory.Options{Observer: seen}, func(t *testing.T, i *inventory.Inventory) {
			time.Sleep(10*time.Hour - 30*time.Second)
			tt.change(w)
			time.Sleep(time.Hour)
			wantKnown(t, i, true, upTo(49)...)
			time.Sleep(28*time.Hour + time.Minute)
			got := i.Facts(t.Context(), reference(t, ofImage(7)))
			w.answer(func(w *world) { wantEqual(t, "severity", string(w.rows[7].Severity), string(got.Records[0].Severity)) })
			seen.mu.Lock()
			defer seen.mu.Unlock()
			wantEqual(t, "hours of whole lists", tt.want, seen.full)
		}, synchronised, shortStaleness(tt.maxStaleness), func(c *config.Configuration) { c.Projects[0].SyncInterval *= 4 })
	})
}

func TestRowsThatAreScannedWhileEverythingIsListedAreNotMissing(t *testing.T) {
	t.Parallel()
	w, seen := &world{rows: today(900)}, &notes{}
	w.failIf(func(r hss.ListRequest) error {
		if n := r.Offset / 4; !isPoll(&r) && r.Offset > 0 { // one that is not read yet
			w.edit(n, func(r *hss.Image) { r.LatestScanTime = time.Now() })
		}
		return nil
	})
	clients(t, w, inventory.Options{Observer: seen}, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(time.Minute)
		wantKnown(t, i, true, upTo(900)...)
		wantEqual(t, "whole lists", []string{"synced bj4 full=true rows=900 failed=false"}, seen.only("synced bj4 full=true"))
		wantCalls(t, w.singly(), 0)
	}, synchronised)
}

func TestSeveralRowsOfOneImageStandTogether(t *testing.T) {
	t.Parallel()
	rows := today(500)
	another := func(of int, change func(*hss.Image)) {
		r := rows[of]
		change(&r)
		rows = append(rows, r)
	}
	another(499, func(r *hss.Image) {
		r.ID, r.Type, r.Severity, r.LatestScanTime = "x", hss.ImageTypeShared, hss.SeverityHigh, time.Time{}
	})
	another(498, func(r *hss.Image) { r.ID, r.Name = "y", "team$app" })
	another(498, func(r *hss.Image) { r.ID, r.Name = "z", "team/app" })
	another(498, func(r *hss.Image) { r.ID, r.Name = "odd", "a/b$c" })
	w := &world{rows: rows}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		for ref, want := range map[string]int{ofImage(499): 2, "swr.example.com/prod/team/app:1": 2, "swr.example.com/prod/a/b/c:1": 0} {
			if got, ok := i.Known(reference(t, ref)); ok != (want > 0) || len(got.Records) != want {
				t.Errorf("%s: known %v: %+v", ref, ok, got.Records)
			}
		}
		time.Sleep(20 * time.Minute)
		w.edit(500, func(r *hss.Image) { r.LatestScanTime, r.Severity = time.Now(), hss.SeverityLow })
		time.Sleep(61 * time.Second)
		got, ok := i.Known(reference(t, ofImage(499)))
		if !ok || len(got.Records) != 2 || got.Records[0].Severity != "Low" || got.Records[1].Severity != "Low" || w.singly() != 0 {
			t.Errorf("known %v: %+v", ok, got.Records)
		}
		if again := time.Since(got.AsOf); again > 70*time.Second {
			t.Errorf("it is %s old", again)
		}
	}, synchronised)
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
	for name, ofPolls := range map[string]bool{"in a whole list": false, "in a list of changes": true} {
		for _, severities := range [][]hss.Severity{{hss.SeverityLow, hss.SeverityHigh}, {hss.SeverityHigh, hss.SeverityLow}} {
			t.Run(fmt.Sprint(name, severities), func(t *testing.T) {
				t.Parallel()
				w := &world{rows: today(100)}
				client := &altered{w, func(r hss.ListRequest, page *hss.ListResponse) {
					if n := slices.IndexFunc(page.Images, func(row hss.Image) bool { return row.Name == "app-7" }); n >= 0 && isPoll(&r) == ofPolls {
						page.Images = slices.Insert(page.Images, n, page.Images[n])
						page.Images[n].Severity, page.Images[n+1].Severity = severities[0], severities[1]
					}
				}}
				clients(t, client, inventory.Options{}, func(t *testing.T, i *inventory.Inventory) {
					time.Sleep(20 * time.Minute)
					w.edit(7, func(r *hss.Image) { r.LatestScanTime, r.Severity = time.Now(), hss.SeverityHigh })
					time.Sleep(61 * time.Second)
					wantKnown(t, i, true, 6, 8)
					wantKnown(t, i, false, 7)
					if got := i.Facts(t.Context(), reference(t, ofImage(7))); len(got.Records) != 1 || got.Records[0].Severity != "High" {
						t.Errorf("got %+v", got)
					}
				}, synchronised)
			})
		}
	}
}

func TestAListThatIsNotReadInFullConfirmsNothing(t *testing.T) {
	t.Parallel()
	type testCase struct {
		// spoil spoils every list, poll what a list of changes shows.
		spoil func(w *world)
		poll  func(page *hss.ListResponse)
		why   string
	}
	each(t, map[string]testCase{
		"it is cut, and refused": {func(w *world) {
			w.trouble = func(r hss.ListRequest) error {
				if r.Offset >= 600 {
					return &hss.Error{StatusCode: 403, Code: "HSS.0013"}
				}
				return nil
			}
		}, nil, "rows from 600 on: HSS answered 403 HSS.0013"},
		"it shows fewer rows than there are": {func(w *world) { w.total = 902 }, nil, "HSS's list is incomplete: it shows 900 of 902 rows"},
		"a row may be of any image":          {func(w *world) { efface(&w.rows[3]) }, nil, "the list confirms nothing: " + effacedApp},
		"some changes are missing":           {nil, func(page *hss.ListResponse) { page.Total++ }, "it shows 0 of 1 rows"},
		"a change may be of any image": {nil, func(page *hss.ListResponse) {
			page.Total, page.Images = 1, make([]hss.Image, 1)
			efface(&page.Images[0])
		}, effacedApp},
	}, func(t *testing.T, tt testCase) {
		w, seen := &world{rows: today(900)}, &notes{}
		if tt.spoil != nil {
			tt.spoil(w)
		}
		client := &altered{w, func(r hss.ListRequest, page *hss.ListResponse) {
			if tt.poll != nil && isPoll(&r) && r.Offset == 0 {
				tt.poll(page)
			}
		}}
		clients(t, client, inventory.Options{Observer: seen}, func(t *testing.T, i *inventory.Inventory) {
			time.Sleep(30 * time.Minute)
			wantKnown(t, i, false, upTo(900)...)
			full, changes := seen.errs()
			if err := cmp.Or(full, changes); (full == nil) != (tt.spoil == nil) || err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("the list: %v; the changes: %v", full, changes)
			}
			if w.listed() > 6+3*31 { // a refusal is not asked about again, and ever more seldom
				t.Errorf("%d pages were asked for", w.listed())
			}
			wantState(t, i, 899, policy.StateFound)
		}, synchronised)
	})
}

func TestAListWithARowThatCannotBeReadSpeaksForTheOthers(t *testing.T) {
	t.Parallel()
	w, seen := &world{rows: today(300)}, &notes{}
	w.edit(7, spoil)
	clients(t, w, inventory.Options{Observer: seen}, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(time.Minute)
		full, changes := seen.errs()
		if changes != nil || full == nil || full.Error() != `rows that cannot be read say nothing of their images, such as this: HSS's row for prod/app-7:1 cannot be read: latest_scan_time is "-"` {
			t.Errorf("the list: %v; the changes: %v", full, changes)
		}
		wantKnown(t, i, false, 7)
		wantKnown(t, i, true, slices.Delete(upTo(300), 7, 8)...)
		wantState(t, i, 7, policy.StateUnavailable)
		wantEqual(t, "breaker", gobreaker.StateClosed, state(i))
		w.edit(7, func(r *hss.Image) { *r = today(8)[7] })
		time.Sleep(time.Minute)
		wantState(t, i, 7, policy.StateFound)
	}, synchronised)
}

func TestAChangeThatCannotBeReadIsNotEvaluatedByThePast(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(5)}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(10 * time.Minute)
		w.edit(3, func(r *hss.Image) {
			spoil(r)
			r.LatestSyncTime = time.Now()
		})
		time.Sleep(61 * time.Second)
		wantKnown(t, i, true, 0, 1, 2, 4)
		wantState(t, i, 3, policy.StateUnavailable)
		wantCalls(t, w.singly(), 1)
	}, synchronised)
}

// oracle changes a world at random and remembers all it ever was, so that it can tell what an answer should be by looking, without any cache.
type oracle struct {
	w      *world
	random *rand.Rand
	past   []moment
	lastID int
	// unwell is when HSS was last seen to be so.
	unwell time.Time
	// deletes says that rows are deleted, too.
	deletes bool
	// text is one of each row.
	text string
}

// moment is what the world was from a time on.
type moment struct {
	from time.Time
	rows []hss.Image
}

func newOracle(seed uint64, text string) *oracle {
	o := &oracle{w: &world{}, random: rand.New(rand.NewPCG(seed, 7)), text: text}
	for range 12 {
		o.push()
	}
	return o
}

// commit makes rows what the world is from now on.
func (o *oracle) commit(rows []hss.Image) {
	o.w.set(rows...)
	o.past = append(o.past, moment{time.Now(), rows})
}

func (o *oracle) rows() []hss.Image {
	if len(o.past) == 0 {
		return nil
	}
	return slices.Clone(o.past[len(o.past)-1].rows)
}

func (o *oracle) digest() string { return fmt.Sprintf("sha256:%064x", o.random.IntN(9)+1) }

// push adds an image, or a second row of one that is there.
func (o *oracle) push() {
	o.lastID++
	now := time.Now().Truncate(time.Millisecond)
	r := row(func(r *hss.Image) {
		r.ID, r.Digest, r.ScanFailedDescription = fmt.Sprint(o.lastID), o.digest(), o.text
		r.Name, r.Version = o.name(), o.version()
		r.ScanStatus, r.Severity, r.Vulnerabilities = hss.ScanStatusUnscan, "", nil
		r.LatestScanTime, r.LatestUpdateTime, r.LatestSyncTime = time.Time{}, now, now
	})
	if o.random.IntN(4) == 0 {
		r.Type = hss.ImageTypeShared
	}
	o.commit(append(o.rows(), r))
}

func (o *oracle) name() string    { return fmt.Sprintf("app-%d", o.random.IntN(6)) }
func (o *oracle) version() string { return fmt.Sprint(o.random.IntN(3)) }

// step changes something, as HSS would: all but a deletion and the begin of a scan shows in one of the times.
func (o *oracle) step() {
	rows := o.rows()
	if len(rows) == 0 {
		o.push()
		return
	}
	r, now := &rows[o.random.IntN(len(rows))], time.Now().Truncate(time.Millisecond)
	switch what := o.random.IntN(8); {
	case what == 0:
		o.push()
		return
	case what == 1 && o.deletes:
		rows = slices.Delete(rows, 0, 1)
	case what <= 2: // the tag goes to another image, which HSS learns of when it syncs
		r.Digest, r.ScanStatus, r.Severity, r.Vulnerabilities = o.digest(), hss.ScanStatusUnscan, "", nil
		r.LatestUpdateTime, r.LatestSyncTime = now.Add(-time.Duration(o.random.IntN(100))*time.Hour), now
	case what == 3:
		r.ScanStatus, r.LatestScanTime = hss.ScanStatusFailed, now
	default:
		r.ScanStatus, r.LatestScanTime = hss.ScanStatusSuccess, now
		r.Severity = []hss.Severity{hss.SeveritySecurity, hss.SeverityLow, hss.SeverityMedium, hss.SeverityHigh}[o.random.IntN(4)]
		r.Vulnerabilities = new(o.random.IntN(50))
	}
	o.commit(rows)
}

// question is a random reference: by tag, by digest, or both.
func (o *oracle) question() image.Reference {
	r := image.Reference{Host: "swr.example.com", Path: "prod/" + o.name(), Tag: o.version()}
	switch o.random.IntN(4) {
	case 0:
		r.Digest = o.digest()
	case 1:
		r.Tag, r.Digest = "", o.digest()
	}
	return r
}

// answerIn is what a look into rows says: each record's parts that matter.
func answerIn(rows []hss.Image, ref image.Reference) (records []string) {
	for i := range rows {
		r := &rows[i]
		if "prod/"+r.Name == ref.Path && (ref.Tag == "" || r.Version == ref.Tag) && (ref.Digest == "" || r.Digest == ref.Digest) {
			records = append(records, describe(r.ID, r.Digest, r.ScanStatus, r.Severity, r.Vulnerabilities, r.LatestScanTime))
		}
	}
	slices.Sort(records)
	return records
}

func answerOf(f policy.Facts) (records []string) {
	for _, r := range f.Records {
		records = append(records, describe(r.ID, r.Digest, r.Scan.Status, r.Severity, r.Scan.Vulnerabilities, r.ScannedAt))
	}
	slices.Sort(records)
	return records
}

func describe(id, digest string, status, severity any, vulnerabilities *int, scanned time.Time) string {
	found := -1
	if vulnerabilities != nil {
		found = *vulnerabilities
	}
	return fmt.Sprint(id, " ", digest, " ", status, severity, found, scanned.UnixMilli())
}

// was tells whether the world gave an answer at any time between two.
func (o *oracle) was(ref image.Reference, want []string, from, to time.Time) bool {
	for i, m := range o.past {
		ended := i+1 < len(o.past) && !o.past[i+1].from.After(from)
		if !ended && !m.from.After(to) && slices.Equal(answerIn(m.rows, ref), want) {
			return true
		}
	}
	return false
}

// wasLess tells whether an answer holds every row of a time since it claims to be of, and nothing but what was true of a row then or later, or up to
// lag before. So it may be while HSS is unreachable, after some changes were seen and others not, and after deletions.
func (o *oracle) wasLess(ref image.Reference, records []string, asOf time.Time, lag time.Duration, now time.Time) bool {
	id := func(record string) string { return strings.Fields(record)[0] }
	less, seen := false, map[string]bool{}
	for i, m := range o.past {
		ended := now
		if i+1 < len(o.past) {
			ended = o.past[i+1].from
		}
		if ended.Before(asOf.Add(-lag)) || m.from.After(now) {
			continue
		}
		is := answerIn(m.rows, ref)
		for _, r := range is {
			seen[r] = true
		}
		whole := !slices.ContainsFunc(is, func(r string) bool {
			return !slices.ContainsFunc(records, func(o string) bool { return id(o) == id(r) })
		})
		less = less || (whole && !ended.Before(asOf))
	}
	return less && !slices.ContainsFunc(records, func(r string) bool { return !seen[r] })
}

// check asks and evaluates the answer: it must be what the world said at the time that it claims to be of, and be as fresh as it should.
func (o *oracle) check(t *testing.T, i *inventory.Inventory, lag time.Duration) {
	ref := o.question()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	got, now := i.Facts(ctx, ref), time.Now()
	if got.State == policy.StateUnavailable {
		// Up to a minute is a pause that began while HSS was not well.
		if !o.well() {
			o.unwell = now
		}
		if now.Sub(o.unwell) > 90*time.Second {
			t.Errorf("%s: unavailable, though HSS is well: %s", ref, got.Reason)
		}
		return
	}
	if (got.State == policy.StateFound) != (len(got.Records) > 0) {
		t.Errorf("%s: %+v", ref, got)
	}
	age := now.Sub(got.AsOf)
	if most := map[bool]time.Duration{true: 2 * time.Hour, false: 5*time.Minute + 5*time.Second}[got.Stale]; age > most {
		t.Errorf("%s: it is %s old (stale: %v)", ref, age, got.Stale)
	}
	records := answerOf(got)
	if !o.was(ref, records, got.AsOf, now) && ((lag == 0 && !got.Stale) || !o.wasLess(ref, records, got.AsOf, lag, now)) {
		t.Errorf("%s: at %s got, as of %s, what HSS never said then (stale: %v):\n%q\nit says\n%q",
			ref, now, got.AsOf, got.Stale, answerOf(got), answerIn(o.rows(), ref))
	}
}

func (o *oracle) well() bool {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	return o.w.trouble == nil
}

// weather changes how well HSS is.
func (o *oracle) weather() {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	o.w.latency = time.Duration(o.random.IntN(3)) * 300 * time.Millisecond
	if o.w.trouble != nil {
		o.unwell = time.Now()
	}
	err := []error{&hss.Error{StatusCode: 503}, &hss.Error{StatusCode: 429, RetryAfter: 20 * time.Second}, fmt.Errorf("reset")}[o.random.IntN(3)]
	o.w.trouble = nil
	if o.random.IntN(4) > 2 {
		o.w.trouble = func(hss.ListRequest) error { return err }
	}
}

func TestNoAnswerIsEverWrong(t *testing.T) {
	t.Parallel()
	type changes []func(*config.Configuration)
	small := func(c *config.Configuration) { c.Cache.MaxBytes = 1 << 20 }
	for name, test := range map[string]struct {
		change changes
		// lag is how much older than it says an answer may be: a synchronisation learns of deletions only from whole lists.
		lag     time.Duration
		deletes bool
		// text is how long a text of each row is, to fill the cache.
		text int
		// most bounds the calls at one time; 0: the default.
		most int
	}{
		"asked singly":                     {nil, 0, true, 0, 0},
		"asked singly, in a small cache":   {changes{small}, 0, true, 60_000, 0},
		"synchronised":                     {changes{synchronised}, 0, false, 0, 0},
		"synchronised, in a small cache":   {changes{synchronised, small}, 0, false, 60_000, 0},
		"synchronised, one call at a time": {changes{synchronised}, 0, false, 0, 1},
		"synchronised, with deletions":     {changes{synchronised}, 2*time.Hour + time.Minute, true, 0, 0},
	} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				t.Parallel()
				change := append(slices.Clone(test.change), shortStaleness(2*time.Hour))
				o := &oracle{}
				synctest.Test(t, func(t *testing.T) { *o = *newOracle(seed, strings.Repeat("x", test.text)) })
				o.deletes = test.deletes
				clients(t, o.w, inventory.Options{MaxConcurrent: test.most}, func(t *testing.T, i *inventory.Inventory) {
					o.live(t, i, test.lag)
				}, change...)
			})
		}
	}
}

// live lets some hours pass.
func (o *oracle) live(t *testing.T, i *inventory.Inventory, lag time.Duration) {
	o.commit(o.rows())
	for range 2500 {
		time.Sleep(time.Duration(o.random.IntN(10_000)) * time.Millisecond)
		switch at := o.random.IntN(100); {
		case at < 3:
			o.step()
		case at < 4:
			o.weather()
		default:
			o.check(t, i, lag)
		}
	}
}
