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

const (
	usesInterval    = 20 * time.Second // how often a replica writes the uses of exceptions
	lastUsesTimeout = 5 * time.Second  // for the write at the end
)

// ExceptionUses adds up how often exceptions are used, and writes that into their status. Every replica adds its own.
type ExceptionUses struct {
	Live   client.Reader
	Client client.Client
	Log    *slog.Logger

	mu      sync.Mutex
	pending map[client.ObjectKey]uses
}

// uses are those of one exception since its status was written.
type uses struct {
	count int64
	last  time.Time
}

// Excepted counts a use. It returns at once.
func (u *ExceptionUses) Excepted(use gate.ExceptionUse) {
	u.add(client.ObjectKey{Namespace: use.Exception.Namespace(), Name: use.Exception.Name()}, uses{1, time.Now()})
}

func (u *ExceptionUses) add(key client.ObjectKey, more uses) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pending == nil {
		u.pending = map[client.ObjectKey]uses{}
	}
	sum := u.pending[key]
	sum.count += more.count
	if more.last.After(sum.last) {
		sum.last = more.last
	}
	u.pending[key] = sum
}

// Start writes the uses every usesInterval until ctx ends, and then what is left.
func (u *ExceptionUses) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, u.flush, usesInterval)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastUsesTimeout)
	defer cancel()
	u.flush(last)
	return nil
}

// flush writes all uses. Those that cannot be written wait for the next time.
func (u *ExceptionUses) flush(ctx context.Context) {
	u.mu.Lock()
	pending := u.pending
	u.pending = nil
	u.mu.Unlock()
	for key, n := range pending {
		if err := u.write(ctx, key, n); err != nil && !apierrors.IsNotFound(err) {
			u.add(key, n)
			u.Log.Warn("uses of an exception not written: they are written later", "namespace", key.Namespace, "name", key.Name, "error", err)
		}
	}
}

func (u *ExceptionUses) write(ctx context.Context, key client.ObjectKey, n uses) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var e v1alpha1.ImageScanException
		if key.Namespace == "" {
			e.Kind = v1alpha1.ClusterImageScanExceptionKind
		}
		o := e.Object()
		if err := u.Live.Get(ctx, key, o); err != nil {
			return err
		}
		before := e.DeepCopy()
		e.Status.Uses += n.count
		if e.Status.LastUsed == nil || n.last.After(e.Status.LastUsed.Time) {
			e.Status.LastUsed = &metav1.Time{Time: n.last}
		}
		return u.Client.Status().Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	})
}
