package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// startup is what (f) is measured with.
type startup struct {
	cluster *cluster
	binary  string
	like    *corev1.Pod
}

// measureStartup is (f): from the start of the program until it is ready.
func measureStartup(ctx context.Context, b *bench) (err error) {
	running, starts := 10_000, 3
	if b.quick {
		running, starts = 1_000, 1
	}
	b.printf("The program itself before a real API server, HSS at 100 ms a call; the pods have %d images. \"Ready\" is when /readyz says so; the calls\n"+
		"after it are those that it takes until a pod of every image has been judged. Medians of %d starts.\n\n", knownImages, starts)
	s := &startup{}
	if s.like, err = readPod(); err != nil {
		return err
	}
	s.like.ManagedFields, s.like.Status, s.like.Spec.NodeName = nil, corev1.PodStatus{}, "node-1"
	if s.binary, err = b.buildGate(ctx); err != nil {
		return err
	}
	if s.cluster, err = b.startCluster(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.cluster.stop()) }()
	if err := s.cluster.createNamespace(ctx, namespace); err != nil {
		return err
	}
	if err := s.cluster.createPolicies(ctx, 10, namespace); err != nil {
		return err
	}
	t := newTable("running pods", "ready after", "÷ none running", "HSS calls before", "HSS calls after")
	var none time.Duration
	for _, pods := range []int{0, running} {
		took, err := s.addTo(ctx, b, t, pods, starts, none)
		if err != nil {
			return err
		}
		none = took
	}
	t.print(b.out)
	return nil
}

// addTo starts hssgate some times before a cluster with so many running pods.
func (s *startup) addTo(ctx context.Context, b *bench, t *table, pods, starts int, none time.Duration) (time.Duration, error) {
	if err := s.run(ctx, pods); err != nil {
		return 0, fmt.Errorf("make %d running pods: %w", pods, err)
	}
	var took, before, after []float64
	for range starts {
		one, err := s.start(ctx, b)
		if err != nil {
			return 0, err
		}
		took, before, after = append(took, one.took.Seconds()), append(before, float64(one.before)), append(after, float64(one.after))
	}
	ready := time.Duration(median(took) * float64(time.Second))
	if none == 0 {
		none = ready
	}
	t.add(pods, ready, float64(ready)/float64(none), fmt.Sprintf("%.0f", median(before)), fmt.Sprintf("%.0f", median(after)))
	return ready, nil
}

// run makes so many running pods.
func (s *startup) run(ctx context.Context, n int) error {
	pods := s.cluster.client.CoreV1().Pods(namespace)
	status := []byte(`{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}`)
	return each(n, func(i int) error {
		pod := newPod(s.like, i)
		if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return err
		}
		_, err := pods.Patch(ctx, pod.Name, types.MergePatchType, status, metav1.PatchOptions{}, "status")
		return err
	})
}

// started is one start.
type started struct {
	took          time.Duration
	before, after int
}

func (s *startup) start(ctx context.Context, b *bench) (one started, err error) {
	hss := hsstest.NewServer(hsstest.WithImages(imageRows(knownImages)...), hsstest.WithLatency(100*time.Millisecond)) //nolint:contextcheck // closing it is what ends it
	defer hss.Close()
	begun := time.Now()
	g, err := b.startGate(ctx, s.binary, s.cluster, hss)
	if err != nil {
		return started{}, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	if err := g.awaitReady(ctx); err != nil {
		return started{}, err
	}
	one.took, one.before = time.Since(begun), hss.Stats().Requests
	err = judgeEveryImage(ctx, g)
	one.after = hss.Stats().Requests - one.before
	return one, err
}

// judgeEveryImage has hssgate judge pods that have every image, and fails
// unless all are admitted.
func judgeEveryImage(ctx context.Context, g *gateProcess) error {
	l := load{URL: serverURL(g.webhook), CAFile: g.caFile, CheckUID: true}
	all, err := l.connect(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range all {
		defer c.conn.Close()
	}
	for i := range knownImages {
		errs = append(errs, all[0].exchange(&all[0].requests[i]))
	}
	return errors.Join(errs...)
}
