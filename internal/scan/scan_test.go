package scan_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/internal/scan"
)

const app = "swr.example.com/prod/app:1"

func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// must ends a test that can't go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func reference(t *testing.T, s string) image.Reference {
	t.Helper()
	r, err := image.Parse(s)
	must(t, err)
	return r
}

// ward is an HSS whose images are to be scanned.
type ward struct {
	server *hsstest.Server
	clock  *clocktesting.FakeClock
}

func newWard(t *testing.T, options ...hsstest.Option) *ward {
	t.Helper()
	w := &ward{clock: clocktesting.NewFakeClock(time.Date(2026, 3, 1, 12, 3, 4, 0, time.UTC))}
	w.server = hsstest.NewServer(append([]hsstest.Option{
		hsstest.WithoutAuthentication(), hsstest.WithClock(w.clock.Now), hsstest.WithScanTimes(10*time.Second, 20*time.Second, 5*time.Second),
	}, options...)...)
	t.Cleanup(w.server.Close)
	return w
}

// replica makes one of several replicas.
func (w *ward) replica(t *testing.T, change ...func(*config.Configuration)) (*scan.Scans, *attempts) {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(token, []byte("any"), 0o600))
	c, err := config.Parse("test.yaml", fmt.Appendf(nil, `
apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects:
- name: bj4
  endpoint: %s
  projectID: p1
  credentials: {source: TokenFile, tokenFile: %q}
  scanOnDemand: {enabled: true, maxPerHour: 3}
registries:
- name: swr
  hosts: [swr.example.com]
`, w.server.URL, token))
	must(t, err)
	for _, f := range change {
		f(c)
	}
	clients, err := inventory.NewClients(c, "hssgate/test")
	must(t, err)
	i, err := inventory.New(inventory.Options{Config: c, Clients: clients, Clock: w.clock})
	must(t, err)
	t.Cleanup(i.Close)
	seen := &attempts{}
	return scan.New(scan.Options{Inventory: i, Clock: w.clock, Observe: seen.add, Jitter: func() time.Duration { return 0 }}), seen
}

// attempts are the outcomes that were observed.
type attempts struct {
	mu  sync.Mutex
	all []scan.Outcome
}

func (a *attempts) add(_, _ string, outcome scan.Outcome, _ string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, outcome)
}

func (a *attempts) outcomes() []scan.Outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all)
}

const pending = "a scan is being requested; try again in about 1m"

// want wants one image scanned, and waits for the result.
func want(t *testing.T, s *scan.Scans, ref string) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if note := s.Want(t.Context(), []image.Reference{reference(t, ref)})[0]; note != pending {
			return note
		}
	}
	t.Errorf("%s: no result in a minute", ref)
	return ""
}

// wantEqual compares what a test got with what it wants; nothing is equal to empty.
func wantEqual[T any](t *testing.T, what string, want, got T, options ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, append(options, cmpopts.EquateEmpty())...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// settled wants an image until the note is as wanted: an earlier one answers while HSS is asked in the background.
func settled(t *testing.T, s *scan.Scans, wanted string, ref string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got = want(t, s, ref); got == wanted {
			return
		}
	}
	t.Errorf("got %q, want %q", got, wanted)
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
	s, seen := w.replica(t)
	const requested = "a scan was requested at 12:03:04 UTC; try again in about 1m"
	settled(t, s, requested, app)
	w.clock.Step(time.Second)
	settled(t, s, requested, app)
	w.clock.Step(9 * time.Second)
	w.server.Images() // HSS goes on by the clock
	settled(t, s, "it is being scanned; try again in about 1m", app)
	restarted, _ := w.replica(t)
	settled(t, restarted, "it is being scanned; try again in about 1m", app)
	w.clock.Step(30 * time.Second)
	w.server.Images()
	settled(t, s, "HSS has scanned it meanwhile; try again", app)
	wantEqual(t, "scans", 1, w.server.Stats().Scans)
	wantEqual(t, "observed", []scan.Outcome{scan.Asked, scan.Held, scan.Needless}, seen.outcomes())
}

