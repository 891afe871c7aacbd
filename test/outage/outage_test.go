// Package outage_test takes hssgate through outages of HSS in virtual time: the real webhook handler, gate, inventory and
// client. With -v it logs the table of docs/failures.md.
package outage_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/server"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

const (
	// latency is what HSS takes when it is well.
	latency = 100 * time.Millisecond
	// lasts is how long an outage lasts.
	lasts = time.Hour
	// perMinute are the admissions of known images.
	perMinute = 50
)

// outage is how HSS treats a request: it answers with a status, or the connection fails.
type outage func(ctx context.Context) (status int, err error)

func takes(d time.Duration) outage {
	return func(ctx context.Context) (int, error) {
		select {
		case <-time.After(d):
			return http.StatusOK, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func answers(status int) outage {
	return func(context.Context) (int, error) { return status, nil }
}

func resets(context.Context) (int, error) {
	return 0, &net.OpError{Op: "read", Err: syscall.ECONNRESET}
}

// transport is the way to HSS, which knows and has scanned every image.
type transport struct {
	mu    sync.Mutex
	state outage
	// sent holds when requests were sent.
	sent []time.Time
}

func (t *transport) become(o outage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state = o
}

// requests returns the most requests that were sent in a minute of a time.
func (t *transport) requests(begin, end time.Time) (most int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	perMinute := map[time.Duration]int{}
	for _, at := range t.sent {
		if !at.Before(begin) && at.Before(end) {
			minute := at.Sub(begin) / time.Minute
			perMinute[minute]++
			most = max(most, perMinute[minute])
		}
	}
	return most
}

// RoundTrip answers as HSS does in its state.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	t.sent = append(t.sent, time.Now())
	state := t.state
	t.mu.Unlock()
	status, err := state(r.Context())
	if err != nil {
		return nil, err
	}
	answer := httptest.NewRecorder()
	answer.WriteHeader(status)
	if q := r.URL.Query(); status == http.StatusOK {
		_, _ = fmt.Fprintf(answer, `{"total_num": 1, "data_list": [{"namespace": %q, "image_name": %q, "image_version": %q, "image_type": "private_image",
			"scan_status": "success", "latest_scan_time": %d}]}`, q.Get("namespace"), q.Get("image_name"), q.Get("image_version"), time.Now().UnixMilli())
	}
	return answer.Result(), nil
}

// cell is what an outage did to admissions.
type cell struct {
	outage string
	images int
	// known are the times that admissions of known images took, ascending, also in the minute after; denied is how many of these were denied.
	known  []time.Duration
	denied int
	// calls are the most requests to HSS in a minute, once the outage had lasted for three.
	calls int
	// after are the admissions of new images in the minute after the outage, refused those that were denied.
	after, refused int
}

func (c *cell) over(d time.Duration) float64 {
	at, _ := slices.BinarySearch(c.known, d+1)
	return float64(len(c.known)-at) / float64(len(c.known))
}

func (c *cell) String() string {
	at := func(percent int) time.Duration { return c.known[len(c.known)*percent/100].Round(time.Millisecond) }
	return fmt.Sprintf("| %s | %d | %s | %s | %.2f %% | %d | %d of %d |",
		c.outage, c.images, at(50), at(99), 100*c.over(time.Second), c.calls, c.refused, c.after)
}

func TestAnHourOfOutage(t *testing.T) {
	t.Parallel()
	outages := []struct {
		name  string
		state outage
		// dead says that HSS answers nothing that is of use.
		dead bool
	}{
		{"hangs", takes(24 * time.Hour), true},
		{"takes 5 s", takes(5 * time.Second), false},
		{"takes 1 s", takes(time.Second), false},
		{"503", answers(http.StatusServiceUnavailable), true},
		{"429", answers(http.StatusTooManyRequests), true},
		{"resets connections", resets, true},
	}
	var mu sync.Mutex
	var cells []*cell
	t.Cleanup(func() {
		slices.SortFunc(cells, func(a, b *cell) int { return cmp.Or(strings.Compare(a.outage, b.outage), a.images-b.images) })
		t.Log("| HSS | images in use | p50 | p99 | over 1 s | calls a minute | new images denied in the minute after |")
		for _, c := range cells {
			t.Log(c)
		}
	})
	for _, o := range outages {
		for _, images := range []int{50, 500, 3000} {
			t.Run(fmt.Sprintf("HSS %s, %d images", o.name, images), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c := run(t, o.state, images)
					c.outage = o.name
					mu.Lock()
					cells = append(cells, c)
					mu.Unlock()
					if c.denied > 0 || c.over(time.Second) > 0.001 {
						t.Errorf("of known images %d were denied, and %.2f %% waited over a second", c.denied, 100*c.over(time.Second))
					}
					if o.dead && c.calls > 6 {
						t.Errorf("HSS, which is dead, was called %d times in a minute", c.calls)
					}
					if c.refused*20 > c.after {
						t.Errorf("in the minute after the outage %d of %d new images were denied", c.refused, c.after)
					}
				})
			})
		}
	}
}

