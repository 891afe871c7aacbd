package inventory_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
)

// ward is an HSS whose images are to be scanned, and what its replicas share.
type ward struct {
	server *hsstest.Server
	clock  *clocktesting.FakeClock
	book   inventory.Book
}

func newWard(t *testing.T, options ...hsstest.Option) *ward {
	t.Helper()
	w := &ward{clock: clocktesting.NewFakeClock(time.Date(2026, 3, 1, 12, 3, 4, 0, time.UTC)), book: inventory.NewBook()}
	w.server = hsstest.NewServer(append([]hsstest.Option{
		hsstest.WithoutAuthentication(), hsstest.WithClock(w.clock.Now), hsstest.WithScanTimes(10*time.Second, 20*time.Second, 5*time.Second),
	}, options...)...)
	t.Cleanup(w.server.Close)
	return w
}

// replica makes one of several replicas.
func (w *ward) replica(t *testing.T, change ...func(*config.Configuration)) (*inventory.Inventory, *inventory.Scans, *attempts) {
	t.Helper()
	c, err := config.Parse("test.yaml", fmt.Appendf(nil, `
apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects:
- name: bj4
  endpoint: %s
  projectID: p1
  credentials: {source: TokenFile, tokenFile: %q}
  scanOnDemand: {enabled: true, maxPerHour: 3, maxPerDay: 5, repeatAfter: 24h}
registries:
- name: swr
  hosts: [swr.example.com]
`, w.server.URL, write(t, "token", "any")))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(c)
	}
	clients, err := inventory.NewClients(c, "hssgate/test", func(_ string, base http.RoundTripper) http.RoundTripper { return spoiling{base} })
	if err != nil {
		t.Fatal(err)
	}
	i, err := inventory.New(inventory.Options{Config: c, Clients: clients, Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	seen := &attempts{}
	return i, i.NewScans(inventory.ScanOptions{Book: w.book, Observer: seen}), seen
}

// attempts are what an observer was told.
type attempts struct {
	mu  sync.Mutex
	all []inventory.ScanOutcome
}

// Scan notes an attempt.
func (a *attempts) Scan(_, _ string, outcome inventory.ScanOutcome, _ string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, outcome)
}

func (a *attempts) outcomes() []inventory.ScanOutcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all)
}

const beingAsked = "HSS is being asked for a scan; try again in about 1m"

// want wants one image scanned, and waits for what comes of it.
func want(t *testing.T, s *inventory.Scans, ref string) string {
	t.Helper()
	for t.Context().Err() == nil {
		if note := s.Want(t.Context(), []image.Reference{reference(t, ref)})[0]; note != beingAsked {
			return note
		}
	}
	return "the test ended"
}

func unscanned(changes ...func(*hsstest.Image)) hsstest.Image {
	i := hsstest.Image{ID: 7, Namespace: "prod", ImageName: "app", ImageVersion: "1", ImageDigest: digest("a"), ImageType: "private_image",
		RegistryID: "r1", RegistryType: "SwrPrivate", ScanStatus: "unscan"}
	for _, f := range changes {
		f(&i)
	}
	return i
}

func TestAnImageThatWasNotScannedIsScannedOnce(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithImages(unscanned()))
	i, s, _ := w.replica(t)
	for _, step := range []struct {
		after time.Duration
		want  string
	}{
		{0, "a scan was asked for at 12:03:04 UTC; try again in about 1m"},
		{time.Second, "a scan was asked for at 12:03:04 UTC; try again in about 1m"},
		{9 * time.Second, "it is being scanned since 12:03:04 UTC; try again in about 1m"},
		{30 * time.Second, "HSS has scanned it meanwhile; try again"},
	} {
		w.clock.Step(step.after)
		w.server.Images() // HSS goes on by the clock
		got := want(t, s, app)
		if step.want != got && step.after >= 9*time.Second { // what was known is told at once, and HSS asked in the background
			got = settled(t, s, step.want)
		}
		if got != step.want {
			t.Fatalf("after %s more: got %q, want %q", step.after, got, step.want)
		}
	}
	if n := w.server.Stats().Scans; n != 1 {
		t.Errorf("HSS scanned %d images", n)
	}
	if f := i.Facts(t.Context(), reference(t, app)); len(f.Records) != 1 || f.Records[0].Scan.Status != "success" {
		t.Errorf("what is known of it is %+v", f)
	}
}