// A review of an image that is new waits for the request. On a slow machine it may not for the first.
func TestAReviewWaitsForTheRequestInEveryLanguage(t *testing.T) {
	t.Parallel()
	s, _ := newWard(t).replica(t)
	s.Language = language.Chinese
	for n := range 100 {
		note := s.Want(t.Context(), []image.Reference{reference(t, fmt.Sprintf("swr.example.com/prod/app:%d", n))})[0]
		if note != language.Chinese.Text(pending) {
			return
		}
	}
	t.Error("no review waited for HSS")
}

func TestAScanWantedAThousandTimesCostsOne(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithImages(unscanned(), unscanned(func(i *hsstest.Image) { i.ID, i.ImageVersion = 8, "same-digest" })),
		hsstest.WithLatency(20*time.Millisecond), hsstest.WithScanTimes(-1, -1, -1))
	s, _ := w.replica(t)
	refs := []string{app, app + "@" + digest("a"), "swr.example.com/prod/app:same-digest", "swr.example.com/prod/app@" + digest("a")}
	var wg sync.WaitGroup
	for n := range 1000 {
		wg.Go(func() {
			note := s.Want(t.Context(), []image.Reference{reference(t, refs[n%len(refs)])})[0]
			if !strings.Contains(note, "requested") && !strings.Contains(note, "it is being scanned") {
				t.Errorf("got %q", note)
			}
		})
	}
	wg.Wait()
	w.clock.Step(time.Minute) // one that found another's request under way looks again
	for _, ref := range refs {
		want(t, s, ref)
	}
	stats := w.server.Stats()
	wantEqual(t, "scans and requests", [2]int{1, 1}, [2]int{stats.Scans, stats.Endpoints[hsstest.EndpointScan].Requests})
	if n := stats.Requests; n > 100 {
		t.Errorf("HSS was called %d times", n)
	}
}

// A replica reads HSS's list again after its jitter: another may have requested the scan meanwhile.
func TestReplicasDoNotRepeatEachOther(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithImages(unscanned()))
	late, seen := w.replica(t)
	other, _ := w.replica(t)
	late.Jitter = func() time.Duration {
		want(t, other, app)
		w.clock.Step(time.Second)
		w.server.Images()
		return 0
	}
	settled(t, late, "it is being scanned; try again in about 1m", app)
	wantEqual(t, "scans", 1, w.server.Stats().Scans)
	wantEqual(t, "observed", []scan.Outcome{scan.Held}, seen.outcomes())
}

// An image was promoted: HSS keeps a row, and a scan, for each repository.
func TestAnotherRepositoryOfADigestIsScannedLater(t *testing.T) {
	t.Parallel()
	staged := unscanned(func(i *hsstest.Image) { i.ID, i.Namespace = 8, "stage" })
	w := newWard(t, hsstest.WithImages(unscanned(), staged))
	s, _ := w.replica(t)
	const stage = "swr.example.com/stage/app:1"
	want(t, s, app)
	settled(t, s, "a scan was requested at 12:03:04 UTC; try again in about 1m", stage)
	wantEqual(t, "scans", 1, w.server.Stats().Scans)
	w.clock.Step(10 * time.Minute)
	w.server.Images()
	settled(t, s, "a scan was requested at 12:13:04 UTC; try again in about 1m", stage)
}

func TestTheHourlyLimit(t *testing.T) {
	t.Parallel()
	var images []hsstest.Image
	for n := range 4 {
		images = append(images, unscanned(func(i *hsstest.Image) {
			i.ID, i.ImageVersion, i.ImageDigest = int64(n+1), fmt.Sprint(n), digest(fmt.Sprint(n))
		}))
	}
	w := newWard(t, hsstest.WithImages(images...))
	s, seen := w.replica(t)
	ref := func(n int) string { return fmt.Sprintf("swr.example.com/prod/app:%d", n) }
	for n := range 3 {
		want(t, s, ref(n))
		w.clock.Step(time.Minute)
	}
	settled(t, s, "no scan is requested before 13:03:04 UTC, since 3 an hour are allowed", ref(3))
	w.clock.Step(57 * time.Minute)
	settled(t, s, "a scan was requested at 13:03:04 UTC; try again in about 1m", ref(3))
	wantEqual(t, "scans", 4, w.server.Stats().Scans)
	wantEqual(t, "the fourth", scan.Exhausted, seen.outcomes()[3])
}

