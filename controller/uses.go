package controller

import (
	"context"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Bounds of writing uses: at most one write for an exception in usesInterval by
// each replica, however often it is used, and lastUsesTimeout for the last ones.
const (
	usesInterval    = time.Minute
	lastUsesTimeout = 5 * time.Second
)

// ExceptionUses adds up how often exceptions are used, and writes that into
// their status. Every replica adds its own, since each sees only its reviews.
// The zero values of its unexported fields are ready for use; see NewExceptionUses.
type ExceptionUses struct {
	live   client.Reader
	client client.Client
	clock  clock.WithTicker
	log    *slog.Logger
	wake   chan struct{}

	mu      sync.Mutex
	pending map[types.NamespacedName]uses
}

// uses are those of one exception since its status was written.
type uses struct {
	count int64
	last  time.Time
}

// NewExceptionUses returns a count that is empty. It reads from live and writes
// by c.
func NewExceptionUses(live client.Reader, c client.Client, cl clock.WithTicker, log *slog.Logger) *ExceptionUses {
	return &ExceptionUses{live: live, client: c, clock: cl, log: log, wake: make(chan struct{}, 1), pending: map[types.NamespacedName]uses{}}
}

// SetupWithManager writes the uses on every replica.
func (u *ExceptionUses) SetupWithManager(mgr ctrl.Manager) error { return mgr.Add(everyReplica{u.Run}) }

// Excepted counts a use. It returns at once.
func (u *ExceptionUses) Excepted(use gate.ExceptionUse) {
	u.add(types.NamespacedName{Namespace: use.Exception.Namespace(), Name: use.Exception.Name()}, uses{1, u.clock.Now()})
	u.wakeUp()
}

func (u *ExceptionUses) wakeUp() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

func (u *ExceptionUses) add(key types.NamespacedName, more uses) {
	u.mu.Lock()
	defer u.mu.Unlock()
	sum := u.pending[key]
	sum.count += more.count
	if more.last.After(sum.last) {
		sum.last = more.last
	}
	u.pending[key] = sum
}

// Run writes the first use at once, and those that follow when their time has
// come, until ctx ends; then what is left.
func (u *ExceptionUses) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-u.wake:
			u.flush(ctx)
			u.pause(ctx)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastUsesTimeout)
	defer cancel()
	u.flush(last)
	return nil
}

func (u *ExceptionUses) pause(ctx context.Context) {
	timer := u.clock.NewTimer(usesInterval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C():
	}
}

// flush writes all uses. Those that can't be written wait for the next time.
func (u *ExceptionUses) flush(ctx context.Context) {
	u.mu.Lock()
	pending := u.pending
	u.pending = map[types.NamespacedName]uses{}
	u.mu.Unlock()
	for key, n := range pending {
		err := u.write(ctx, key, n)
		if err == nil || apierrors.IsNotFound(err) {
			continue
		}
		u.add(key, n)
		u.wakeUp()
		u.log.Warn("the uses of an exception were not written, and wait", "namespace", key.Namespace, "name", key.Name, "error", err)
	}
}

func (u *ExceptionUses) write(ctx context.Context, key types.NamespacedName, n uses) error {
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
