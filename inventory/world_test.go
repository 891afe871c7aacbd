package inventory_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
)

// world is an HSS whose rows change, that filters, sorts and pages as
// documented and counts what it is asked.
type world struct {
	mu      sync.Mutex
	rows    []hss.Image
	asked   []hss.ListRequest
	latency time.Duration
	// trouble, if set, is called with each question and may fail it.
	trouble func(hss.ListRequest) error
	// meanwhile, if set, is called after each page was read.
	meanwhile func(w *world, r hss.ListRequest)
	// total, if set, is what the world takes for its number of rows.
	total    int
	underWay int
	most     int // calls at one time
}

var _ inventory.Pager = (*world)(nil)

// List returns one page.
func (w *world) List(ctx context.Context, r hss.ListRequest) (*hss.ListResponse, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := w.enter(ctx, r); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.underWay--
	var found []hss.Image
	for _, row := range w.rows {
		if matches(&row, &r) {
			found = append(found, row)
		}
	}
	if r.SortKey == hss.SortByLatestScanTime {
		slices.SortStableFunc(found, func(a, b hss.Image) int { return b.LatestScanTime.Compare(a.LatestScanTime) })
	}
	page := &hss.ListResponse{Total: max(w.total, len(found))}
	page.Images = slices.Clone(found[min(r.Offset, len(found)):min(r.Offset+r.Limit, len(found))])
	if w.meanwhile != nil {
		w.meanwhile(w, r)
	}
	return page, nil
}

// enter counts a question, and takes its time for it.
func (w *world) enter(ctx context.Context, r hss.ListRequest) error {
	w.mu.Lock()
	w.asked = append(w.asked, r)
	w.underWay++
	w.most = max(w.most, w.underWay)
	latency, trouble := w.latency, w.trouble
	w.mu.Unlock()
	var err error
	if latency > 0 {
		select {
		case <-time.After(latency):
		case <-ctx.Done():
			err = fmt.Errorf("asking: %w", ctx.Err())
		}
	}
	if err == nil && trouble != nil {
		err = trouble(r)
	}
	if err != nil {
		w.mu.Lock()
		w.underWay--
		w.mu.Unlock()
	}
	return err
}

func matches(row *hss.Image, r *hss.ListRequest) bool {
	same := func(want, is string) bool { return want == "" || want == is }
	from := func(start, at time.Time) bool { return start.IsZero() || (!at.IsZero() && !at.Before(start)) }
	return same(r.Namespace, row.Namespace) && same(r.ImageName, row.Name) && same(r.ImageVersion, row.Version) &&
		from(r.StartLatestScanTime, row.LatestScanTime) && from(r.StartLatestUpdateTime, row.LatestUpdateTime) &&
		from(r.StartLatestSyncTime, row.LatestSyncTime)
}

// All yields every row.
func (w *world) All(ctx context.Context, r hss.ListRequest) iter.Seq2[hss.Image, error] {
	return func(yield func(hss.Image, error) bool) {
		for {
			page, err := w.List(ctx, r)
			if err != nil {
				yield(hss.Image{}, err)
				return
			}
			for _, row := range page.Images {
				if !yield(row, nil) {
					return
				}
			}
			if r.Offset += len(page.Images); len(page.Images) < r.Limit {
				return // the real client asks for one more page
			}
		}
	}
}

func (w *world) set(rows ...hss.Image) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rows = rows
}

// fail has every question fail with err; nil: none.
func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble = func(hss.ListRequest) error { return err }
}

func (w *world) slow(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latency = d
}

// singly tells how often HSS was asked for one image alone, listed how often
// for a page of many.
func (w *world) singly() int {
	return w.count(func(r hss.ListRequest) bool { return r.ImageName != "" })
}
func (w *world) listed() int {
	return w.count(func(r hss.ListRequest) bool { return r.ImageName == "" })
}

func (w *world) count(what func(hss.ListRequest) bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, r := range w.asked {
		if what(r) {
			n++
		}
	}
	return n
}

// questions is what HSS was asked, in order.
func (w *world) questions() []hss.ListRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked)
}

// atOnce is how many questions were under way at one time at most.
func (w *world) atOnce() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.most
}

// forget forgets what was asked.
func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked, w.most = nil, 0
}

// images makes n rows, team-0/app:0 and so on.
func images(n int) []hss.Image {
	rows := make([]hss.Image, n)
	for i := range rows {
		rows[i] = row(func(r *hss.Image) {
			r.ID, r.Name, r.Version = fmt.Sprint(i+1), fmt.Sprintf("app-%d", i), "1"
			r.Digest = fmt.Sprintf("sha256:%064x", i+1)
			r.LatestScanTime = r.LatestScanTime.Add(time.Duration(i) * time.Second)
		})
	}
	return rows
}

// ofImage is the reference of a row of images.
func ofImage(n int) string { return fmt.Sprintf("swr.example.com/prod/app-%d:1", n) }

// live runs a test in a bubble with an inventory of one project that was
// started, and waits until nothing is under way any more.
func live(t *testing.T, w *world, test func(t *testing.T, i *inventory.Inventory), change ...func(*config.Configuration)) {
	t.Helper()
	watched(t, w, nil, test, change...)
}

// watched is live with an observer.
func watched(t *testing.T, w *world, o inventory.Observer, test func(t *testing.T, i *inventory.Inventory), change ...func(*config.Configuration)) {
	t.Helper()
	clients(t, w, o, test, change...)
}

// clients is watched with any client.
func clients(t *testing.T, client inventory.Lister, o inventory.Observer, test func(t *testing.T, i *inventory.Inventory), change ...func(*config.Configuration)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		i, err := inventory.New(inventory.Options{
			Config: settings(change...), Clients: map[string]inventory.Lister{"bj4": client}, Observer: o,
			Random: func() float64 { return 0.5 },
		})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- i.Start(context.WithoutCancel(t.Context())) }()
		defer func() {
			i.Close()
			if err := <-ended; err != nil {
				t.Errorf("Start ended with %v", err)
			}
		}()
		synctest.Wait()
		test(t, i)
	})
}

// synchronised switches the synchronisation on.
func synchronised(c *config.Configuration) { c.Projects[0].Sync.Enabled = true }

func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}

// shortStaleness bounds the age of what is used while HSS is down.
func shortStaleness(d time.Duration) func(*config.Configuration) {
	return func(c *config.Configuration) { c.Cache.MaxStaleness = config.Duration(d) }
}

// endlessWorld begins its list anew where it ends.
type endlessWorld struct{ *world }

func (w *endlessWorld) List(ctx context.Context, r hss.ListRequest) (*hss.ListResponse, error) {
	r.Offset = 0
	return w.world.List(ctx, r)
}