func TestAnUnknownImageIsSynchronisedAndThenScanned(t *testing.T) {
	t.Parallel()
	hidden := unscanned(func(i *hsstest.Image) { i.Hidden = true })
	w := newWard(t, hsstest.WithImages(hidden), hsstest.WithRegistries(
		hsstest.Registry{ID: "r0", Type: "Harbor", Address: "swr.example.com"},
		hsstest.Registry{ID: "r1", Type: "SwrPrivate", Address: "https://whatever.example.com/"}))
	s, seen := w.replica(t)
	settled(t, s, "HSS does not know it yet, and a synchronisation of its registry was requested at 12:03:04 UTC; try again in about 1m", app)
	want(t, s, "swr.example.com/prod/another:1")
	wantEqual(t, "synchronisations", 1, w.server.Stats().Syncs)
	w.clock.Step(5 * time.Second)
	settled(t, s, "a scan was requested at 12:03:09 UTC; try again in about 1m", app)
	if got := seen.outcomes(); got[0] != scan.Synchronised || got[len(got)-1] != scan.Asked {
		t.Errorf("the observer was told %v", got)
	}
	if got := w.server.Registries(); !got[0].LatestSyncTime.IsZero() || got[1].LatestSyncTime.IsZero() {
		t.Errorf("another registry was synchronised: %+v", got)
	}
}

func TestTheRegistryIsTheOneThatIsConfigured(t *testing.T) {
	t.Parallel()
	const swr = "swr.example.com"
	all := []hsstest.Registry{
		{ID: "p", Type: "SwrPrivate", Address: "swr"}, {ID: "s", Type: "SwrShared", Address: "swr"},
		{ID: "e1", Type: "SwrEnterprise", Address: "ee.example.com"}, {ID: "h1", Name: "office", Type: "Harbor", Address: "https://Harbor.example.com:443/"},
		{ID: "h2", Name: "lab", Type: "Harbor", Address: "harbor.example.com:8443"}, {ID: "j", Type: "Jfrog", Address: "jfrog.example.com"},
	}
	for name, test := range map[string]struct {
		host     string
		registry config.Registry
		want     string
	}{
		"both of SWR":                             {swr, config.Registry{ImageTypes: []string{"private_image", "shared_image"}}, "p s"},
		"one type of SWR":                         {swr, config.Registry{ImageTypes: []string{"private_image", "shared_image"}, RegistryType: "SwrShared"}, "s"},
		"an instance by its host":                 {"ee.example.com", config.Registry{ImageTypes: []string{"instance_image"}, InstanceID: "i"}, "e1"},
		"an instance of elsewhere":                {swr, config.Registry{ImageTypes: []string{"instance_image"}, InstanceID: "i"}, ""},
		"a Harbor by its name and host":           {"harbor.example.com", config.Registry{ImageTypes: []string{"harbor"}, RegistryName: "office"}, "h1"},
		"a Harbor on a port":                      {"harbor.example.com:8443", config.Registry{ImageTypes: []string{"harbor"}, RegistryName: "lab"}, "h2"},
		"a JFrog by its ID, whatever its address": {swr, config.Registry{ImageTypes: []string{"jfrog"}, RegistryID: "j"}, "j"},
		"an ID that isn't there":                  {swr, config.Registry{ImageTypes: []string{"jfrog"}, RegistryID: "k"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, hsstest.WithRegistries(all...), hsstest.WithScanTimes(0, 0, 0))
			s, _ := w.replica(t, func(c *config.Configuration) {
				r := &c.Registries[0]
				r.Hosts, r.ImageTypes, r.RegistryType = []string{test.host}, test.registry.ImageTypes, test.registry.RegistryType
				r.InstanceID, r.RegistryName, r.RegistryID = test.registry.InstanceID, test.registry.RegistryName, test.registry.RegistryID
			})
			note := want(t, s, test.host+"/prod/app:1")
			var synced []string
			for _, r := range w.server.Registries() {
				if !r.LatestSyncTime.IsZero() {
					synced = append(synced, r.ID)
				}
			}
			wantEqual(t, "synchronised, "+note, test.want, strings.Join(synced, " "))
			if none := `HSS does not know it, and lists no registry that is "swr" of hssgate's configuration`; test.want == "" && note != none {
				t.Errorf("got %q, want %q", note, none)
			}
		})
	}
}

