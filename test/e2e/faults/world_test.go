package faults_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
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

// There are rows for the first images, of which hssgate has asked for the first
// known ones before anything goes wrong.
const (
	rows   = 60
	images = 80
	known  = 40
)

// image is the reference of an image, and row what HSS says of it, if anything.
func image(n int) string { return fmt.Sprintf("main.example.com/prod/app-%d:1", n) }

func row(n int) hsstest.Image {
	return hsstest.Image{
		Namespace: "prod", ImageName: fmt.Sprintf("app-%d", n), ImageVersion: "1", ImageDigest: fmt.Sprintf("sha256:%064x", n+1),
		ImageType: "private_image", ScanStatus: "success", SeverityLevel: "Low", VulNum: hsstest.Count(2 * (n % 3)), LatestScanTime: time.UnixMilli(1_000_000),
	}
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

// world is a gate that asks HSS through a proxy.
type world struct {
	hss   *hsstest.Server
	proxy *toxiproxy.Proxy
	clock *shifted
	// skew is how far HSS's clock is ahead.
	skew atomic.Int64
	// endpoint is where hssgate asks; empty: the proxy.
	endpoint string
	known    *inventory.Inventory
	handler  http.Handler
	config   *config.Configuration
	end      func()
}

func newWorld(t *testing.T, change ...func(*world)) *world {
	t.Helper()
	w := &world{clock: &shifted{}}
	for _, c := range change {
		c(w)
	}
	var all []hsstest.Image
	for n := range rows {
		all = append(all, row(n))
	}
	w.hss = hsstest.NewServer(hsstest.WithImages(all...), hsstest.WithClock(func() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) }))
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	w.proxy = toxiproxy.NewProxy(api, "hss", "127.0.0.1:0", strings.TrimPrefix(w.hss.URL, "http://"))
	if err := w.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	w.configure(t)
	clients, err := inventory.NewClients(w.config, "hssgate/faults")
	if err != nil {
		t.Fatal(err)
	}
	options := inventory.Options{Config: w.config, Clients: clients, Clock: w.clock, LookupTimeout: time.Second, ErrorFor: 100 * time.Millisecond}
	if w.known, err = inventory.New(options); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.known.Start(ctx) // it ends with ctx
	}()
	w.end = sync.OnceFunc(func() {
		stop()
		w.known.Close()
		<-ended
		w.proxy.Stop()
		w.hss.Close()
	})
	t.Cleanup(w.end)
	w.handler = server.NewHandler(w.config, webhook.Options{Decider: w.newGate(t), Log: slog.New(slog.DiscardHandler)})
	return w
}

// configure makes a configuration by which images are asked for again soon, and
// used for an hour if that fails.
func (w *world) configure(t *testing.T) {
	t.Helper()
	key := hsstest.DefaultCredential()
	endpoint := cmp.Or(w.endpoint, "http://"+w.proxy.Listen)
	var err error
	w.config, err = config.Parse("test.yaml", fmt.Appendf(nil, `
apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects:
- name: main
  endpoint: %s
  projectID: p1
  requestsPerSecond: 60
  requestTimeout: 500ms
  credentials: {source: Files, accessKeyFile: %s, secretKeyFile: %s}
registries:
- {name: main, hosts: [main.example.com]}
cache: {freshFor: 1s, notFoundFor: 1s, waitWhenStale: 50ms, maxStaleness: 2h}
`, endpoint, write(t, "ak", key.AccessKey), write(t, "sk", key.SecretKey)))
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (w *world) newGate(t *testing.T) *gate.Gate {
	t.Helper()
	compiled, err := policy.Compile(&v1alpha1.ImageScanPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec: v1alpha1.ImageScanPolicySpec{
			Enforcement: v1alpha1.EnforcementDeny,
			Require:     v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 0}},
			When:        v1alpha1.When{NotFound: v1alpha1.ActionDeny, NotScanned: v1alpha1.ActionDeny, Unavailable: v1alpha1.ActionDeny},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &gate.Gate{Policies: func() []*policy.Policy { return []*policy.Policy{compiled} }, Facts: w.known, Clock: w.clock}
}

// verdict is what was decided about one image.
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

// ask has the gate review a pod with one image.
func (w *world) ask(t *testing.T, n int) (got verdict, message string) {
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
		return admitted, strings.Join(review.Response.Warnings, "\n")
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

// load has a number of clients ask for images at random, each until the time is
// up, and evaluates every answer. Only an image that wasn't known before may be
// unavailable, and only while something is wrong.
func (w *world) load(t *testing.T, d time.Duration, wrong bool) (answers, unknown int64) {
	t.Helper()
	var asked, without atomic.Int64
	var clients sync.WaitGroup
	until := time.Now().Add(d)
	for client := range uint64(8) {
		random := rand.New(rand.NewPCG(client, 1))
		clients.Go(func() {
			for time.Now().Before(until) {
				n := random.IntN(images)
				got, message := w.ask(t, n)
				asked.Add(1)
				if got == unavailable && wrong && n >= known {
					without.Add(1)
				} else if got != want(n) {
					t.Errorf("image %d is %s, want %s: %s", n, got, want(n), message)
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	clients.Wait()
	return asked.Load(), without.Load()
}
