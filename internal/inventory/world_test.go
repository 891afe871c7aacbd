package inventory_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
)

// world is an HSS whose rows change, that filters, sorts and pages as documented and counts what it is asked.
type world struct {
	*hss.Client // nil: it has the methods that no test calls

	mu      sync.Mutex
	rows    []hss.Image
	asked   []hss.ListRequest
	latency time.Duration
	// trouble, if set, is called with each question and may fail it.
	trouble func(hss.ListRequest) error
	loose   bool  // ignores every filter, as HSS may
	cut     error // after the last row
	// total, if set, is what the world takes for its number of rows.
	total    int
	underWay int
	most     int // calls at one time

	// found are the vulnerabilities, by images' IDs, requests those for them.
	found     map[string][]hss.Vulnerability
	requests  []hss.VulnerabilityRequest
	listDelay time.Duration
	listError error
	endless   bool
}

// Vulnerabilities yields those of one image.
func (w *world) Vulnerabilities(ctx context.Context, r hss.VulnerabilityRequest) iter.Seq2[hss.Vulnerability, error] {
	return func(yield func(hss.Vulnerability, error) bool) {
		w.mu.Lock()
		w.requests = append(w.requests, r)
		rows, delay, err, endless := w.found[r.ImageID], w.listDelay, w.listError, w.endless
		w.mu.Unlock()
		if _, invalid := r.Query(); invalid != nil {
			err = invalid
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			err = fmt.Errorf("asking: %w", ctx.Err())
		}
		if err != nil {
			yield(hss.Vulnerability{}, err)
			return
		}
		for n := 0; endless || n < len(rows); n++ {
			if !yield(rows[n%len(rows)], nil) {
				return
			}
		}
	}
}

// answer changes how the world answers from now on.
func (w *world) answer(change func(w *world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

func (w *world) lists() (requests []hss.VulnerabilityRequest) {
	w.answer(func(w *world) { requests = slices.Clone(w.requests) })
	return requests
}

// List returns one page.
func (w *world) List(ctx context.Context, r hss.ListRequest) (*hss.ListResponse, error) {
	if _, err := r.Query(); err != nil {
		return nil, err
	}
	if err := w.enter(ctx, r); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []hss.Image
	for n := range w.rows {
		if w.loose || matches(&w.rows[n], &r) {
			found = append(found, w.rows[n])
		}
	}
	if r.SortKey == hss.SortByLatestScanTime {
		slices.SortStableFunc(found, func(a, b hss.Image) int { return b.LatestScanTime.Compare(a.LatestScanTime) })
	}
	page := &hss.ListResponse{Total: max(w.total, len(found))}
	page.Images = slices.Clone(found[min(r.Offset, len(found)):min(r.Offset+r.Limit, len(found))])
	return page, nil
}

// enter counts a question, and takes its time for it.
func (w *world) enter(ctx context.Context, r hss.ListRequest) error {
	var latency time.Duration
	var trouble func(hss.ListRequest) error
	w.answer(func(w *world) {
		w.asked = append(w.asked, r)
		w.underWay++
		w.most = max(w.most, w.underWay)
		latency, trouble = w.latency, w.trouble
	})
	defer w.answer(func(w *world) { w.underWay-- })
	if latency > 0 {
		select {
		case <-time.After(latency):
		case <-ctx.Done():
			return fmt.Errorf("asking: %w", ctx.Err())
		}
	}
	if trouble != nil {
		return trouble(r)
	}
	return nil
}

func matches(row *hss.Image, r *hss.ListRequest) bool {
	if r.ImageName != "" && r.ImageName != row.Name { // of most rows: thousands of look-ups pass thousands
		return false
	}
	same := func(want, is string) bool { return want == "" || want == is }
	from := func(start, at time.Time) bool { return start.IsZero() || (!at.IsZero() && !at.Before(start)) }
	return same(r.Namespace, row.Namespace) && same(r.ImageVersion, row.Version) &&
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
			if r.Offset += len(page.Images); len(page.Images) < r.Limit { // the real client asks for one more page
				var cut error
				if w.answer(func(w *world) { cut = w.cut }); cut != nil {
					yield(hss.Image{}, cut)
				}
				return
			}
		}
	}
}

