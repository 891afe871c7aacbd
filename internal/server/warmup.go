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

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/audit"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
)

const (
	// warmUpPoll is how often a warm-up checks whether policies have been read.
	warmUpPoll = 10 * time.Millisecond
	// warmUpTimeout bounds a warm-up.
	warmUpTimeout = 10 * time.Second
	// warmUpRetry is the pause before pods are listed again if that failed.
	warmUpRetry = time.Second
)

// warmUp looks up the images of running pods before the replica is ready: its first
// admissions then need not wait for HSS. Whatever fails, the replica becomes ready
// after warmUpTimeout.
type warmUp struct {
	// live reads pods from the API server, without a cache.
	live client.Reader
	// references returns the images of a pod that some policy evaluates.
	references func(ctx context.Context, r gate.Request) []image.Reference
	// lookUp looks images up, and reports its progress.
	lookUp func(ctx context.Context, refs iter.Seq[image.Reference], p inventory.Progress) error
	// decidable returns why the policies are not known yet, or nil.
	decidable func() error
	registry  prometheus.Registerer
	log       *slog.Logger

	over                atomic.Bool
	pods, wanted, known atomic.Int64
}

// NeedLeaderElection returns false: every replica warms up.
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
	policiesRead := func(context.Context) (bool, error) { return w.decidable() == nil, nil }
	if wait.PollUntilContextCancel(ctx, warmUpPoll, true, policiesRead) != nil {
		return nil
	}
	begun := time.Now()
	limited, cancel := context.WithTimeout(ctx, warmUpTimeout)
	defer cancel()
	if err := w.warm(limited); ctx.Err() == nil {
		w.record(time.Since(begun), err)
	}
	return nil
}

// record records the outcome in metrics and in the log.
func (w *warmUp) record(took time.Duration, err error) {
	missing := w.wanted.Load() - w.known.Load()
	promauto.With(w.registry).NewGauge(prometheus.GaugeOpts{
		Name: "hssgate_warm_up_duration_seconds", Help: "Time of the warm-up, after which the replica was ready.",
	}).Set(took.Seconds())
	images := promauto.With(w.registry).NewGaugeVec(prometheus.GaugeOpts{
		Name: "hssgate_warm_up_images", Help: "Images of running pods at the end of the warm-up, in the replica's memory (known) or not yet (missing).",
	}, []string{"state"})
	images.WithLabelValues("known").Set(float64(w.known.Load()))
	images.WithLabelValues("missing").Set(float64(missing))
	log := w.log.With("took", took.Round(time.Millisecond).String(), "pods", w.pods.Load(), "images", w.wanted.Load())
	switch {
	case err == nil:
		log.Info("warmed up: all images of running pods are known")
	case apierrors.IsForbidden(err):
		log.Warn("not warmed up, as the running pods may not be listed: grant that", "error", err)
	default:
		log.Warn("not warmed up in full: HSS will be asked for the rest when it is needed", "missing", missing, "error", err)
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
	err = w.lookUp(ctx, running, func(images, known int) {
		w.wanted.Store(int64(images))
		w.known.Store(int64(known))
	})
	return errors.Join(listing, err)
}

// running yields the images of the pods that run, many of them again and again. If
// the pods cannot be listed it starts again, unless it lacks the right.
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
			return err // of the list, which says more
		}
	}
}

var errEnough = errors.New("no more images are wanted")

// list yields the images of all pods, page by page.
func (w *warmUp) list(ctx context.Context, yield func(image.Reference) bool) error {
	w.pods.Store(0)
	err := audit.Pages(ctx, w.live, &corev1.PodList{}, func(page *corev1.PodList) error {
		for i := range page.Items {
			for _, ref := range w.references(ctx, audit.RequestOf(&page.Items[i])) {
				if !yield(ref) {
					return errEnough
				}
			}
		}
		w.pods.Add(int64(len(page.Items)))
		return nil
	}, audit.NotEnded())
	if err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("list the running pods: %w", err)
	}
	return nil
}
