// Package controller keeps policies and exceptions in force as the cluster has them,
// writes their status, and keeps the CA and the webhooks' caBundles. Every replica
// follows the cluster; only the leader writes status.
package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Rules holds the policies and exceptions in force, compiled. See NewRules.
type Rules struct {
	reader      client.Reader
	maxLifetime time.Duration
	inForce     atomic.Pointer[rules]
	// crdMissing is set while the API server has no ImageScanPolicies.
	crdMissing atomic.Bool
}

// rules are those of one moment. They never change.
type rules struct {
	policies   map[types.NamespacedName]revision[*policy.Policy]
	exceptions map[types.NamespacedName]revision[*policy.Exception]
	// sorted are the policies in the order of their names.
	sorted      []*policy.Policy
	byNamespace map[string][]*policy.Exception
	// policyChanges and exceptionChanges count how often others came into force.
	policyChanges, exceptionChanges uint64
}

// revision is one state of an object's spec, compiled.
type revision[T any] struct {
	uid        types.UID
	generation int64
	compiled   T
}

// NewRules returns rules that reads from a cache. No exception lasts longer than
// maxLifetime from its creation.
func NewRules(reader client.Reader, maxLifetime time.Duration) *Rules {
	return &Rules{reader: reader, maxLifetime: maxLifetime}
}

// current returns the rules in force; empty until they have been read.
func (r *Rules) current() *rules {
	if now := r.inForce.Load(); now != nil {
		return now
	}
	return &rules{}
}

// Policies returns the policies in force, in the order of their names.
func (r *Rules) Policies() []*policy.Policy { return r.current().sorted }

// PolicyChanges returns a number that differs once other policies are in force.
func (r *Rules) PolicyChanges() uint64 { return r.current().policyChanges }

// Exceptions returns the exceptions of a namespace, active or not, which must not be
// modified.
func (r *Rules) Exceptions(namespace string) []*policy.Exception {
	return r.current().byNamespace[namespace]
}

// ExceptionsState is a comparable value that differs once other exceptions are
// active.
type ExceptionsState struct {
	changes uint64
	active  int
}

// ExceptionsState returns the state at a time: exceptions also end by themselves.
func (r *Rules) ExceptionsState(at time.Time) ExceptionsState {
	now := r.current()
	s := ExceptionsState{changes: now.exceptionChanges}
	for _, e := range now.exceptions {
		if e.compiled.Active(at) {
			s.active++
		}
	}
	return s
}

// ErrNotSynced means that the policies and exceptions have not been read yet.
var ErrNotSynced = errors.New("policies have not been read yet")

// ErrNoCRD means that the cluster has no ImageScanPolicies any more.
var ErrNoCRD = errors.New("the CustomResourceDefinition of ImageScanPolicies is missing")

// Ready returns ErrNotSynced until all policies and exceptions have been read once,
// and ErrNoCRD while there can be no policies: an image violates none then.
func (r *Rules) Ready() error {
	switch {
	case r.inForce.Load() == nil:
		return ErrNotSynced
	case r.crdMissing.Load():
		return ErrNoCRD
	}
	return nil
}

// SetupWithManager follows policies and exceptions on every replica.
func (r *Rules) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return r.followCRD(ctx, mgr) })); err != nil {
		return fmt.Errorf("follow the CustomResourceDefinition of policies: %w", err)
	}
	err := whenever(mgr, "rules").
		Watches(&v1alpha1.ImageScanPolicy{}, enqueue("rules"), builder.WithPredicates(changes())).
		Watches(&v1alpha1.ImageScanException{}, enqueue("rules"), builder.WithPredicates(changes())).
		Complete(r)
	if err != nil {
		return fmt.Errorf("follow policies and exceptions: %w", err)
	}
	return nil
}

// whenever returns a controller that reconciles one request, which has its name, at
// the start and at every event.
func whenever(mgr ctrl.Manager, name string) *builder.Builder {
	start := func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		queue.Add(reconcile.Request{NamespacedName: client.ObjectKey{Name: name}})
		return nil
	}
	return ctrl.NewControllerManagedBy(mgr).Named(name).WatchesRawSource(source.Func(start))
}

