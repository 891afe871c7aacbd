package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/inventory"
)

// busyGate is a webhook under the preset baseline before an HSS that takes its
// time, with the limits of the default configuration.
type busyGate struct {
	handler http.Handler
	hss     *hsstest.Handler
}

// RoundTrip has HSS answer in memory, so that time can be that of a bubble.
func (g *busyGate) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	g.hss.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// newBusyGate makes one that knows nothing yet. HSS holds "good-N" and "bad-N".
func newBusyGate(t *testing.T, latency time.Duration, images int) *busyGate {
	t.Helper()
	var rows []hsstest.Image
	for n := range images {
		for name, files := range map[string]int{"good": 0, "bad": 1} {
			rows = append(rows, hsstest.Image{
				Namespace: "prod", ImageName: fmt.Sprintf("%s-%d", name, n), ImageVersion: "1", ImageDigest: fmt.Sprintf("sha256:%064x", n),
				ImageType: "private_image", ScanStatus: "success", SeverityLevel: "Low", MaliciousFileNum: hsstest.Count(files), LatestScanTime: time.Now(),
			})
		}
	}
	g := &busyGate{hss: hsstest.NewHandler(hsstest.WithImages(rows...), hsstest.WithLatency(latency))}
	t.Cleanup(g.hss.Close)
	c, err := config.Parse("test.yaml", fmt.Appendf(nil, `
apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects:
- {name: main, endpoint: "https://hss.example.com", projectID: p1, credentials: {source: Files, accessKeyFile: %s, secretKeyFile: %s}}
registries:
- {name: main, hosts: [main.example.com]}
`, secret(t, "ak", hsstest.DefaultCredential().AccessKey), secret(t, "sk", hsstest.DefaultCredential().SecretKey)))
	if err != nil {
		t.Fatal(err)
	}
	clients, err := inventory.NewClients(c, "test", func(string, http.RoundTripper) http.RoundTripper { return g })
	if err != nil {
		t.Fatal(err)
	}
	known, err := inventory.New(inventory.Options{Config: c, Clients: clients})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(known.Close)
	judge := &gate.Gate{Policies: baseline{presetIndex(t)}, Facts: known, Vulnerabilities: known, Clock: clock.RealClock{}}
	g.handler = NewHandler(c, Reviews{Decider: judge, Log: slog.New(slog.DiscardHandler)})
	return g
}