func (w *world) set(rows ...hss.Image) { w.cutOff(nil, rows...) }

// cutOff has every list break off after its last row.
func (w *world) cutOff(err error, rows ...hss.Image) {
	w.answer(func(w *world) { w.rows, w.cut = rows, err })
}

// fail has every question fail with err; nil: none.
func (w *world) fail(err error) { w.failIf(func(hss.ListRequest) error { return err }) }

func (w *world) failIf(trouble func(hss.ListRequest) error) {
	w.answer(func(w *world) { w.trouble = trouble })
}

func (w *world) slow(d time.Duration) { w.answer(func(w *world) { w.latency = d }) }

// forget forgets what was asked.
func (w *world) forget() { w.answer(func(w *world) { w.asked, w.most = nil, 0 }) }

func (w *world) calls() int { return len(w.questions()) }

// singly tells how often HSS was asked for one image alone, listed how often for a page of many.
func (w *world) singly() (n int) {
	for _, r := range w.questions() {
		if r.ImageName != "" {
			n++
		}
	}
	return n
}
func (w *world) listed() int { return w.calls() - w.singly() }

// questions is what HSS was asked, in order.
func (w *world) questions() (asked []hss.ListRequest) {
	w.answer(func(w *world) { asked = slices.Clone(w.asked) })
	return asked
}

// atOnce is how many questions were under way at one time at most.
func (w *world) atOnce() (most int) {
	w.answer(func(w *world) { most = w.most })
	return most
}

// edit changes the row of one image.
func (w *world) edit(n int, change func(*hss.Image)) {
	w.answer(func(w *world) {
		w.rows = slices.Clone(w.rows)
		change(&w.rows[n])
	})
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

// upTo are the numbers of n images.
func upTo(n int) (numbers []int) {
	for i := range n {
		numbers = append(numbers, i)
	}
	return numbers
}

// wantKnown checks whether images are known without a call of HSS.
func wantKnown(t *testing.T, i *inventory.Inventory, want bool, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		if got, ok := i.Known(reference(t, ofImage(n))); ok != want {
			t.Fatalf("image %d is known: %t, as of %s: %+v", n, ok, got.AsOf, got.Records)
		}
	}
}

// wantState looks an image up, and checks its state.
func wantState(t *testing.T, i *inventory.Inventory, n int, want policy.State) {
	t.Helper()
	if got, _ := within(t, i, time.Minute, ofImage(n)); got.State != want {
		t.Errorf("image %d is %v: %s, want %v", n, got.State, got.Reason, want)
	}
}

// wantCalls checks how often HSS was called.
func wantCalls(t *testing.T, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("HSS was called %d times, want %d", got, want)
	}
}

// open makes an inventory that calls client, until the test ends.
func open(tb testing.TB, client inventory.Lister, o inventory.Options) *inventory.Inventory {
	tb.Helper()
	o.Config = cmp.Or(o.Config, settings())
	o.Clients = map[string]inventory.Lister{}
	for n := range o.Config.Projects {
		o.Clients[o.Config.Projects[n].Name] = client
	}
	i, err := inventory.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(i.Close)
	return i
}

// live runs a test in a bubble with an inventory of one project that was started, and waits until nothing is under way any more.
func live(t *testing.T, w *world, test func(t *testing.T, i *inventory.Inventory), change ...func(*config.Configuration)) {
	t.Helper()
	clients(t, w, inventory.Options{}, test, change...)
}

