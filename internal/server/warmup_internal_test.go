package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
)

// running is an API server with running pods.
type running struct {
	client.Reader
	pods []corev1.Pod
	// fails, if set, fails a list.
	fails error
}

// List returns the pods.
func (r *running) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	o := (&client.ListOptions{}).ApplyOptions(options)
	if got := o.FieldSelector.String(); got != "status.phase!=Succeeded,status.phase!=Failed" {
		return errors.New("selected are " + got)
	}
	page, _ := list.(*corev1.PodList)
	page.Items = r.pods
	return errors.Join(ctx.Err(), r.fails)
}

// References says that some policy evaluates all images but those of a namespace.
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

// rehearsal is a warm-up with an API server, and an HSS that takes its time for each image.
type rehearsal struct {
	*warmUp
	*running
	takes time.Duration
	seen  map[image.Reference]int
	log   bytes.Buffer
}

func rehearse(r *running, takes time.Duration) *rehearsal {
	h := &rehearsal{running: r, takes: takes, seen: map[image.Reference]int{}}
	h.warmUp = &warmUp{
		live: r, references: r.References, lookUp: h.lookUp, decidable: func() error { return nil }, log: slog.New(slog.NewTextHandler(&h.log, nil)),
	}
	return h
}

func (h *rehearsal) lookUp(ctx context.Context, refs iter.Seq[image.Reference], p *inventory.Progress) error {
	for ref := range refs {
		if h.seen[ref]++; h.seen[ref] == 1 {
			p.Images.Add(1)
		}
	}
	for n := range len(h.seen) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d images are missing: %w", len(h.seen)-n, ctx.Err())
		case <-time.After(h.takes):
		}
		p.Known.Add(1)
	}
	return nil
}

func TestAReplicaWarmsUpBeforeItIsReady(t *testing.T) {
	t.Parallel()
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no"))
	type testCase struct {
		takes time.Duration
		list  error
		want  time.Duration
		log   string
	}
	each(t, map[string]testCase{
		"everything is soon known": {
			takes: time.Second / 10, want: 2100 * time.Millisecond,
			log: `level=INFO msg="warmed up: all images of running pods are known" took=2.1s images=21`,
		},
		"it takes too long": {
			takes: 3 * time.Second, want: 10 * time.Second,
			log: `level=WARN msg="not warmed up in full: HSS will be asked for the rest when it is needed" took=10s images=21 missing=18 error="18 images are missing: context deadline exceeded"`,
		},
		"pods may not be listed": {
			list: forbidden,
			log:  `level=WARN msg="not warmed up in full: HSS will be asked for the rest when it is needed" took=0s images=0 missing=0 error="list the running pods: pods is forbidden: no"`,
		},
	}, func(t *testing.T, test testCase) {
		h := rehearse(newRunning(40, 20), test.takes)
		h.fails = test.list
		if h.ready(nil) == nil {
			t.Error("it is ready before it began")
		}
		begun := time.Now()
		if err := h.Start(t.Context()); err != nil || h.ready(nil) != nil || time.Since(begun) != test.want {
			t.Errorf("Start returned %v after %s, want %s, and it is ready: %v", err, time.Since(begun), test.want, h.ready(nil))
		}
		_, log, _ := strings.Cut(strings.TrimSpace(h.log.String()), " ")
		equal(t, "log", test.log, log)
	})
}

func TestAWarmUpLooksUpEachImageThatAPolicyEvaluatesOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := rehearse(newRunning(6, 2), time.Second)
		h.running.pods[1].Namespace = "exempt"
		for n := range h.running.pods[2:] {
			h.running.pods[2+n] = h.running.pods[0]
		}
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
			equal(t, "readiness", want, fmt.Sprint(h.ready(nil)))
		}
		says(time.Minute, "warm-up: 0 of 0 images of running pods are known")
		decidable.Store(true)
		says(1100*time.Millisecond, "warm-up: 1 of 2 images of running pods are known")
		says(time.Minute, "<nil>")
		images := map[string]int{}
		for ref, times := range h.seen {
			images[ref.String()] = times
		}
		equal(t, "images, and how often they are given", map[string]int{"example.com/app-0:1": 5, "example.com/init:1": 5}, images)
	})
}

func TestAWarmUpThatIsStoppedEndsAtOnce(t *testing.T) {
	t.Parallel()
	for name, decidable := range map[string]error{"while it looks images up": nil, "while it waits for policies": errors.New("never")} {
		synctest.Test(t, func(t *testing.T) {
			h := rehearse(newRunning(10, 10), time.Hour)
			h.decidable = func() error { return decidable }
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begun := time.Now()
			if err := h.Start(ctx); err != nil || time.Since(begun) != time.Second || h.log.Len() > 0 {
				t.Errorf("%s: got %v after %s, log:\n%s", name, err, time.Since(begun), h.log.String())
			}
		})
	}
}