// settled waits until the note is as wanted, and returns the last.
func settled(t *testing.T, s *inventory.Scans, wanted string) (note string) {
	t.Helper()
	for range 6000 {
		if note = want(t, s, app); note == wanted {
			return note
		}
		time.Sleep(10 * time.Millisecond)
	}
	return note
}

func TestAScanWantedAThousandTimesCostsOne(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithImages(unscanned(), unscanned(func(i *hsstest.Image) { i.ID, i.ImageVersion = 8, "same-digest" })),
		hsstest.WithLatency(20*time.Millisecond), hsstest.WithScanTimes(-1, -1, -1))
	var replicas []*inventory.Scans
	for range 3 {
		_, s, _ := w.replica(t)
		replicas = append(replicas, s)
	}
	refs := []string{app, app + "@" + digest("a"), "swr.example.com/prod/app:same-digest", "swr.example.com/prod/app@" + digest("a")}
	var wg sync.WaitGroup
	for n := range 1000 {
		wg.Go(func() {
			if note := want(t, replicas[n%len(replicas)], refs[n%len(refs)]); !strings.Contains(note, "since 12:03:04") && !strings.Contains(note, "at 12:03:04") && !strings.Contains(note, "it is being scanned") {
				t.Errorf("got %q", note)
			}
		})
	}
	wg.Wait()
	_, restarted, _ := w.replica(t)
	want(t, restarted, app)
	stats := w.server.Stats()
	if stats.Scans != 1 || stats.Endpoints[hsstest.EndpointScan].Requests != 1 {
		t.Errorf("%d images were scanned in %d requests", stats.Scans, stats.Endpoints[hsstest.EndpointScan].Requests)
	}
	if n := stats.Requests; n > 100 {
		t.Errorf("HSS was asked %d times", n)
	}
}

// An image was promoted: HSS keeps a row, and a scan, for each repository.
func TestAnotherRepositoryOfADigestIsScannedOnceTheFirstIs(t *testing.T) {
	t.Parallel()
	staged := unscanned(func(i *hsstest.Image) { i.ID, i.Namespace = 8, "stage" })
	w := newWard(t, hsstest.WithImages(unscanned(), staged))
	_, first, _ := w.replica(t)
	const stage = "swr.example.com/stage/app:1"
	wantNote := func(ref, wanted string) {
		t.Helper()
		w.server.Images() // HSS goes on by the clock
		// one that has just started remembers nothing but the book
		_, s, _ := w.replica(t)
		if got := want(t, s, ref); got != wanted {
			t.Errorf("%s at %s: got %q, want %q", ref, w.clock.Now().Format(time.TimeOnly), got, wanted)
		}
	}
	const held = "a scan of its digest was asked for as prod/app:1 at 12:03:04 UTC; this image is asked for once that has ended, or from 2026-03-02 12:03 UTC on; try again in about 1m"
	want(t, first, app)
	wantNote(stage, held)
	w.clock.Step(15 * time.Second)
	wantNote(app, "it is being scanned since 12:03:04 UTC; try again in about 1m")
	wantNote(stage, held)
	w.clock.Step(15 * time.Second)
	wantNote(stage, "a scan was asked for at 12:03:34 UTC; try again in about 1m")
	w.clock.Step(15 * time.Second)
	wantNote(stage, "it is being scanned since 12:03:34 UTC; try again in about 1m")
	w.clock.Step(15 * time.Second)
	wantNote(stage, "HSS has scanned it meanwhile; try again")
	wantNote(app, "HSS has scanned it meanwhile; try again")
	if n := w.server.Stats().Scans; n != 2 {
		t.Errorf("HSS scanned %d images, want each row once", n)
	}
}

