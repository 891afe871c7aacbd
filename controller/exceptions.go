package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Exceptions holds the exceptions in force, compiled, by their namespaces. The
// zero value isn't usable: see NewExceptions.
type Exceptions struct {
	reader      client.Reader
	maxLifetime time.Duration
	// refreshing spans reading an exception from the cache and storing it, so
	// that an older one never replaces a newer.
	refreshing sync.Mutex
	mu         sync.RWMutex
	// inForce holds slices that are replaced, never changed.
	inForce map[string][]*policy.Exception
	// revisions tell which of them are compiled, and changes how often that
	// became others.
	revisions map[types.NamespacedName]revision
	changes   uint64
	synced    atomic.Bool
}

var _ gate.Exceptions = (*Exceptions)(nil)

// NewExceptions returns an empty set that reads from a cache. No exception lasts
// longer than maxLifetime from its creation.
func NewExceptions(reader client.Reader, maxLifetime time.Duration) *Exceptions {
	return &Exceptions{
		reader: reader, maxLifetime: maxLifetime,
		inForce: map[string][]*policy.Exception{}, revisions: map[types.NamespacedName]revision{},
	}
}

// revision is one state of an exception's spec; the zero value is none.
type revision struct {
	uid        types.UID
	generation int64
}

// ExceptionsState is a comparable value that differs once other exceptions are
// in force.
type ExceptionsState struct {
	changes uint64
	active  int
}

// State returns the state at a time: exceptions end by themselves, too.
func (x *Exceptions) State(now time.Time) ExceptionsState {
	x.mu.RLock()
	defer x.mu.RUnlock()
	s := ExceptionsState{changes: x.changes}
	for _, all := range x.inForce {
		for _, e := range all {
			if e.Active(now) {
				s.active++
			}
		}
	}
	return s
}

// InNamespace returns those of a namespace, which aren't to be changed.
func (x *Exceptions) InNamespace(name string) []*policy.Exception {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.inForce[name]
}

// ErrExceptionsNotSynced says that the exceptions haven't been read yet.
var ErrExceptionsNotSynced = errors.New("exceptions have not been read yet")

// Ready returns ErrExceptionsNotSynced until all exceptions have been read once.
func (x *Exceptions) Ready() error {
	if !x.synced.Load() {
		return ErrExceptionsNotSynced
	}
	return nil
}

// SetupWithManager reads all exceptions once the manager's cache is there, and
// follows them from then on, on every replica.
func (x *Exceptions) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.Add(everyReplica{x.readAll}); err != nil {
		return fmt.Errorf("add the first reading of exceptions: %w", err)
	}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("exceptions").
		For(&v1alpha1.ImageScanException{}, builder.WithPredicates(changes())).
		WithOptions(ctrlcontroller.Options{NeedLeaderElection: new(false)}).
		Complete(x)
	if err != nil {
		return fmt.Errorf("follow exceptions: %w", err)
	}
	return nil
}

// Reconcile compiles the exception as it is now, or forgets it.
func (x *Exceptions) Reconcile(ctx context.Context, r ctrl.Request) (ctrl.Result, error) {
	return ctrl.Result{}, x.refresh(ctx, r.NamespacedName)
}

func (x *Exceptions) readAll(ctx context.Context) error {
	var list v1alpha1.ImageScanExceptionList
	if err := x.reader.List(ctx, &list); err != nil {
		return fmt.Errorf("read all exceptions: %w", err)
	}
	for i := range list.Items {
		if err := x.refresh(ctx, client.ObjectKeyFromObject(&list.Items[i])); err != nil {
			return err
		}
	}
	x.synced.Store(true)
	return nil
}

func (x *Exceptions) refresh(ctx context.Context, key types.NamespacedName) error {
	x.refreshing.Lock()
	defer x.refreshing.Unlock()
	var one v1alpha1.ImageScanException
	err := x.reader.Get(ctx, key, &one)
	switch {
	case apierrors.IsNotFound(err):
		x.replace(key, revision{}, nil)
	case err != nil:
		return fmt.Errorf("read exception %s: %w", key, err)
	default:
		// An error is for the status; an exception with one lets nothing past.
		compiled, _ := policy.CompileException(&one, x.maxLifetime)
		x.replace(key, revision{one.UID, one.Generation}, compiled)
	}
	return nil
}

// replace puts an exception into force in place of one of the same name; nil
// takes that out of force.
func (x *Exceptions) replace(key types.NamespacedName, now revision, e *policy.Exception) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.revisions[key] != now {
		x.changes++
	}
	x.revisions[key] = now
	if e == nil {
		delete(x.revisions, key)
	}
	old := x.inForce[key.Namespace]
	all := slices.DeleteFunc(slices.Clone(old), func(other *policy.Exception) bool { return other.Name() == key.Name })
	if e != nil {
		all = append(all, e)
	}
	if len(all) == 0 {
		delete(x.inForce, key.Namespace)
		return
	}
	x.inForce[key.Namespace] = all
}