func TestARefusalIsNotRepeatedAtEveryReview(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusForbidden, http.StatusOK} {
		w := newWard(t, hsstest.WithImages(unscanned()))
		w.server.Inject(hsstest.ErrorFault(status, "HSS.0013", "No permission.").ForEndpoint(hsstest.EndpointScan).Times(0))
		s, seen := w.replica(t)
		begins := fmt.Sprintf("HSS refused to scan it at 12:03:04 UTC (HSS answered %d HSS.0013: No permission", status)
		for range 20 {
			if got := want(t, s, app); !strings.HasPrefix(got, begins) || !strings.HasSuffix(got, "it is not requested again before 12:33:04 UTC") {
				t.Errorf("%d: got %q", status, got)
			}
			w.clock.Step(20 * time.Second)
		}
		if n := w.server.Stats().Endpoints[hsstest.EndpointScan].Requests; n != 1 || seen.outcomes()[0] != scan.Refused {
			t.Errorf("%d: HSS was asked %d times; observed %v", status, n, seen.outcomes())
		}
	}
}

func TestAnUnconfirmedRequestIsNotRepeatedSoon(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithImages(unscanned()), hsstest.WithScanTimes(-1, -1, -1))
	w.server.Inject(hsstest.ResetFault().ForEndpoint(hsstest.EndpointScan))
	s, seen := w.replica(t)
	unconfirmed := want(t, s, app)
	if !strings.HasPrefix(unconfirmed, "a scan was requested at 12:03:04 UTC, and HSS did not confirm it (") {
		t.Errorf("got %q", unconfirmed)
	}
	w.clock.Step(9 * time.Minute)
	settled(t, s, unconfirmed, app) // the note of before answers at once: what follows is for the end of the request behind it
	for end := time.Now().Add(time.Minute); len(seen.outcomes()) < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	wantEqual(t, "requests though HSS may have received the first", 1, w.server.Stats().Endpoints[hsstest.EndpointScan].Requests)
	w.clock.Step(2 * time.Minute) // HSS's list would show it by now
	settled(t, s, "a scan was requested at 12:14:04 UTC; try again in about 1m", app)
}