func TestWhenARowOfADigestIsAskedForByItself(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 3, 4, 0, time.UTC)
	set := func(change func(*hsstest.Image)) func([]hsstest.Image) []hsstest.Image {
		return func(rows []hsstest.Image) []hsstest.Image {
			for n := range rows {
				if rows[n].Namespace == "prod" {
					change(&rows[n])
				}
			}
			return rows
		}
	}
	without := func(rows []hsstest.Image) []hsstest.Image { return rows[1:] }
	for name, test := range map[string]struct {
		prod  func(rows []hsstest.Image) []hsstest.Image
		after time.Duration
		want  string
		scans int
	}{
		"the other's scan has not begun":  {nil, time.Minute, "a scan of its digest was asked for as prod/app:1", 1},
		"the other waits for its scan":    {set(of("waiting_for_scan", time.Time{})), time.Minute, "a scan of its digest was asked for as prod/app:1", 1},
		"the other is being scanned":      {set(of("scanning", at)), time.Minute, "a scan of its digest was asked for as prod/app:1", 1},
		"the other was scanned":           {set(of("success", at)), time.Minute, "a scan was asked for at 12:04:04 UTC", 2},
		"the other's scan failed":         {set(of("failed", at)), time.Minute, "a scan was asked for at 12:04:04 UTC", 2},
		"the other is another digest now": {set(func(i *hsstest.Image) { i.ImageDigest = digest("b") }), time.Minute, "a scan was asked for at 12:04:04 UTC", 2},
		"the other is gone":               {without, time.Minute, "a scan was asked for at 12:04:04 UTC", 2},
		"nobody can read the other":       {set(func(i *hsstest.Image) { i.LatestScanTime = time.UnixMilli(1_234_567) }), time.Minute, "a scan of its digest was asked for as prod/app:1", 1},
		"the other is held no more":       {nil, 11 * time.Minute, "a scan was asked for at 12:14:04 UTC", 2},
		"the bound of an hour is used up": {func(rows []hsstest.Image) []hsstest.Image { return set(of("success", at))(rows) }, 0, "no scan is asked for before 13:03:04 UTC", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, hsstest.WithImages(unscanned(), unscanned(func(i *hsstest.Image) { i.ID, i.Namespace = 8, "stage" })), hsstest.WithScanTimes(-1, -1, -1))
			fewer := func(c *config.Configuration) {
				o := &c.Projects[0].ScanOnDemand
				if o.RepeatAfter = config.Duration(10 * time.Minute); test.after == 0 {
					o.MaxPerHour = 1
				}
			}
			_, s, _ := w.replica(t, fewer)
			want(t, s, app)
			if test.prod != nil {
				w.server.Update(test.prod)
			}
			w.clock.Step(test.after)
			for n := range 3 {
				// one that has just started remembers nothing but the book
				_, s, _ = w.replica(t, fewer)
				got := want(t, s, "swr.example.com/stage/app:1")
				if !strings.HasPrefix(got, test.want) && (n == 0 || !strings.HasPrefix(got, "it is being scanned since 12:")) {
					t.Errorf("got %q, want %q", got, test.want)
				}
			}
			if n := w.server.Stats().Scans; n != test.scans {
				t.Errorf("%d scans, want %d", n, test.scans)
			}
		})
	}
}

func TestAnUnknownImageIsSynchronisedAndThenScanned(t *testing.T) {
	t.Parallel()
	hidden := unscanned(func(i *hsstest.Image) { i.Hidden = true })
	w := newWard(t, hsstest.WithImages(hidden), hsstest.WithRegistries(
		hsstest.Registry{ID: "r0", Type: "Harbor", Address: "swr.example.com"},
		hsstest.Registry{ID: "r1", Type: "SwrPrivate", Address: "https://whatever.example.com/"}))
	_, s, seen := w.replica(t)
	if got, wanted := want(t, s, app), "HSS does not know it yet and was asked to synchronise its registry at 12:03:04 UTC; try again in about 1m"; got != wanted {
		t.Fatalf("got %q, want %q", got, wanted)
	}
	_, other, _ := w.replica(t)
	want(t, other, app)
	want(t, other, "swr.example.com/prod/another:1")
	if n := w.server.Stats().Syncs; n != 1 {
		t.Errorf("%d synchronisations were asked for", n)
	}
	w.clock.Step(5 * time.Second)
	if got, wanted := settled(t, s, "a scan was asked for at 12:03:09 UTC; try again in about 1m"), "a scan was asked for at 12:03:09 UTC; try again in about 1m"; got != wanted {
		t.Errorf("got %q, want %q", got, wanted)
	}
	if got := seen.outcomes(); !slices.Equal(got, []inventory.ScanOutcome{inventory.ScanSynchronised, inventory.ScanAsked}) {
		t.Errorf("the observer was told %v", got)
	}
	if got := w.server.Registries(); !got[0].LatestSyncTime.IsZero() || got[1].LatestSyncTime.IsZero() {
		t.Errorf("another registry was synchronised: %+v", got)
	}
}