// clients is live with any client and options.
func clients(t *testing.T, client inventory.Lister, o inventory.Options, test func(t *testing.T, i *inventory.Inventory), change ...func(*config.Configuration)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.Config, o.Random = settings(change...), func() float64 { return 0.5 }
		i := open(t, client, o)
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
func synchronised(c *config.Configuration) { c.Projects[0].SyncInterval = time.Minute }

// shortStaleness bounds the age of what is used while HSS is down.
func shortStaleness(d time.Duration) func(*config.Configuration) {
	return func(c *config.Configuration) { c.Cache.MaxStaleness = d }
}

// each runs a test for each case, in parallel.
func each[C any](t *testing.T, cases map[string]C, test func(t *testing.T, c C)) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// row is a scanned row of swr.example.com/prod/app:1, changed as told.
func row(change ...func(*hss.Image)) hss.Image {
	r := hss.Image{
		ID: "1", Namespace: "prod", Name: "app", Version: "1", Digest: digest("a"),
		Type: hss.ImageTypePrivate, RegistryType: hss.RegistryTypeSWRPrivate,
		ScanStatus: hss.ScanStatusSuccess, Severity: hss.SeverityLow,
		Vulnerabilities: new(3), LatestScanTime: time.Unix(1000, 0),
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func settings(change ...func(*config.Configuration)) *config.Configuration {
	c, err := config.Parse("test.yaml", []byte(`
apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects: [{name: bj4, region: cn-north-4}]
registries: [{name: swr, hosts: [swr.example.com]}]
`))
	if err != nil {
		panic(err)
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// newInventory makes an inventory whose projects are all answered by f.
func newInventory(tb testing.TB, f *world, change ...func(*config.Configuration)) (*inventory.Inventory, *clocktesting.FakeClock) {
	tb.Helper()
	clock := clocktesting.NewFakeClock(time.Unix(100_000, 0))
	return open(tb, f, inventory.Options{Config: settings(change...), Clock: clock, Explained: true}), clock
}

func reference(tb testing.TB, s string) image.Reference {
	tb.Helper()
	r, err := image.Parse(s)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func ids(f policy.Facts) string {
	var ids []string
	for _, r := range f.Records {
		ids = append(ids, r.ID)
	}
	return strings.Join(ids, " ")
}

// notes is an observer that remembers.
type notes struct {
	mu   sync.Mutex
	seen []string
	// full and changes are what came of the last synchronisation of a kind.
	full, changes error
}

func (n *notes) Looked(registry string, o inventory.Outcome) { n.addf("looked %s %s", registry, o) }
func (n *notes) Listed(project string, _ policy.Detail, o inventory.Outcome) {
	n.addf("listed %s %s", project, o)
}

func (n *notes) Asked(_ context.Context, project string, took time.Duration, err error) {
	n.addf("asked %s %s failed=%t", project, took, err != nil)
}

func (n *notes) AskedVulnerabilities(_ context.Context, project string, took time.Duration, err error) {
	n.addf("asked vulnerabilities %s %s failed=%t", project, took, err != nil)
}

func (n *notes) Synced(project string, full bool, rows int, err error) {
	n.addf("synced %s full=%t rows=%d failed=%t", project, full, rows, err != nil)
	n.mu.Lock()
	defer n.mu.Unlock()
	if full {
		n.full = err
	} else {
		n.changes = err
	}
}

func (n *notes) ScansNotCounted(project string, _ error) { n.addf("scans not counted %s", project) }

func (n *notes) errs() (full, changes error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.full, n.changes
}

// only is what was seen of one kind.
func (n *notes) only(kind string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(n.seen), func(s string) bool { return !strings.HasPrefix(s, kind+" ") })
}

func (n *notes) addf(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = append(n.seen, fmt.Sprintf(format, args...))
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

// multi gives a row two architectures, the second of which has a status.
func multi(s hss.ScanStatus) func(*hss.Image) {
	return func(r *hss.Image) {
		r.MultiArch = true
		r.Architectures = []hss.AssociatedImage{
			{ID: "x", Digest: digest("c"), ScanStatus: hss.ScanStatusSuccess, Vulnerabilities: new(1)},
			{ID: "y", Digest: digest("d"), ScanStatus: s, Vulnerabilities: new(2)},
		}
	}
}
