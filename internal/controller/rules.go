// Package controller keeps policies and exceptions in force as the cluster has them, writes their status, and keeps the
// CA and the webhooks' caBundles. Every replica follows the cluster; only the leader writes status.
package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
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

	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Rules holds the policies and exceptions in force, compiled. See NewRules.
type Rules struct {
	// Language is that of the policies' findings.
	Language language.Language

	reader      client.Reader
	maxLifetime time.Duration
	inForce     atomic.Pointer[rules]
	crdMissing  atomic.Bool // set while the API server has no ImageScanPolicies
}

// rules are those of one moment. They never change.
type rules struct {
	policies                        []*policy.Policy // in the order of their names; compiled has them by name
	compiled                        map[string]*compiledPolicy
	exceptions                      map[string][]*policy.Exception // by namespace; those of the whole cluster have none
	policyChanges, exceptionChanges uint64                         // how often they were read
}

// compiledPolicy is a policy, and the object that it was compiled from.
type compiledPolicy struct {
	*policy.Policy

	problems   field.ErrorList
	uid        types.UID
	generation int64
}

// compile returns a policy compiled: as it is in force, if that is of the same object. Expressions take long to compile.
func (r *rules) compile(p *v1alpha1.ImageScanPolicy, l language.Language) *compiledPolicy {
	if known := r.compiled[p.Name]; known != nil && known.uid == p.UID && known.generation == p.Generation {
		return known
	}
	c := &compiledPolicy{uid: p.UID, generation: p.Generation}
	c.Policy, c.problems = policy.Compile(p)
	c.Policy = c.In(l)
	return c
}

// The requests of Rules: what is to be read again.
const readPolicies, readExceptions = "policies", "exceptions"

// NewRules returns rules that reads from a cache. No exception lasts longer than maxLifetime from its creation.
func NewRules(reader client.Reader, maxLifetime time.Duration) *Rules {
	r := &Rules{reader: reader, maxLifetime: maxLifetime}
	r.inForce.Store(&rules{})
	return r
}

// Policies returns the policies in force, in the order of their names.
func (r *Rules) Policies() []*policy.Policy { return r.inForce.Load().policies }

// PolicyChanges returns a number that differs once other policies are in force.
func (r *Rules) PolicyChanges() uint64 { return r.inForce.Load().policyChanges }

// ExceptionChanges returns a number that differs once there are other exceptions.
func (r *Rules) ExceptionChanges() uint64 { return r.inForce.Load().exceptionChanges }

// Exceptions returns the exceptions of a namespace and of the whole cluster, active or not, which must not be modified.
func (r *Rules) Exceptions(namespace string) []*policy.Exception {
	all := r.inForce.Load().exceptions
	return slices.Concat(all[namespace], all[""])
}

// listExceptions returns the exceptions of both kinds. They share what the reader holds, and must not be modified.
func listExceptions(ctx context.Context, reader client.Reader) (all []*v1alpha1.ImageScanException, err error) {
	var list v1alpha1.ImageScanExceptionList
	var clusterWide v1alpha1.ClusterImageScanExceptionList
	err = errors.Join(reader.List(ctx, &list, client.UnsafeDisableDeepCopy), reader.List(ctx, &clusterWide, client.UnsafeDisableDeepCopy))
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		all = append(all, &list.Items[i])
	}
	for i := range clusterWide.Items {
		all = append(all, clusterWide.Items[i].Exception())
	}
	return all, nil
}

// ErrNotSynced means that the policies and exceptions have not been read yet.
var ErrNotSynced = errors.New("policies have not been read yet")

// ErrNoCRD means that the cluster has no ImageScanPolicies any more.
var ErrNoCRD = errors.New("the CustomResourceDefinition of ImageScanPolicies is missing")

