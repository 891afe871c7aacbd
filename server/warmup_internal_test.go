package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
)

// running is an API server with running pods that can be paged.
type running struct {
	client.Reader
	pods []corev1.Pod
	// fail, if set, fails a list that begins at a pod.
	fail  func(from int) error
	pages []int
	asked []string
}

// List returns a page of the pods.
func (r *running) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	o := (&client.ListOptions{}).ApplyOptions(options)
	r.asked = append(r.asked, fmt.Sprint(o.FieldSelector))
	from, _ := strconv.Atoi(o.Continue)
	if r.fail != nil {
		if err := r.fail(from); err != nil {
			return err
		}
	}
	to := min(from+int(o.Limit), len(r.pods))
	page, _ := list.(*corev1.PodList)
	page.Items = r.pods[from:to]
	if r.pages = append(r.pages, to-from); to < len(r.pods) {
		page.Continue = strconv.Itoa(to)
	}
	return nil
}

// References says that some policy judges all images but those of a namespace.
func (r *running) References(_ context.Context, request gate.Request) (refs []image.Reference) {
	for _, use := range request.Workload.Uses {
		if ref, err := image.Parse(use.Image); err == nil && request.Namespace != "exempt" {
			refs = append(refs, ref)
		}
	}
	return refs
}

// newRunning has n pods of so many images, each with one more that all have.
func newRunning(n, images int) *running {
	r := &running{}
	for i := range n {
		pod := corev1.Pod{Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "init", Image: "example.com/init:1"}},
			Containers:     []corev1.Container{{Name: "app", Image: fmt.Sprintf("example.com/app-%d:1", i%images)}},
		}}
		pod.Namespace, pod.Name = "default", fmt.Sprintf("web-%d", i)
		r.pods = append(r.pods, pod)
	}
	return r
}

// learner takes a while to learn of an image.
type learner struct {
	takes time.Duration
	fails bool
	seen  map[image.Reference]int
}

func (l *learner) Warm(ctx context.Context, refs iter.Seq[image.Reference], p inventory.Progress) error {
	l.seen = map[image.Reference]int{}
	for ref := range refs {
		if l.seen[ref]++; l.seen[ref] == 1 {
			p(len(l.seen), 0)
		}
	}
	for n := range len(l.seen) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d images are missing: %w", len(l.seen)-n, ctx.Err())
		case <-time.After(l.takes):
		}
		if !l.fails {
			p(len(l.seen), n+1)
		}
	}
	if l.fails {
		<-ctx.Done()
		return errors.New("HSS is away")
	}
	return nil
}

// rehearsal is a warm-up with what it needs.
type rehearsal struct {
	*warmUp
	log      bytes.Buffer
	registry *prometheus.Registry
}

func rehearse(r *running, images *learner, timeout time.Duration) *rehearsal {
	h := &rehearsal{registry: prometheus.NewRegistry()}
	h.warmUp = &warmUp{
		live: r, judge: r, images: images, decidable: func() error { return nil }, timeout: timeout,
		metrics: newWarmUpMetrics(h.registry), log: slog.New(slog.NewTextHandler(&h.log, nil)),
	}
	return h
}

