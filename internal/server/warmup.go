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
	lookUp func(ctx context.Context, refs iter.Seq[image.Reference], p *inventory.Progress) error
	// decidable returns why the policies are not known yet, or nil.
	decidable func() error
	log       *slog.Logger

	over     atomic.Bool
	progress inventory.Progress
}

func (w *warmUp) ready(*http.Request) error {
	if w.over.Load() {
		return nil
	}
	return fmt.Errorf("warm-up: %d of %d images of running pods are known", w.progress.Known.Load(), w.progress.Images.Load())
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
	var listing error
	running := func(yield func(image.Reference) bool) {
		err := audit.Pages(limited, w.live, &corev1.PodList{}, func(page *corev1.PodList) error {
			for i := range page.Items {
				for _, ref := range w.references(limited, audit.RequestOf(&page.Items[i])) {
					yield(ref) // lookUp takes all, many of them again and again
				}
			}
			return nil
		}, audit.NotEnded())
		if err != nil {
			listing = fmt.Errorf("list the running pods: %w", err)
		}
	}
	err := w.lookUp(limited, running, &w.progress)
	images := w.progress.Images.Load()
	log := w.log.With("took", time.Since(begun).Round(time.Millisecond).String(), "images", images)
	if err := errors.Join(listing, err); err != nil && ctx.Err() == nil {
		log.Warn("not warmed up in full: HSS will be asked for the rest when it is needed", "missing", images-w.progress.Known.Load(), "error", err)
	} else if err == nil {
		log.Info("warmed up: all images of running pods are known")
	}
	return nil
}