func TestTheRegistryIsTheOneThatIsConfigured(t *testing.T) {
	t.Parallel()
	all := []hsstest.Registry{
		{ID: "p", Type: "SwrPrivate", Address: "swr"}, {ID: "s", Type: "SwrShared", Address: "swr"},
		{ID: "e1", Type: "SwrEnterprise", Address: "ee.example.com"}, {ID: "h1", Name: "office", Type: "Harbor", Address: "https://Harbor.example.com:443/"},
		{ID: "h2", Name: "lab", Type: "Harbor", Address: "harbor.example.com:8443"}, {ID: "j", Type: "Jfrog", Address: "jfrog.example.com"},
	}
	for name, test := range map[string]struct {
		change func(*config.Registry)
		want   string
	}{
		"both of SWR":     {func(*config.Registry) {}, "p s"},
		"one type of SWR": {func(r *config.Registry) { r.RegistryType = "SwrShared" }, "s"},
		"an instance by its host": {func(r *config.Registry) {
			r.ImageTypes, r.InstanceID, r.Hosts = []string{"instance_image"}, "i", []string{"ee.example.com"}
		}, "e1"},
		"an instance of elsewhere": {func(r *config.Registry) { r.ImageTypes, r.InstanceID = []string{"instance_image"}, "i" }, ""},
		"a Harbor by its name and host": {func(r *config.Registry) {
			r.ImageTypes, r.RegistryName, r.Hosts = []string{"harbor"}, "office", []string{"harbor.example.com"}
		}, "h1"},
		"a Harbor on a port": {func(r *config.Registry) {
			r.ImageTypes, r.RegistryName, r.Hosts = []string{"harbor"}, "lab", []string{"harbor.example.com:8443"}
		}, "h2"},
		"a JFrog by its ID, whatever its address": {func(r *config.Registry) { r.ImageTypes, r.RegistryID = []string{"jfrog"}, "j" }, "j"},
		"an ID that isn't there":                  {func(r *config.Registry) { r.ImageTypes, r.RegistryID = []string{"jfrog"}, "k" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, hsstest.WithRegistries(all...), hsstest.WithScanTimes(0, 0, 0))
			var host string
			_, s, _ := w.replica(t, func(c *config.Configuration) {
				test.change(&c.Registries[0])
				host = c.Registries[0].Hosts[0]
			})
			note := want(t, s, host+"/prod/app:1")
			var synced []string
			for _, r := range w.server.Registries() {
				if !r.LatestSyncTime.IsZero() {
					synced = append(synced, r.ID)
				}
			}
			if got := strings.Join(synced, " "); got != test.want {
				t.Errorf("synchronised are %q, want %q: %s", got, test.want, note)
			}
			if none := `HSS does not know it, and lists no registry that is "swr" of hssgate's configuration`; test.want == "" && note != none {
				t.Errorf("got %q, want %q", note, none)
			}
		})
	}
}

func TestTheBudgetBoundsWhatIsScanned(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithScanTimes(-1, -1, -1))
	for n := range 8 {
		w.server.Update(func(rows []hsstest.Image) []hsstest.Image {
			return append(rows, unscanned(func(i *hsstest.Image) { i.ID, i.ImageVersion, i.ImageDigest = int64(n+1), fmt.Sprint(n), "" }))
		})
	}
	_, first, _ := w.replica(t)
	_, second, seen := w.replica(t)
	wanted := func(s *inventory.Scans, n int) string { return want(t, s, fmt.Sprint("swr.example.com/prod/app:", n)) }
	for n := range 3 {
		if got := wanted(first, n); !strings.HasPrefix(got, "a scan was asked for") {
			t.Errorf("%d: got %q", n, got)
		}
		w.clock.Step(time.Minute)
	}
	if got, want := wanted(second, 3), "no scan is asked for before 13:03:04 UTC, since 3 an hour are allowed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w.clock.Step(61 * time.Minute)
	for n := 4; n < 6; n++ {
		if got := wanted(second, n); !strings.HasPrefix(got, "a scan was asked for") {
			t.Errorf("%d, an hour later: got %q", n, got)
		}
	}
	if got, want := wanted(second, 6), "no scan is asked for before 12:03:04 UTC, since 5 a day are allowed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := w.server.Stats().Scans; n != 5 {
		t.Errorf("%d images were scanned", n)
	}
	if got := seen.outcomes(); !slices.Equal(got, []inventory.ScanOutcome{"exhausted", "asked", "asked", "exhausted"}) {
		t.Errorf("the observer was told %v", got)
	}
}

