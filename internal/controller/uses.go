package controller

import (
	"context"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Bounds of writing uses: at most one write for an exception in usesInterval by each
// replica, however often it is used, and lastUsesTimeout for the last ones.
const (
	usesInterval    = time.Minute
	lastUsesTimeout = 5 * time.Second
)

// ExceptionUses adds up how often exceptions are used, and writes that into their
// status. Every replica adds its own. See NewExceptionUses.
type ExceptionUses struct {
	live   client.Reader
	client client.Client
	log    *slog.Logger
	wake   chan struct{}

	mu      sync.Mutex
	pending map[client.ObjectKey]uses
}

// uses are those of one exception since its status was written.
type uses struct {
	count int64
	last  time.Time
}

// NewExceptionUses returns an empty count. It reads from live and writes by c.
func NewExceptionUses(live client.Reader, c client.Client, log *slog.Logger) *ExceptionUses {
	return &ExceptionUses{live: live, client: c, log: log, wake: make(chan struct{}, 1), pending: map[client.ObjectKey]uses{}}
}

// Excepted counts a use. It returns at once.
func (u *ExceptionUses) Excepted(use gate.ExceptionUse) {
	u.add(client.ObjectKey{Namespace: use.Exception.Namespace(), Name: use.Exception.Name()}, uses{1, time.Now()})
}

func (u *ExceptionUses) add(key client.ObjectKey, more uses) {
	u.mu.Lock()
	defer u.mu.Unlock()
	sum := u.pending[key]
	sum.count += more.count
	if more.last.After(sum.last) {
		sum.last = more.last
	}
	u.pending[key] = sum
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// Start writes the first use at once, and those that follow after usesInterval, until
// ctx ends; then what is left.
func (u *ExceptionUses) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-u.wake:
			u.flush(ctx)
		}
	}, usesInterval)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastUsesTimeout)
	defer cancel()
	u.flush(last)
	return nil
}

// flush writes all uses. Those that cannot be written wait for the next time.
func (u *ExceptionUses) flush(ctx context.Context) {
	u.mu.Lock()
	pending := u.pending
	u.pending = map[client.ObjectKey]uses{}
	u.mu.Unlock()
	for key, n := range pending {
		if err := u.write(ctx, key, n); err != nil && !apierrors.IsNotFound(err) {
			u.add(key, n)
			u.log.Warn("uses of an exception not written: they are written later", "namespace", key.Namespace, "name", key.Name, "error", err)
		}
	}
}

func (u *ExceptionUses) write(ctx context.Context, key client.ObjectKey, n uses) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var e v1alpha1.ImageScanException
		if err := u.live.Get(ctx, key, &e); err != nil {
			return err
		}
		before := e.DeepCopy()
		e.Status.Uses += n.count
		if e.Status.LastUsed == nil || n.last.After(e.Status.LastUsed.Time) {
			e.Status.LastUsed = &metav1.Time{Time: n.last}
		}
		return u.client.Status().Patch(ctx, &e, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	})
}