func TestAColdReplicaAdmitsFiveHundredServicesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, &transport{state: takes(latency)})
		var all sync.WaitGroup
		for n := range 500 {
			all.Go(func() {
				if allowed, took := admit(t, h, known(n)); !allowed {
					t.Errorf("service %d was denied after %s", n, took)
				}
			})
		}
		all.Wait()
	})
}

// run takes hssgate through an outage of HSS.
func run(t *testing.T, state outage, images int) *cell {
	t.Helper()
	hss := &transport{state: takes(latency)}
	h := newHandler(t, hss)
	for n := range images {
		if allowed, _ := admit(t, h, known(n)); !allowed {
			t.Fatal("HSS, which is well, is not asked")
		}
	}
	c, begun := &cell{images: images}, time.Now()
	var mu sync.Mutex
	var all sync.WaitGroup
	unknown := 0
	// load sends admissions of known images, and of new ones that no one has asked about, as many in a minute.
	load := func(until time.Time, newPerMinute int, after bool) {
		total := perMinute + newPerMinute
		for n := 0; time.Now().Before(until); n++ {
			image, isNew := known(n*7919%images), n*newPerMinute%total < newPerMinute
			if isNew {
				image = fmt.Sprintf("swr.example.com/prod/new:%d", unknown)
				unknown++
			}
			all.Go(func() {
				allowed, took := admit(t, h, image)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case isNew && after:
					c.after++
					if !allowed {
						c.refused++
					}
				case !isNew:
					if !allowed {
						c.denied++
					}
					c.known = append(c.known, took)
				}
			})
			time.Sleep(time.Minute / time.Duration(total))
		}
	}
	hss.become(state)
	load(begun.Add(lasts), 6, false)
	recovered := time.Now()
	hss.become(takes(latency))
	load(recovered.Add(time.Minute), 120, true)
	all.Wait()
	c.calls = hss.requests(begun.Add(3*time.Minute), recovered)
	slices.Sort(c.known)
	return c
}

// newHandler returns hssgate's handler with one policy that denies, which ends with the test.
func newHandler(t *testing.T, to http.RoundTripper) http.Handler {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(key, []byte("any"), 0o600))
	c, err := config.Parse("config.yaml", fmt.Appendf(nil, `apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects:
- {name: main, region: cn-north-4, projectID: p1, credentials: {source: Files, accessKeyFile: %q, secretKeyFile: %q}}
registries:
- {name: main, hosts: [swr.example.com], project: main}
`, key, key))
	must(t, err)
	clients, err := inventory.NewClients(c, "hssgate-outage", func(string, http.RoundTripper) http.RoundTripper { return to })
	must(t, err)
	images, err := inventory.New(inventory.Options{Config: c, Clients: clients})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- images.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		images.Close()
		must(t, <-ended)
	})
	scanned, problems := policy.Compile(&v1alpha1.ImageScanPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "scanned"},
		Spec: v1alpha1.ImageScanPolicySpec{
			Enforcement: v1alpha1.EnforcementDeny,
			Require:     v1alpha1.Requirements{ScanStatus: &v1alpha1.ScanStatusRequirement{In: []v1alpha1.ScanStatus{"success"}}},
		},
	})
	must(t, problems.ToAggregate())
	return server.NewHandler(c, webhook.Options{Log: slog.New(slog.DiscardHandler), Decider: &gate.Gate{
		Policies:        func() []*policy.Policy { return []*policy.Policy{scanned} },
		NamespaceLabels: func(context.Context, string) (map[string]string, error) { return nil, nil },
		Facts:           images, Clock: clock.RealClock{},
	}})
}

func known(n int) string { return fmt.Sprintf("swr.example.com/prod/app:%d", n) }

// admit asks for a pod of an image. It returns whether it was allowed, and after what time.
func admit(t *testing.T, h http.Handler, image string) (allowed bool, took time.Duration) {
	t.Helper()
	pod, err := json.Marshal(corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}}})
	must(t, err)
	review := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: types.UID(image), Operation: admissionv1.Create, Namespace: "prod",
			Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Object: runtime.RawExtension{Raw: pod},
		},
	}
	body, err := json.Marshal(review)
	must(t, err)
	answer, begun := httptest.NewRecorder(), time.Now()
	h.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodPost, server.ValidatePath+"?timeout=10s", strings.NewReader(string(body))))
	took = time.Since(begun)
	must(t, json.Unmarshal(answer.Body.Bytes(), &review))
	return review.Response.Allowed, took
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