func TestTheBudgetCountsEveryScanOfADigest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*hsstest.Image)
		fault  func(*hsstest.Server)
	}{
		"that HSS does not confirm and never shows": {func(*hsstest.Image) {}, func(s *hsstest.Server) {
			s.Inject(hsstest.ResetFault().ForEndpoint(hsstest.EndpointScan).Times(0))
		}},
		"that fails again and again": {func(i *hsstest.Image) { i.Outcome = &hsstest.ScanOutcome{ScanStatus: "failed"} }, func(*hsstest.Server) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, hsstest.WithScanTimes(0, 0, 0))
			test.fault(w.server)
			for n := range 3 {
				w.server.Update(func(rows []hsstest.Image) []hsstest.Image {
					return append(rows, unscanned(test.change, func(i *hsstest.Image) {
						i.ID, i.ImageVersion, i.ImageDigest = int64(n+1), fmt.Sprint(n), digest(fmt.Sprint(n))
					}))
				})
			}
			var got []string
			for hour := range 2 {
				for range 6 {
					// one that has just started remembers nothing but the book
					_, s, _ := w.replica(t, func(c *config.Configuration) {
						o := &c.Projects[0].ScanOnDemand
						o.MaxPerHour, o.MaxPerDay, o.RepeatAfter = 4, 7, config.Duration(10*time.Minute)
					})
					for n := range 3 {
						want(t, s, fmt.Sprint("swr.example.com/prod/app:", n))
					}
					w.clock.Step(10 * time.Minute)
				}
				got = append(got, fmt.Sprint(w.server.Stats().Endpoints[hsstest.EndpointScan].Requests, " after hour ", hour+1))
			}
			if diff := cmp.Diff([]string{"4 after hour 1", "7 after hour 2"}, got); diff != "" {
				t.Errorf("HSS was asked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestARefusalIsNotAskedForAgainAtEveryReview(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusForbidden, http.StatusBadRequest, http.StatusOK} {
		w := newWard(t, hsstest.WithImages(unscanned()))
		w.server.Inject(hsstest.ErrorFault(status, "HSS.0013", "No permission.").ForEndpoint(hsstest.EndpointScan).Times(0))
		_, s, seen := w.replica(t)
		_, other, _ := w.replica(t)
		const refused = "HSS refused to scan it at 12:03:04 UTC"
		for range 50 {
			if got := want(t, s, app); !strings.HasPrefix(got, refused+" (HSS answered "+fmt.Sprint(status)+" HSS.0013: No permission") || !strings.HasSuffix(got, "it is not asked again before 12:33:04 UTC") {
				t.Errorf("%d: got %q", status, got)
			}
			if got := want(t, other, app); got != refused+"; it is not asked again before 12:33:04 UTC" {
				t.Errorf("%d, at another replica: got %q", status, got)
			}
			w.clock.Step(10 * time.Second)
		}
		if n := w.server.Stats().Endpoints[hsstest.EndpointScan].Requests; n != 1 {
			t.Errorf("%d: HSS was asked %d times", status, n)
		}
		if got := seen.outcomes(); len(got) != 1 || got[0] != inventory.ScanRefused {
			t.Errorf("%d: the observer was told %v", status, got)
		}
	}
}

func TestWhatIsNotKnownToHaveBeenReceivedIsNotAskedForTwice(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithImages(unscanned()), hsstest.WithScanTimes(-1, -1, -1))
	w.server.Inject(hsstest.ResetFault().ForEndpoint(hsstest.EndpointScan))
	_, s, _ := w.replica(t)
	if got := want(t, s, app); !strings.HasPrefix(got, "a scan was asked for at 12:03:04 UTC, and HSS did not confirm it (") {
		t.Errorf("got %q", got)
	}
	w.clock.Step(9 * time.Minute)
	settled(t, s, "a scan was asked for at 12:03:04 UTC, and HSS did not confirm it; try again in about 1m")
	if n := w.server.Stats().Endpoints[hsstest.EndpointScan].Requests; n != 1 {
		t.Errorf("HSS was asked %d times, though it may have received it", n)
	}
	w.clock.Step(2 * time.Minute) // HSS's list would show it by now
	if got, wanted := settled(t, s, "a scan was asked for at 12:14:04 UTC; try again in about 1m"), "a scan was asked for at 12:14:04 UTC; try again in about 1m"; got != wanted {
		t.Errorf("got %q, want %q", got, wanted)
	}
}