func TestWhatDidNotReachHSSIsRepeated(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithImages(unscanned()))
	w.server.Inject(hsstest.StatusFault(http.StatusUnauthorized).ForEndpoint(hsstest.EndpointScan))
	for _, say := range []string{"a scan could not be requested: HSS refused the credentials", "a scan was requested"} {
		s, _ := w.replica(t) // another one: a key is paused for a while
		if got := want(t, s, app); !strings.HasPrefix(got, say) {
			t.Errorf("got %q after %d scans, want %q", got, w.server.Stats().Scans, say)
		}
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

func TestARequestedScanIsNotedFirst(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, status := range []string{"paused", "failed", "scanning", "success"} { // of another row, before it or behind it
		for _, id := range []int64{6, 8} {
			t.Run(fmt.Sprint(status, " ", id), func(t *testing.T) {
				t.Parallel()
				w := newWard(t, hsstest.WithImages(unscanned(), unscanned(of(status, at), func(i *hsstest.Image) { i.ID = id })), hsstest.WithScanTimes(-1, -1, -1))
				s, seen := w.replica(t)
				if got := want(t, s, app); !strings.HasPrefix(got, "a scan was requested at 12:03:04 UTC") || !slices.Equal(seen.outcomes(), []scan.Outcome{scan.Asked}) {
					t.Errorf("got %q, observed %v", got, seen.outcomes())
				}
			})
		}
	}
}

func TestWhichRowsAreScanned(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	updated := func(change func(*hsstest.Image)) func(*hsstest.Image) {
		return func(i *hsstest.Image) {
			change(i)
			i.LatestUpdateTime = at
		}
	}
	const requested, failed, odd = "a scan was requested", "its scan failed, and is not repeated so soon", "HSS shows no result that can be evaluated"
	for name, test := range map[string]struct {
		change func(*hsstest.Image)
		want   string // what the note says
	}{
		"never scanned":                            {func(*hsstest.Image) {}, requested},
		"pushed after its scan":                    {updated(of("success", at.Add(-time.Hour))), requested},
		"scanned":                                  {of("success", at), "HSS has scanned it meanwhile"},
		"waiting for its scan":                     {of("waiting_for_scan", time.Time{}), "it is being scanned; try again"},
		"its scan just failed":                     {of("failed", at.Add(-time.Hour)), failed},
		"its scan failed a while ago":              {of("download_failed", at.Add(-25*time.Hour)), requested},
		"it is too large":                          {of("image_oversized", at.Add(-25*time.Hour)), failed},
		"one architecture isn't":                   {of("success", at, "success", "unscan"), requested},
		"the scan of one architecture just failed": {of("success", at.Add(-time.Hour), "success", "failed"), failed},
		"one architecture is too large":            {of("success", at.Add(-48*time.Hour), "image_oversized", "failed"), failed},
		"one architecture is being scanned":        {of("success", at, "failed", "scanning"), "it is being scanned; try again"},
		"none of its architectures are listed": {func(i *hsstest.Image) {
			i.ScanStatus, i.LatestScanTime, i.MultiArch = "success", at, true
		}, odd},
		"its status is unknown":                  {of("paused", at), odd},
		"one has no status":                      {of("success", at, "success", ""), odd},
		"its status is unknown, and it is newer": {updated(of("paused", at.Add(-time.Hour))), requested},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, hsstest.WithImages(unscanned(test.change)), hsstest.WithScanTimes(-1, -1, -1))
			s, _ := w.replica(t)
			got, scans := want(t, s, app), w.server.Stats().Scans
			if !strings.HasPrefix(got, test.want) || (scans == 1) != (test.want == requested) {
				t.Errorf("got %q after %d scans, want %q", got, scans, test.want)
			}
		})
	}
}

func TestNothingIsRequestedWhereItIsOff(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithImages(unscanned()))
	s, _ := w.replica(t, func(c *config.Configuration) { c.Projects[0].ScanOnDemand.Enabled = false })
	on, _ := w.replica(t)
	for ref, s := range map[string]*scan.Scans{app: s, "swr.example.com/prod/unknown:1": s, "evil.example.com/prod/app:1": on} {
		wantEqual(t, ref, "", want(t, s, ref))
	}
	wantEqual(t, "requests", 0, w.server.Stats().Requests)
}

func TestAReviewNeitherWaitsForHSSNorQueuesWithoutBound(t *testing.T) {
	t.Parallel()
	w := newWard(t, hsstest.WithImages(unscanned()))
	w.server.Inject(hsstest.HangFault().Times(0))
	s, _ := w.replica(t)
	notes := s.Want(t.Context(), []image.Reference{reference(t, app), reference(t, "swr.example.com/prod/other:1")})
	wantEqual(t, "notes", []string{pending, pending}, notes)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	wantEqual(t, "of a request that ended", pending, s.Want(ended, []image.Reference{reference(t, app)})[0])
	var last string
	for n := range 300 {
		last = s.Want(ended, []image.Reference{reference(t, fmt.Sprint("swr.example.com/prod/app:v", n))})[0]
	}
	wantEqual(t, "of the last one", "no scan was requested, since too many images wait for one; try again in about 1m", last)
}

func TestCallsThatCostNothingAreForgottenWhenTheyMayBeRepeated(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	s, seen := w.replica(t)
	for n := range 5 {
		want(t, s, app)
		for end := time.Now().Add(time.Minute); len(seen.outcomes()) <= n && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		w.clock.Step(2 * time.Minute)
	}
	if n := s.Sent(); n != 1 || len(seen.outcomes()) != 5 {
		t.Errorf("%d calls are remembered after %v, want the last one", n, seen.outcomes())
	}
}