// enqueue maps every event to one request.
func enqueue(name string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: name}}}
	})
}

// changes selects the events of a change of a spec. An object that was deleted while
// the watch was interrupted, and created again by the same name, comes as an update:
// of generation 1 as before, but of another UID.
func changes() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetUID() != e.ObjectNew.GetUID() || e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration()
	}}
}

// Reconcile puts all policies and exceptions of the cluster into force, and compiles
// those that have changed. If they cannot be read, those before stay in force.
func (r *Rules) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	var policies v1alpha1.ImageScanPolicyList
	var exceptions v1alpha1.ImageScanExceptionList
	// Nothing is copied: compiling modifies nothing.
	err := errors.Join(r.reader.List(ctx, &policies, client.UnsafeDisableDeepCopy), r.reader.List(ctx, &exceptions, client.UnsafeDisableDeepCopy))
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("read policies and exceptions: %w", err)
	}
	before := r.current()
	// Errors of compiling are for the status. An invalid policy fails closed, an
	// invalid exception admits nothing.
	now := &rules{byNamespace: map[string][]*policy.Exception{}}
	now.policies, now.policyChanges = compileAll(before.policies, before.policyChanges, policies.Items, func(p *v1alpha1.ImageScanPolicy) *policy.Policy {
		compiled, _ := policy.Compile(p)
		return compiled
	})
	now.exceptions, now.exceptionChanges = compileAll(before.exceptions, before.exceptionChanges, exceptions.Items, func(e *v1alpha1.ImageScanException) *policy.Exception {
		compiled, _ := policy.CompileException(e, r.maxLifetime)
		return compiled
	})
	for _, p := range now.policies {
		now.sorted = append(now.sorted, p.compiled)
	}
	slices.SortFunc(now.sorted, func(a, b *policy.Policy) int { return strings.Compare(a.Name(), b.Name()) })
	for key, e := range now.exceptions {
		now.byNamespace[key.Namespace] = append(now.byNamespace[key.Namespace], e.compiled)
	}
	r.inForce.Store(now)
	return ctrl.Result{}, nil
}

// compileAll compiles the objects that are not in before, and counts a change if
// there are others than before.
func compileAll[T any, O interface {
	*T
	client.Object
}, C comparable](before map[types.NamespacedName]revision[C], changes uint64, objects []T, compile func(O) C) (map[types.NamespacedName]revision[C], uint64) {
	now := make(map[types.NamespacedName]revision[C], len(objects))
	for i := range objects {
		o := O(&objects[i])
		key := client.ObjectKeyFromObject(o)
		one, known := before[key]
		if !known || one.uid != o.GetUID() || one.generation != o.GetGeneration() {
			one = revision[C]{o.GetUID(), o.GetGeneration(), compile(o)}
		}
		now[key] = one
	}
	if !maps.Equal(before, now) {
		changes++
	}
	return now, changes
}

// crdInterval is the time from one check of the CustomResourceDefinition to the next.
const crdInterval = 5 * time.Second

// followCRD checks until ctx ends whether the API server has ImageScanPolicies: a
// watch does not report that they are gone.
func (r *Rules) followCRD(ctx context.Context, mgr ctrl.Manager) error {
	informer, err := mgr.GetCache().GetInformer(ctx, &v1alpha1.ImageScanPolicy{})
	if err != nil {
		return fmt.Errorf("watch policies: %w", err)
	}
	watched, ok := informer.(interface{ LastSyncResourceVersion() string })
	if !ok {
		return fmt.Errorf("watch policies: %T has no resource version", informer)
	}
	var seen string
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		err := mgr.GetAPIReader().List(ctx, &v1alpha1.ImageScanPolicyList{}, client.Limit(1))
		switch {
		case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
			r.crdMissing.Store(true)
			seen = watched.LastSyncResourceVersion()
		// It is back once the watch has read the new policies, too.
		case err == nil && r.crdMissing.Load() && watched.LastSyncResourceVersion() != seen:
			r.crdMissing.Store(false)
		}
	}, crdInterval)
	return nil
}
