package faults_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/server"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

// There are rows for the first images, of which hssgate has looked up the first known ones before anything goes wrong.
const (
	rows   = 60
	images = 80
	known  = 40
)

// faultTime is how long things go wrong, at least.
const faultTime = 900 * time.Millisecond

// TestMain lets all tests run at a time: they mostly wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "24"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestFaults is not parallel: it counts goroutines, when all of its worlds have ended.
func TestFaults(t *testing.T) { //nolint:paralleltest // see above
	goroutines := runtime.NumGoroutine()
	key := hsstest.DefaultCredential()
	t.Setenv("HUAWEICLOUD_SDK_AK", key.AccessKey)
	t.Setenv("HUAWEICLOUD_SDK_SK", key.SecretKey)
	const slow = 200 * time.Millisecond
	t.Run("HSS fails", func(t *testing.T) { //nolint:paralleltest // it waits for those below
		for name, fault := range map[string]func(*hsstest.Server){
			"latency":                 func(s *hsstest.Server) { s.SetLatency(slow) },
			"answers that never come": inject(hsstest.HangFault()),
			"answers in drips":        inject(hsstest.SlowFault(20, slow/2)),
			"connections reset":       inject(hsstest.ResetFault()),
			"answers cut off":         inject(hsstest.CutFault()),
			"500":                     inject(hsstest.StatusFault(http.StatusInternalServerError)),
			"429 without Retry-After": inject(hsstest.ThrottleFault("")),
			"429 with Retry-After":    inject(hsstest.ThrottleFault("2")),
			"wrong JSON":              inject(hsstest.GarbageFault()),
			"an empty 200":            inject(hsstest.EmptyFault()),
			"a 200 without a list":    inject(hsstest.NoDataListFault()),
			"an error sent as a 200":  inject(hsstest.ErrorFault(http.StatusOK, "HSS.0010", "access denied")),
			"a page for people":       inject(hsstest.HTMLFault(http.StatusBadGateway)),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testFault(t, fault, name == "latency")
			})
		}
	})
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > goroutines; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines more than before:\n%s", runtime.NumGoroutine()-goroutines, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// testFault has HSS fail while reviews come, and well again. If it is harmless, new images are known in time, too.
func testFault(t *testing.T, fault func(*hsstest.Server), harmless bool) {
	w := newWorld(t)
	for n := range known {
		w.await(t, n)
	}
	w.hss.ResetStats()
	fault(w.hss)
	began := time.Now()
	// A busy machine may have looked up nothing that isn't known.
	for unknown := w.load(t); unknown == 0 && !harmless; unknown = w.load(t) {
		if time.Since(began) > time.Minute {
			t.Fatal("nothing was unavailable: the fault did no harm")
		}
	}
	perSecond := w.config.Projects[0].RequestsPerSecond
	if most, calls := int(perSecond*(time.Since(began)+3*time.Second).Seconds()), w.hss.Stats().Requests; calls > most { // up to two seconds' calls at once
		t.Errorf("HSS was called %d times in %s, want at most %d", calls, time.Since(began), most)
	}
	w.hss.SetLatency(0)
	w.hss.ClearFaults()
	for n := range images {
		w.await(t, n)
	}
}

func inject(f hsstest.Fault) func(*hsstest.Server) {
	return func(s *hsstest.Server) { s.Inject(f.Times(0)) }
}

// shifted is a clock that can be put forward.
type shifted struct {
	clock.RealClock
	by atomic.Int64
}

// Now returns the time.
func (c *shifted) Now() time.Time { return c.RealClock.Now().Add(time.Duration(c.by.Load())) }

// Since returns the time since t.
func (c *shifted) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// world is the handler of hssgate's webhook, with an HSS.
type world struct {
	hss     *hsstest.Server
	clock   *shifted
	config  *config.Configuration
	handler http.Handler
}

// must ends a test that can't go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func image(n int) string { return fmt.Sprintf("main.example.com/prod/app-%d:1", n) }