func TestWhatDidNotReachHSSIsFreeToBeAskedForAgain(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithImages(unscanned()))
	w.server.Inject(hsstest.StatusFault(http.StatusUnauthorized).ForEndpoint(hsstest.EndpointScan))
	_, s, _ := w.replica(t)
	if got := want(t, s, app); !strings.HasPrefix(got, "HSS could not be asked for a scan: HSS refused the credentials") {
		t.Errorf("got %q", got)
	}
	_, other, _ := w.replica(t)
	if got := want(t, other, app); !strings.HasPrefix(got, "a scan was asked for") || w.server.Stats().Scans != 1 {
		t.Errorf("got %q after %d scans", got, w.server.Stats().Scans)
	}
}

// of changes a row's status, when it was scanned, and its architectures' statuses.
func of(status string, scanned time.Time, architectures ...string) func(*hsstest.Image) {
	return func(i *hsstest.Image) {
		i.ScanStatus, i.LatestScanTime = status, scanned
		for _, a := range architectures {
			i.AssociationImages = append(i.AssociationImages, hsstest.Architecture{ScanStatus: a})
		}
		i.MultiArch = len(architectures) > 0
	}
}

func TestWhatIsAskedForIsToldBeforeWhatIsNot(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, other := range map[string]func(*hsstest.Image){
		"a row that can't be judged":  of("paused", at),
		"a row whose scan failed":     of("failed", at),
		"a row that is being scanned": of("scanning", at),
		"a row that was scanned":      of("success", at),
	} {
		for _, id := range []int64{6, 8} {
			t.Run(fmt.Sprint(name, " and has ID ", id), func(t *testing.T) {
				t.Parallel()
				w := newWard(t, hsstest.WithImages(unscanned(), unscanned(other, func(i *hsstest.Image) { i.ID = id })), hsstest.WithScanTimes(-1, -1, -1))
				_, s, seen := w.replica(t)
				if got := want(t, s, app); !strings.HasPrefix(got, "a scan was asked for at 12:03:04 UTC") {
					t.Errorf("got %q", got)
				}
				if got := seen.outcomes(); !slices.Equal(got, []inventory.ScanOutcome{inventory.ScanAsked}) {
					t.Errorf("the observer was told %v", got)
				}
			})
		}
	}
}