func TestAReplicaWarmsUpBeforeItIsReady(t *testing.T) {
	t.Parallel()
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no"))
	unavailable := func(int) error { return errors.New("the API server is away") }
	for name, test := range map[string]struct {
		pods    int
		takes   time.Duration
		fails   bool
		list    func(from int) error
		timeout time.Duration
		want    time.Duration
		log     string
		images  string
	}{
		"nothing runs": {timeout: 10 * time.Second, log: `level=INFO msg="warmed up: all images of running pods are known" took=0s pods=0 images=0`, images: "0 of 0"},
		"everything is soon known": {
			pods: 1200, takes: time.Second / 10, timeout: 10 * time.Second, want: 2100 * time.Millisecond, images: "21 of 21",
			log: `level=INFO msg="warmed up: all images of running pods are known" took=2.1s pods=1200 images=21`,
		},
		"it takes too long": {
			pods: 1200, takes: time.Second, timeout: 10500 * time.Millisecond, want: 10500 * time.Millisecond, images: "10 of 21",
			log: `level=WARN msg="not warmed up in full: HSS will be asked for the rest when it is needed" took=10.5s pods=1200 images=21 missing=11 error="11 images are missing: context deadline exceeded"`,
		},
		"HSS is away": {
			pods: 10, fails: true, timeout: 10 * time.Second, want: 10 * time.Second, images: "0 of 11",
			log: `level=WARN msg="not warmed up in full: HSS will be asked for the rest when it is needed" took=10s pods=10 images=11 missing=11 error="HSS is away"`,
		},
		"pods may not be listed": {
			pods: 10, list: func(int) error { return forbidden }, timeout: 10 * time.Second, images: "0 of 0",
			log: `level=WARN msg="not warmed up, as the running pods may not be listed: grant that, or set cache.warmUpTimeout to 0s" took=0s pods=0 images=0 error="list the running pods: pods is forbidden: no"`,
		},
		"pods can't be listed": {
			pods: 10, list: unavailable, timeout: 10 * time.Second, want: 10 * time.Second, images: "0 of 0",
			log: `level=WARN msg="not warmed up in full: HSS will be asked for the rest when it is needed" took=10s pods=0 images=0 missing=0 error="list the running pods: the API server is away"`,
		},
		"it is switched off": {pods: 10, list: unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRunning(test.pods, 20)
				r.fail = test.list
				h := rehearse(r, &learner{takes: test.takes, fails: test.fails}, test.timeout)
				if h.ready(nil) == nil {
					t.Error("it is ready before it began")
				}
				begun := time.Now()
				if err := h.Start(t.Context()); err != nil || h.ready(nil) != nil {
					t.Errorf("Start returned %v, and it is ready: %v", err, h.ready(nil))
				}
				if took := time.Since(begun); took != test.want {
					t.Errorf("it took %s, want %s", took, test.want)
				}
				if got := fmt.Sprintf("%d of %d", h.known.Load(), h.wanted.Load()); got != test.images && test.timeout > 0 {
					t.Errorf("%s images are known, want %s", got, test.images)
				}
				_, log, _ := strings.Cut(strings.TrimSpace(h.log.String()), " ")
				if diff := cmp.Diff(test.log, log); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAReplicaSaysWhatItsWarmUpWaitsFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := rehearse(newRunning(600, 20), &learner{takes: time.Second}, time.Minute)
		var decidable atomic.Bool
		h.decidable = func() error {
			if !decidable.Load() {
				return errors.New("policies have not been read yet")
			}
			return nil
		}
		go func() { _ = h.Start(t.Context()) }()
		says := func(after time.Duration, want string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := fmt.Sprint(h.ready(nil)); got != want {
				t.Errorf("it says %q, want %q", got, want)
			}
		}
		says(time.Hour, "warm-up: 0 of 0 images of 0 running pods are known")
		decidable.Store(true)
		says(4500*time.Millisecond, "warm-up: 4 of 21 images of 600 running pods are known")
		says(time.Minute, "<nil>")
		if diff := cmp.Diff([]int{500, 100}, h.live.(*running).pages); diff != "" { //nolint:forcetypeassert // it is one
			t.Errorf("pages (-want +got):\n%s", diff)
		}
		want := []string{"hssgate_warm_up_duration_seconds{} 21", "hssgate_warm_up_images{state=known} 21", "hssgate_warm_up_images{state=missing} 0"}
		if diff := cmp.Diff(want, gathered(t, h.registry)); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
	})
}

func TestAWarmUpLeavesOutWhatNoPolicyJudgesAndWhatEnded(t *testing.T) {
	t.Parallel()
	r := newRunning(2, 2)
	r.pods[1].Namespace = "exempt"
	learner := &learner{}
	h := rehearse(r, learner, time.Minute)
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for ref, n := range learner.seen {
		got[ref.String()] = n
	}
	if diff := cmp.Diff(map[string]int{"example.com/init:1": 1, "example.com/app-0:1": 1}, got); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"status.phase!=Succeeded,status.phase!=Failed"}, r.asked); diff != "" {
		t.Errorf("pods asked for (-want +got):\n%s", diff)
	}
}

func TestAWarmUpListsAnewWhatExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, failures := newRunning(1200, 1200), 2
		r.fail = func(from int) error {
			if from == 1000 && failures > 0 {
				failures--
				return apierrors.NewResourceExpired("too old")
			}
			return nil
		}
		h := rehearse(r, &learner{}, time.Minute)
		_ = h.Start(t.Context())
		if h.pods.Load() != 1200 || h.known.Load() != 1201 {
			t.Errorf("%d pods and %d images are known, want 1200 and 1201", h.pods.Load(), h.known.Load())
		}
	})
}

func TestAWarmUpThatPanicsOrIsStoppedEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRunning(10, 10)
		r.fail = func(int) error { panic("oh no") }
		h := rehearse(r, &learner{}, time.Minute)
		if err := h.Start(t.Context()); err != nil || h.ready(nil) != nil || !strings.Contains(h.log.String(), "internal error: panic: oh no") {
			t.Errorf("got %v, ready: %v, log:\n%s", err, h.ready(nil), h.log.String())
		}
		h = rehearse(newRunning(10, 10), &learner{takes: time.Hour}, 5*time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		begun := time.Now()
		if err := h.Start(ctx); err != nil || time.Since(begun) != time.Second || h.log.Len() > 0 {
			t.Errorf("got %v after %s, log:\n%s", err, time.Since(begun), h.log.String())
		}
		h = rehearse(newRunning(10, 10), &learner{}, 5*time.Minute)
		h.decidable = func() error { return errors.New("never") }
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.Start(ctx); err != nil || h.wanted.Load() > 0 {
			t.Errorf("got %v", err)
		}
	})
}