func secret(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ask has a pod, or an object of another kind, reviewed.
func (g *busyGate) ask(t *testing.T, namespace, kind string, images ...string) *admissionv1.AdmissionResponse {
	t.Helper()
	containers := make([]string, len(images))
	for i, image := range images {
		containers[i] = fmt.Sprintf(`{"name":"c%d","image":"main.example.com/prod/%s:1"}`, i, image)
	}
	spec := `{"containers":[` + strings.Join(containers, ",") + `]}`
	group := ""
	if kind == "Deployment" {
		spec, group = `{"template":{"spec":`+spec+`}}`, "apps"
	}
	body := fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":%q,"version":"v1","kind":%q},
"name":"x","namespace":%q,"operation":"CREATE","dryRun":true,"object":{"metadata":{"name":"x"},"spec":%s}}}`, group, kind, namespace, spec)
	w := httptest.NewRecorder()
	g.handler.ServeHTTP(w, httptest.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, "/validate?timeout=10s", bytes.NewReader(body)))
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || review.Response == nil || review.Response.UID != "u" {
		t.Errorf("no complete answer: %v: %s", err, w.Body)
		return &admissionv1.AdmissionResponse{}
	}
	return review.Response
}

// madeUp names images that HSS doesn't have, and that no one has named before.
func madeUp(n int, attempt string) []string {
	images := make([]string, n)
	for i := range images {
		images[i] = fmt.Sprintf("made-up-%s-%d", attempt, i)
	}
	return images
}

func TestOneNamespacesLookUpsDenyNoOthersPods(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const good, bad, during = 284, 30, 10 * time.Minute
		g := newBusyGate(t, 200*time.Millisecond, good)
		var reviews sync.WaitGroup
		var denied, admitted atomic.Int64
		each := func(n int, pause time.Duration, review func(n int)) {
			reviews.Go(func() {
				for i := range n {
					reviews.Go(func() { review(i) })
					time.Sleep(pause)
				}
			})
		}
		each(int(during/time.Minute), time.Minute, func(minute int) {
			for n := range 3 {
				for _, images := range []int{1000, 64} {
					reviews.Go(func() { g.ask(t, "evil", "Pod", madeUp(images, fmt.Sprint(minute, "-", n, "-", images))...) })
				}
			}
		})
		each(good, during/good, func(n int) {
			if got := g.ask(t, fmt.Sprint("team-", n%4), "Pod", fmt.Sprint("good-", n)); !got.Allowed || len(got.Warnings) > 0 {
				denied.Add(1)
				t.Logf("good pod %d: %v %v", n, got.Result, got.Warnings)
			}
		})
		each(bad, during/bad, func(n int) {
			if got := g.ask(t, "evil", "Pod", fmt.Sprint("bad-", n)); got.Allowed {
				admitted.Add(1)
				t.Logf("bad pod %d: %v", n, got.Warnings)
			}
		})
		reviews.Wait()
		if denied.Load() > 0 || admitted.Load() > 0 {
			t.Errorf("%d of %d good pods denied or warned of, %d of %d bad pods admitted", denied.Load(), good, admitted.Load(), bad)
		}
	})
}

func TestOfMoreImagesThanAreLookedUpHSSIsNotAsked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		kind    string
		images  []string
		allowed bool
		calls   int
		says    string
	}{
		"a pod of one too many is denied":          {"Pod", madeUp(65, "a"), false, 0, "the object names 65 different images, at most 64 are looked up"},
		"a pod of a thousand is denied":            {"Pod", madeUp(1000, "a"), false, 0, "the object names 1000 different images, at most 64 are looked up"},
		"a Deployment of a thousand is warned of":  {"Deployment", madeUp(1000, "a"), true, 0, "the object names 1000 different images"},
		"as many as are looked up are":             {"Pod", madeUp(64, "a"), true, 64, "has no image"},
		"an image that is named again counts once": {"Pod", append(madeUp(64, "a"), madeUp(64, "a")...), true, 64, "has no image"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newBusyGate(t, time.Millisecond, 1)
				begun := time.Now()
				got := g.ask(t, "team", test.kind, test.images...)
				says := strings.Join(got.Warnings, "\n")
				if !got.Allowed {
					says += got.Result.Message
				}
				if calls := g.hss.Stats().Requests; got.Allowed != test.allowed || calls != test.calls || !strings.Contains(says, test.says) {
					t.Errorf("allowed: %t, %d calls: %s", got.Allowed, calls, says)
				}
				if !got.Allowed && (got.Result.Code != http.StatusForbidden || time.Since(begun) != 0) {
					t.Errorf("it was denied after %s with %d", time.Since(begun), got.Result.Code)
				}
			})
		})
	}
}

func TestNothingIsLookedUpForAReviewThatHasEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBusyGate(t, 2*time.Second, 1)
		var reviews sync.WaitGroup
		for n := range 10 {
			reviews.Go(func() { g.ask(t, "evil", "Pod", madeUp(64, fmt.Sprint(n))...) })
		}
		reviews.Wait()
		ended := g.hss.Stats().Requests
		time.Sleep(time.Minute)
		if later := g.hss.Stats().Requests; later != ended {
			t.Errorf("HSS was asked %d times, and %d times more after all reviews had ended", ended, later-ended)
		}
	})
}

func TestAPodIsDecidedWhileAnotherNamespaceAsksForMuch(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		latency time.Duration
		// pods is how many of 64 images the other namespace has.
		pods int
		// same has the other namespace ask for the pod's image, too.
		same bool
	}{
		"HSS is slow":                        {6 * time.Second, 3, false},
		"more wait than may":                 {200 * time.Millisecond, 500, false},
		"the other waits for the same image": {time.Second, 10, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newBusyGate(t, test.latency, 2)
				g.ask(t, "team", "Pod", "good-1") // until then, one call at a time tries the key
				var reviews sync.WaitGroup
				for n := range test.pods {
					reviews.Go(func() { g.ask(t, "evil", "Pod", madeUp(64, fmt.Sprint(n))...) })
				}
				synctest.Wait()
				if test.same {
					reviews.Go(func() { g.ask(t, "evil", "Pod", "good-0") })
					synctest.Wait()
				}
				if got := g.ask(t, "team", "Pod", "good-0"); !got.Allowed || len(got.Warnings) > 0 {
					t.Errorf("%v %v", got.Result, got.Warnings)
				}
				reviews.Wait()
			})
		})
	}
}
