package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Histories holds what ran and passed, by policies. The zero value isn't usable:
// see NewHistories.
type Histories struct {
	reader client.Reader
	log    *slog.Logger
	// refreshing spans reading a history from the cache and storing it, so that
	// an older one never replaces a newer.
	refreshing sync.Mutex
	mu         sync.RWMutex
	known      map[string]policy.History
	synced     atomic.Bool
	worsened   atomic.Uint64
}

var _ gate.Histories = (*Histories)(nil)

// NewHistories returns an empty set that reads from a cache.
func NewHistories(reader client.Reader, log *slog.Logger) *Histories {
	return &Histories{reader: reader, log: log, known: map[string]policy.History{}}
}

// History returns that of a policy, which isn't to be changed.
func (h *Histories) History(policy string) policy.History {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.known[policy]
}

// Worsened counts how often images began to fail, or to pass again.
func (h *Histories) Worsened() uint64 { return h.worsened.Load() }

// ErrHistoriesNotSynced says that the histories haven't been read yet.
var ErrHistoriesNotSynced = errors.New("histories of what ran and passed have not been read yet")

// Ready returns ErrHistoriesNotSynced until all have been read once.
func (h *Histories) Ready() error {
	if !h.synced.Load() {
		return ErrHistoriesNotSynced
	}
	return nil
}

// SetupWithManager reads all histories once the manager's cache is there, and
// follows them from then on, on every replica.
func (h *Histories) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.Add(everyReplica{h.readAll}); err != nil {
		return fmt.Errorf("add the first reading of histories: %w", err)
	}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("histories").
		For(&v1alpha1.ImageScanHistory{}).
		WithOptions(ctrlcontroller.Options{NeedLeaderElection: new(false)}).
		Complete(h)
	if err != nil {
		return fmt.Errorf("follow histories: %w", err)
	}
	return nil
}

// Reconcile reads the history as it is now, or forgets it.
func (h *Histories) Reconcile(ctx context.Context, r ctrl.Request) (ctrl.Result, error) {
	return ctrl.Result{}, h.refresh(ctx, r.Name)
}

func (h *Histories) readAll(ctx context.Context) error {
	var list v1alpha1.ImageScanHistoryList
	if err := h.reader.List(ctx, &list); err != nil {
		return fmt.Errorf("read all histories: %w", err)
	}
	for i := range list.Items {
		if err := h.refresh(ctx, list.Items[i].Name); err != nil {
			return err
		}
	}
	h.synced.Store(true)
	return nil
}

func (h *Histories) refresh(ctx context.Context, name string) error {
	h.refreshing.Lock()
	defer h.refreshing.Unlock()
	var one v1alpha1.ImageScanHistory
	err := h.reader.Get(ctx, client.ObjectKey{Name: name}, &one)
	switch {
	case apierrors.IsNotFound(err):
		h.replace(name, nil)
	case err != nil:
		return fmt.Errorf("read history %q: %w", name, err)
	default:
		compiled, err := policy.CompileHistory(&one)
		if err != nil {
			h.log.Warn("a part of a history can't be read and grants nothing", "history", name, "error", err)
		}
		h.replace(name, compiled)
	}
	return nil
}

func (h *Histories) replace(name string, now policy.History) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !maps.EqualFunc(h.known[name].Worsenings(), now.Worsenings(), time.Time.Equal) {
		h.worsened.Add(1)
	}
	if now == nil {
		delete(h.known, name)
		return
	}
	h.known[name] = now
}