func newWorld(t *testing.T) *world {
	t.Helper()
	var all []hsstest.Image
	for n := range rows {
		all = append(all, hsstest.Image{
			Namespace: "prod", ImageName: fmt.Sprintf("app-%d", n), ImageVersion: "1", ImageDigest: fmt.Sprintf("sha256:%064x", n+1),
			ImageType: "private_image", ScanStatus: "success", SeverityLevel: "Low", VulNum: hsstest.Count(2 * (n % 3)), LatestScanTime: time.UnixMilli(1_000_000),
		})
	}
	w := &world{clock: &shifted{}, hss: hsstest.NewServer(hsstest.WithImages(all...))}
	var err error
	// Images are looked up again soon, and used for an hour if that fails.
	w.config, err = config.Parse("test.yaml", fmt.Appendf(nil, `
apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects:
- {name: main, endpoint: %q, projectID: p1, requestsPerSecond: 60, requestTimeout: 500ms, credentials: {source: Environment}}
registries:
- {name: main, hosts: [main.example.com]}
cache: {freshFor: 1s, notFoundFor: 1s, waitWhenStale: 50ms, maxStaleness: 2h}
`, w.hss.URL))
	must(t, err)
	clients, err := inventory.NewClients(w.config, "hssgate/faults")
	must(t, err)
	facts, err := inventory.New(inventory.Options{Config: w.config, Clients: clients, Clock: w.clock, LookupTimeout: time.Second, ErrorFor: 100 * time.Millisecond})
	must(t, err)
	var running sync.WaitGroup
	running.Go(func() { _ = facts.Start(t.Context()) }) // it ends with the test
	t.Cleanup(func() {
		facts.Close()
		running.Wait()
		w.hss.Close()
	})
	compiled, problems := policy.Compile(&v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.ImageScanPolicySpec{
		Enforcement: v1alpha1.EnforcementDeny,
		Require:     v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 0}},
		When:        v1alpha1.When{NotFound: v1alpha1.ActionDeny, NotScanned: v1alpha1.ActionDeny, Unavailable: v1alpha1.ActionDeny},
	}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	decider := &gate.Gate{Policies: func() []*policy.Policy { return []*policy.Policy{compiled} }, Facts: facts, Clock: w.clock}
	w.handler = server.NewHandler(w.config, webhook.Options{Decider: decider, Log: slog.New(slog.DiscardHandler)})
	return w
}

// verdict is the answer about one image.
type verdict string

const (
	admitted    verdict = "admitted"
	vulnerable  verdict = "denied for its vulnerabilities"
	notFound    verdict = "denied since HSS has no such image"
	unavailable verdict = "denied since HSS is unreachable"
)

// want computes the verdict from the rows, without hssgate.
func want(n int) verdict {
	switch {
	case n >= rows:
		return notFound
	case n%3 > 0:
		return vulnerable
	}
	return admitted
}

// review sends the review of a pod with one image.
func (w *world) review(t *testing.T, n int) (got verdict, message string) {
	t.Helper()
	body := fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-%d","kind":{"group":"","version":"v1","kind":"Pod"},
"name":"web","namespace":"prod","operation":"CREATE","object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},"spec":{"containers":[{"name":"app","image":%q}]}}}}`, n, image(n))
	recorder := httptest.NewRecorder()
	w.handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/validate?timeout=5s", bytes.NewReader(body)))
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &review); err != nil || review.Response == nil || string(review.Response.UID) != fmt.Sprintf("u-%d", n) {
		t.Errorf("no complete answer: %v: %s", err, recorder.Body)
		return "", ""
	}
	if review.Response.Allowed {
		return admitted, ""
	}
	message = review.Response.Result.Message
	switch {
	case review.Response.Result.Code == http.StatusServiceUnavailable:
		return unavailable, message
	case strings.Contains(message, "has no image"):
		return notFound, message
	case strings.Contains(message, "vulnerabilities, allowed 0"):
		return vulnerable, message
	}
	return verdict(message), message
}

// await sends reviews until the verdict is right. Until then only that HSS is unreachable is.
func (w *world) await(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		got, message := w.review(t, n)
		if got == want(n) {
			return
		}
		if got != unavailable || time.Now().After(deadline) {
			t.Fatalf("image %d is %s, want %s: %s", n, got, want(n), message)
		}
		w.clock.by.Add(int64(5 * time.Second)) // pauses after failures are minutes long
	}
}

// load has clients review images at random for a while, and compares every answer. Only an image that was not known before
// may be unavailable; it returns how often that was.
func (w *world) load(t *testing.T) int64 {
	t.Helper()
	var unknown atomic.Int64
	var clients sync.WaitGroup
	until := time.Now().Add(faultTime)
	for client := range uint64(8) {
		random := rand.New(rand.NewPCG(client, 1))
		clients.Go(func() {
			for time.Now().Before(until) {
				n := random.IntN(images)
				if got, message := w.review(t, n); got == unavailable && n >= known {
					unknown.Add(1)
				} else if got != want(n) {
					t.Errorf("image %d is %s, want %s: %s", n, got, want(n), message)
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	clients.Wait()
	return unknown.Load()
}