func TestWhichRowsAreScanned(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		change func(*hsstest.Image)
		want   string // what the note says
		scans  int
	}{
		"never scanned": {func(*hsstest.Image) {}, "a scan was asked for", 1},
		"pushed after its scan": {func(i *hsstest.Image) {
			i.ScanStatus, i.LatestScanTime, i.LatestUpdateTime = "success", at.Add(-time.Hour), at
		}, "a scan was asked for", 1},
		"scanned":                     {func(i *hsstest.Image) { i.ScanStatus, i.LatestScanTime = "success", at }, "HSS has scanned it meanwhile", 0},
		"waiting for its scan":        {func(i *hsstest.Image) { i.ScanStatus = "waiting_for_scan" }, "it is being scanned; try again", 0},
		"being scanned":               {func(i *hsstest.Image) { i.ScanStatus = "scanning" }, "it is being scanned; try again", 0},
		"its scan just failed":        {func(i *hsstest.Image) { i.ScanStatus, i.LatestScanTime = "failed", at.Add(-time.Hour) }, "its scan failed, and HSS is not asked again so soon", 0},
		"its scan failed a while ago": {func(i *hsstest.Image) { i.ScanStatus, i.LatestScanTime = "download_failed", at.Add(-25*time.Hour) }, "a scan was asked for", 1},
		"it is too large":             {func(i *hsstest.Image) { i.ScanStatus, i.LatestScanTime = "image_oversized", at.Add(-25*time.Hour) }, "its scan failed", 0},
		"one architecture isn't": {func(i *hsstest.Image) {
			i.ScanStatus, i.LatestScanTime = "success", at
			i.AssociationImages = []hsstest.Architecture{{ScanStatus: "success"}, {ScanStatus: "unscan"}}
		}, "a scan was asked for", 1},
		"the scan of one architecture just failed": {of("success", at.Add(-time.Hour), "success", "failed"), "its scan failed, and HSS is not asked again so soon", 0},
		"that of one failed a while ago":           {of("success", at.Add(-48*time.Hour), "success", "failed"), "a scan was asked for", 1},
		"one architecture is too large":            {of("success", at.Add(-48*time.Hour), "image_oversized", "failed"), "its scan failed", 0},
		"one architecture is being scanned":        {of("success", at, "failed", "scanning"), "it is being scanned; try again", 0},
		"all its architectures are scanned":        {of("success", at, "success", "success"), "HSS has scanned it meanwhile", 0},
		"none of its architectures are listed": {func(i *hsstest.Image) {
			i.ScanStatus, i.LatestScanTime, i.MultiArch = "success", at, true
		}, "HSS shows no result that can be judged", 0},
		"its status is unknown":                  {of("paused", at), "HSS shows no result that can be judged", 0},
		"the status of one is unknown":           {of("success", at, "success", "paused"), "HSS shows no result that can be judged", 0},
		"one has no status":                      {of("success", at, "success", ""), "HSS shows no result that can be judged", 0},
		"its status is unknown, and it is newer": {func(i *hsstest.Image) { of("paused", at.Add(-time.Hour))(i); i.LatestUpdateTime = at }, "a scan was asked for", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, hsstest.WithImages(unscanned(test.change)), hsstest.WithScanTimes(-1, -1, -1))
			_, s, _ := w.replica(t)
			if got := want(t, s, app); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if n := w.server.Stats().Scans; n != test.scans {
				t.Errorf("%d scans, want %d", n, test.scans)
			}
		})
	}
}

func TestNothingIsAskedForWhereItIsOff(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithImages(unscanned()))
	_, s, _ := w.replica(t, func(c *config.Configuration) { c.Projects[0].ScanOnDemand.Enabled = false })
	for _, ref := range []string{app, "swr.example.com/prod/unknown:1"} {
		if got := want(t, s, ref); got != "" {
			t.Errorf("%s: got %q", ref, got)
		}
	}
	_, on, _ := w.replica(t)
	if got := want(t, on, "evil.example.com/prod/app:1"); got != "" {
		t.Errorf("an image that no registry claims: got %q", got)
	}
	if n := w.server.Stats().Requests; n != 0 {
		t.Errorf("HSS was asked %d times", n)
	}
}

func TestARequestDoesNotWaitForHSS(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithImages(unscanned()))
	w.server.Inject(hsstest.HangFault().Times(0))
	_, s, _ := w.replica(t)
	notes := s.Want(t.Context(), []image.Reference{reference(t, app), reference(t, "swr.example.com/prod/other:1")})
	if notes[0] != beingAsked || notes[1] != beingAsked {
		t.Errorf("got %q", notes)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if notes := s.Want(ended, []image.Reference{reference(t, app)}); notes[0] != beingAsked {
		t.Errorf("of a request that ended: got %q", notes)
	}
}

func TestTooManyImagesAtOnceAreRefusedHonestly(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.server.Inject(hsstest.HangFault().Times(0))
	_, s, _ := w.replica(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var last string
	for n := range 300 {
		last = s.Want(ended, []image.Reference{reference(t, fmt.Sprint("swr.example.com/prod/app:", n))})[0]
	}
	if want := "no scan was asked for, since too many images wait for one; try again in about 1m"; last != want {
		t.Errorf("got %q, want %q", last, want)
	}
}

// brokenBook can't be read.
type brokenBook struct{}

func (brokenBook) Change(context.Context, func(map[string]string) bool) error {
	return fmt.Errorf("the API server is away")
}

func TestWithoutAClaimNothingIsScanned(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithImages(unscanned()))
	w.book = brokenBook{}
	_, s, seen := w.replica(t)
	if got := want(t, s, app); got != "no scan was asked for, since that could not be noted: the API server is away; try again in about 1m" {
		t.Errorf("got %q", got)
	}
	if n := w.server.Stats().Scans; n != 0 || seen.outcomes()[0] != inventory.ScanFailed {
		t.Errorf("%d scans, %v", n, seen.outcomes())
	}
}
