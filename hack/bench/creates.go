package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// The namespaces of (b), by who is asked about their pods.
const (
	askNobody = "nobody"
	askTyped  = "typed"
	askGate   = "hssgate"
)

// arena is where pods are created for (b).
type arena struct {
	cluster *cluster
	like    *corev1.Pod
	gate    *gateProcess
	typed   *contender
	hss     *hsstest.Server
}

// measureCreates is (b): pod creates a second through a real API server.
func measureCreates(ctx context.Context, b *bench) (err error) {
	rounds, pods := 10, 400
	if b.quick {
		rounds, pods = 3, 150
	}
	b.printf("kube-apiserver and etcd on this machine, pods of 3 containers, %d clients at once, %d pods a run, %d runs of each by turns; the pods are\n"+
		"deleted between runs. hssgate is the program itself with 10 policies that all match, warm; the no-op is controller-runtime's.\n\n", connections, pods, rounds)
	a, err := b.newArena(ctx)
	if a != nil {
		defer func() { err = errors.Join(err, a.close()) }()
	}
	if err != nil {
		return err
	}
	perSecond := map[string][]float64{}
	for range rounds {
		for _, namespace := range []string{askNobody, askTyped, askGate} {
			rate, err := a.create(ctx, namespace, pods)
			if err != nil {
				return fmt.Errorf("create pods in %s: %w", namespace, err)
			}
			perSecond[namespace] = append(perSecond[namespace], rate)
		}
	}
	t := newTable("who is asked", "creates/s, median", "÷ no-op", "÷ nobody", "least", "most")
	for _, namespace := range []string{askNobody, askTyped, askGate} {
		rates := perSecond[namespace]
		t.add(describe(namespace), median(rates), medianRatio(rates, perSecond[askTyped]), medianRatio(rates, perSecond[askNobody]), least(rates), most(rates))
	}
	t.print(b.out)
	return b.benchstat(ctx, perSecond)
}

func medianRatio(of, to []float64) float64 {
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = of[i] / to[i]
	}
	return median(ratios)
}

// newArena starts all that is needed; what was started is closed by close.
func (b *bench) newArena(ctx context.Context) (*arena, error) {
	like, err := readPod()
	if err != nil {
		return nil, err
	}
	like.ManagedFields, like.Status = nil, corev1.PodStatus{}
	a := &arena{like: like, hss: hsstest.NewServer(hsstest.WithImages(imageRows(knownImages)...))} //nolint:contextcheck // closing it is what ends it
	binary, err := b.buildGate(ctx)
	if err != nil {
		return a, err
	}
	if a.cluster, err = b.startCluster(); err != nil {
		return a, err
	}
	if a.gate, err = b.startGate(ctx, binary, a.cluster, a.hss); err != nil {
		return a, err
	}
	if a.typed, err = b.startContender(ctx, serverTyped); err != nil {
		return a, err
	}
	if err := a.gate.awaitReady(ctx); err != nil {
		return a, err
	}
	return a, a.prepare(ctx)
}

func (a *arena) close() error {
	a.hss.Close()
	var errs []error
	if a.typed != nil {
		errs = append(errs, a.typed.child.stop())
	}
	if a.gate != nil {
		errs = append(errs, a.gate.stop())
	}
	if a.cluster != nil {
		errs = append(errs, a.cluster.stop())
	}
	return errors.Join(errs...)
}

// prepare makes namespaces, policies and webhooks, and waits until hssgate
// judges and knows every image.
func (a *arena) prepare(ctx context.Context) error {
	for _, name := range []string{askNobody, askTyped, askGate} {
		if err := a.cluster.createNamespace(ctx, name); err != nil {
			return err
		}
	}
	if err := a.cluster.createPolicies(ctx, 10, askGate); err != nil {
		return err
	}
	if err := a.cluster.installWebhook(ctx, askTyped, a.typed.url, a.typed.caFile, askTyped); err != nil {
		return err
	}
	if err := a.cluster.installWebhook(ctx, askGate, serverURL(a.gate.webhook), a.gate.caFile, askGate); err != nil {
		return err
	}
	if err := a.cluster.awaitDenial(ctx, a.like, askGate); err != nil {
		return err
	}
	for _, namespace := range []string{askNobody, askTyped, askGate} {
		if _, err := a.create(ctx, namespace, knownImages); err != nil {
			return err
		}
	}
	return nil
}

// awaitDenial waits until a pod of an image that HSS doesn't know is denied.
func (c *cluster) awaitDenial(ctx context.Context, like *corev1.Pod, in string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		pod := newPod(like, 0)
		pod.Namespace, pod.Spec.Containers[0].Image = in, registryHost+"/prod/unknown:1"
		_, err := c.client.CoreV1().Pods(in).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if apierrors.IsForbidden(err) && strings.Contains(err.Error(), "denied by") {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("hssgate doesn't deny what HSS doesn't know: %w", errors.Join(err, ctx.Err()))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// create creates n pods, returns how many were created in a second, and
// deletes them.
func (a *arena) create(ctx context.Context, in string, n int) (perSecond float64, err error) {
	pods := a.cluster.client.CoreV1().Pods(in)
	begun := time.Now()
	err = each(n, func(i int) error {
		pod := newPod(a.like, i)
		pod.Namespace = in
		_, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	took := time.Since(begun)
	if err != nil {
		return 0, err
	}
	now := int64(0)
	return float64(n) / took.Seconds(), pods.DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})
}

// each calls f for 0 … n-1 from several goroutines, until one call fails.
func each(n int, f func(int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, connections)
	for worker := range connections {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[worker] == nil; i = int(next.Add(1)) - 1 {
				errs[worker] = f(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// benchstat prints what benchstat says of the runs, if it is built.
func (b *bench) benchstat(ctx context.Context, perSecond map[string][]float64) error {
	tool := filepath.Join(b.root, ".cache", "tools", "bin", "benchstat")
	if _, err := os.Stat(tool); errors.Is(err, os.ErrNotExist) {
		b.printf("make tools builds benchstat, which says whether the differences are significant.\n\n")
		return nil
	}
	var args []string
	for _, namespace := range []string{askTyped, askGate, askNobody} {
		var lines strings.Builder
		for _, rate := range perSecond[namespace] {
			fmt.Fprintf(&lines, "BenchmarkCreatePod 1 %.0f ns/op %.1f creates/s\n", 1e9/rate, rate)
		}
		file := filepath.Join(b.dir, namespace+".txt") // the program may be there, too
		if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
			return err
		}
		args = append(args, namespace+"="+file)
	}
	out, err := exec.CommandContext(ctx, tool, args...).CombinedOutput() //nolint:gosec // the repository's own
	if err != nil {
		return fmt.Errorf("benchstat: %w: %s", err, out)
	}
	b.printf("%s\n", out)
	return nil
}
