package server

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
)

const (
	// warmUpPage is how many pods are read at once: some megabytes.
	warmUpPage = 500
	// warmUpLook is how often is looked whether the policies are there yet.
	warmUpLook = 10 * time.Millisecond
	// warmUpRetry is the pause before pods are listed again if that failed.
	warmUpRetry = time.Second
)

// warmUp has a replica learn of the images of the pods that run, before it says
// that it is ready: its first admissions then needn't wait for HSS, and many
// replicas that start at once needn't ask for the same in a hurry. It takes its
// time and no more; whatever happens, the replica becomes ready.
type warmUp struct {
	// live reads pods from the API server: none is to be kept.
	live client.Reader
	// judge tells which images of a pod some policy judges.
	judge interface {
		References(ctx context.Context, r gate.Request) []image.Reference
	}
	images interface {
		Warm(ctx context.Context, refs iter.Seq[image.Reference], p inventory.Progress) error
	}
	// decidable returns why the policies aren't known yet, or nil.
	decidable func() error
	// timeout bounds it; 0: there is no warm-up.
	timeout time.Duration
	metrics *warmUpMetrics
	log     *slog.Logger

	over                atomic.Bool
	pods, wanted, known atomic.Int64
}

// prepareWarmUp adds the warm-up to what the replica does once it starts.
func (g *Server) prepareWarmUp(known *inventory.Inventory, judge *gate.Gate) error {
	g.warmUp = &warmUp{
		live: g.manager.GetAPIReader(), judge: judge, images: known, decidable: g.canDecide, timeout: time.Duration(g.Config.Cache.WarmUpTimeout),
		metrics: newWarmUpMetrics(metrics.Registry), log: g.Log.With("component", "warm-up"),
	}
	if err := g.manager.Add(g.warmUp); err != nil {
		return fmt.Errorf("learn of the images that run: %w", err)
	}
	return nil
}

// NeedLeaderElection reports that every replica warms up.
func (w *warmUp) NeedLeaderElection() bool { return false }

// ready is a readiness check.
func (w *warmUp) ready(*http.Request) error {
	if w.over.Load() {
		return nil
	}
	return fmt.Errorf("warm-up: %d of %d images of %d running pods are known", w.known.Load(), w.wanted.Load(), w.pods.Load())
}

// Start warms up. It never fails.
func (w *warmUp) Start(ctx context.Context) error {
	defer w.over.Store(true)
	if w.timeout == 0 || !w.awaitPolicies(ctx) {
		return nil
	}
	begun := time.Now()
	limited, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	err := w.warm(limited)
	took := time.Since(begun)
	w.metrics.ended(took, w.known.Load(), w.wanted.Load())
	if ctx.Err() == nil {
		w.tell(took, err)
	}
	return nil
}

// awaitPolicies waits until it is known which images matter, for which the
// replica has to wait anyway.
func (w *warmUp) awaitPolicies(ctx context.Context) bool {
	ticker := time.NewTicker(warmUpLook)
	defer ticker.Stop()
	for w.decidable() != nil {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
	return true
}

func (w *warmUp) tell(took time.Duration, err error) {
	log := w.log.With("took", took.Round(time.Millisecond).String(), "pods", w.pods.Load(), "images", w.wanted.Load())
	switch {
	case err == nil:
		log.Info("warmed up: all images of running pods are known")
	case apierrors.IsForbidden(err):
		log.Warn("not warmed up, as the running pods may not be listed: grant that, or set cache.warmUpTimeout to 0s", "error", err)
	default:
		log.Warn("not warmed up in full: HSS will be asked for the rest when it is needed", "missing", w.wanted.Load()-w.known.Load(), "error", err)
	}
}

func (w *warmUp) warm(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: panic: %v", p)
		}
	}()
	var listing error
	running := func(yield func(image.Reference) bool) { listing = w.running(ctx, yield) }
	err = w.images.Warm(ctx, running, func(images, known int) {
		w.wanted.Store(int64(images))
		w.known.Store(int64(known))
	})
	return errors.Join(listing, err)
}

// running yields the images of the pods that run, many of them again and again.
// If they can't be listed it begins anew, unless they may not be.
func (w *warmUp) running(ctx context.Context, yield func(image.Reference) bool) error {
	for {
		err := w.list(ctx, yield)
		if err == nil || apierrors.IsForbidden(err) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(warmUpRetry):
		}
		if ctx.Err() != nil {
			return err
		}
	}
}

// list yields the images of all pods, page by page.
func (w *warmUp) list(ctx context.Context, yield func(image.Reference) bool) error {
	w.pods.Store(0)
	for next := ""; ; {
		var page corev1.PodList
		if err := w.live.List(ctx, &page, notEnded(), client.Limit(warmUpPage), client.Continue(next)); err != nil {
			return fmt.Errorf("list the running pods: %w", err)
		}
		for i := range page.Items {
			if !w.yieldImages(ctx, &page.Items[i], yield) {
				return nil
			}
		}
		w.pods.Add(int64(len(page.Items)))
		if next = page.Continue; next == "" {
			return nil
		}
	}
}

// notEnded selects the pods that run or are about to.
func notEnded() client.MatchingFieldsSelector {
	return client.MatchingFieldsSelector{Selector: fields.AndSelectors(
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
	)}
}

// yieldImages reports whether more are wanted.
func (w *warmUp) yieldImages(ctx context.Context, pod *corev1.Pod, yield func(image.Reference) bool) bool {
	r := gate.Request{
		Namespace: pod.Namespace, Name: pod.Name,
		Workload: image.Workload{Kind: "Pod", Labels: pod.Labels, Uses: image.InPodSpec(&pod.Spec)},
	}
	for _, ref := range w.judge.References(ctx, r) {
		if !yield(ref) {
			return false
		}
	}
	return true
}