// Ready returns ErrNotSynced until all has been read once, and ErrNoCRD while there can be no policies.
func (r *Rules) Ready() error {
	switch now := r.inForce.Load(); {
	case now.policyChanges == 0 || now.exceptionChanges == 0:
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
	err := whenever(mgr, "rules", readPolicies, readExceptions).
		Watches(&v1alpha1.ImageScanPolicy{}, enqueue(readPolicies), builder.WithPredicates(predicate.Funcs{UpdateFunc: specChanged})).
		Watches(&v1alpha1.ImageScanException{}, enqueue(readExceptions), builder.WithPredicates(predicate.Funcs{UpdateFunc: specChanged})).
		Watches(&v1alpha1.ClusterImageScanException{}, enqueue(readExceptions), builder.WithPredicates(predicate.Funcs{UpdateFunc: specChanged})).
		Complete(r)
	if err != nil {
		return fmt.Errorf("follow policies and exceptions: %w", err)
	}
	return nil
}

// whenever returns a controller that reconciles requests with names instead of objects, first at the start.
func whenever(mgr ctrl.Manager, name string, requests ...string) *builder.Builder {
	start := func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		for _, request := range requests {
			queue.Add(reconcile.Request{NamespacedName: client.ObjectKey{Name: request}})
		}
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

// specChanged reports whether an update changed a spec. An object that was deleted while the watch was interrupted, and
// created again by the same name, comes as an update: of generation 1 as before, but of another UID.
func specChanged(e event.UpdateEvent) bool {
	return e.ObjectOld.GetUID() != e.ObjectNew.GetUID() || e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration()
}

// Reconcile reads all policies or all exceptions of the cluster, and puts them into
// force. If they cannot be read, those before stay in force. Errors of compiling are
// for the status: an invalid policy fails closed, an invalid exception admits nothing.
func (r *Rules) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	now := *r.inForce.Load()
	if request.Name == readPolicies {
		var list v1alpha1.ImageScanPolicyList
		// Nothing is copied: compiling modifies nothing.
		if err := r.reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
			return ctrl.Result{}, fmt.Errorf("read policies: %w", err)
		}
		before := now
		now.policies, now.compiled = nil, map[string]*compiledPolicy{}
		for i := range list.Items {
			c := before.compile(&list.Items[i], r.Language)
			now.policies, now.compiled[c.Name()] = append(now.policies, c.Policy), c
		}
		slices.SortFunc(now.policies, func(a, b *policy.Policy) int { return strings.Compare(a.Name(), b.Name()) })
		now.policyChanges++
	} else {
		all, err := listExceptions(ctx, r.reader)
		if err != nil {
			return ctrl.Result{}, fmt.Errorf("read exceptions: %w", err)
		}
		now.exceptions = map[string][]*policy.Exception{}
		for _, e := range all {
			compiled, _ := policy.CompileException(e, r.maxLifetime)
			now.exceptions[compiled.Namespace()] = append(now.exceptions[compiled.Namespace()], compiled)
		}
		now.exceptionChanges++
	}
	r.inForce.Store(&now)
	return ctrl.Result{}, nil
}

const crdInterval = 5 * time.Second // the time from one check of the CustomResourceDefinition to the next

// followCRD checks whether the API server has ImageScanPolicies: a watch does not report that they are gone.
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

// NewNamespace returns an empty namespace, as the cache holds namespaces.
func NewNamespace() *metav1.PartialObjectMetadata {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return namespace
}

// NamespaceLabels returns a function that returns the labels of a namespace, which must not be changed: from the
// cache, and from the API server for one so new that the cache does not have it yet.
func NamespaceLabels(cached, live client.Reader) func(ctx context.Context, name string) (map[string]string, error) {
	return func(ctx context.Context, name string) (map[string]string, error) {
		namespace, key := NewNamespace(), client.ObjectKey{Name: name}
		// Nothing is copied: each review needs it, and nothing changes it.
		err := cached.Get(ctx, key, namespace, client.UnsafeDisableDeepCopy)
		if apierrors.IsNotFound(err) {
			err = live.Get(ctx, key, namespace)
		}
		if err != nil {
			return nil, fmt.Errorf("read namespace %q: %w", name, err)
		}
		return namespace.Labels, nil
	}
}
