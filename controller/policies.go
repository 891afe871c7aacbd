package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Policies holds the policies in force, compiled. The zero value isn't usable:
// see NewPolicies.
type Policies struct {
	reader client.Reader
	// mu spans reading a policy from the cache and storing it, so that an older
	// one never replaces a newer.
	mu      sync.Mutex
	byName  map[string]*policy.Policy
	inForce atomic.Pointer[gate.Index]
	synced  atomic.Bool
	// missing is set while the API server has no such resource.
	missing atomic.Bool
}

// NewPolicies returns an empty set that reads from a cache.
func NewPolicies(reader client.Reader) *Policies {
	p := &Policies{reader: reader, byName: map[string]*policy.Policy{}}
	p.publish()
	return p
}

// Index returns those in force.
func (p *Policies) Index() *gate.Index { return p.inForce.Load() }

// ErrNotSynced says that the policies haven't been read yet.
var ErrNotSynced = errors.New("policies have not been read yet")

// ErrNoCRD says that the cluster has no ImageScanPolicies any more.
var ErrNoCRD = errors.New("the CustomResourceDefinition of ImageScanPolicies is missing")

// Ready returns ErrNotSynced until all policies have been read once, and ErrNoCRD
// while there can be none: that an image violates none says nothing then.
func (p *Policies) Ready() error {
	switch {
	case !p.synced.Load():
		return ErrNotSynced
	case p.missing.Load():
		return ErrNoCRD
	}
	return nil
}

// crdInterval is the time from one check of the CustomResourceDefinition to the
// next.
const crdInterval = 5 * time.Second

// followCRD checks until ctx ends whether the API server has ImageScanPolicies.
// To a watch that is interrupted it makes no difference why.
func (p *Policies) followCRD(ctx context.Context, live client.Reader, watched interface{ LastSyncResourceVersion() string }) {
	var seen string
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		err := live.List(ctx, &v1alpha1.ImageScanPolicyList{}, client.Limit(1))
		switch {
		case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
			p.missing.Store(true)
			seen = watched.LastSyncResourceVersion()
		// It is back once the watch has read the new policies, too.
		case err == nil && p.missing.Load() && watched.LastSyncResourceVersion() != seen:
			p.missing.Store(false)
		}
	}, crdInterval)
}

// addCRD has every replica follow the CustomResourceDefinition.
func (p *Policies) addCRD(mgr ctrl.Manager) error {
	return mgr.Add(everyReplica{func(ctx context.Context) error {
		informer, err := mgr.GetCache().GetInformer(ctx, &v1alpha1.ImageScanPolicy{})
		if err != nil {
			return fmt.Errorf("watch policies: %w", err)
		}
		watched, ok := informer.(interface{ LastSyncResourceVersion() string })
		if !ok {
			return fmt.Errorf("watch policies: %T tells no resource version", informer)
		}
		p.followCRD(ctx, mgr.GetAPIReader(), watched)
		return nil
	}})
}

// SetupWithManager reads all policies once the manager's cache is there, and
// follows them from then on, on every replica.
func (p *Policies) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.Add(everyReplica{p.readAll}); err != nil {
		return fmt.Errorf("add the first reading of policies: %w", err)
	}
	if err := p.addCRD(mgr); err != nil {
		return fmt.Errorf("follow the CustomResourceDefinition of policies: %w", err)
	}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("policies").
		For(&v1alpha1.ImageScanPolicy{}, builder.WithPredicates(changes())).
		WithOptions(ctrlcontroller.Options{NeedLeaderElection: new(false)}).
		Complete(p)
	if err != nil {
		return fmt.Errorf("follow policies: %w", err)
	}
	return nil
}

// Reconcile compiles the policy as it is now, or forgets it.
func (p *Policies) Reconcile(ctx context.Context, r ctrl.Request) (ctrl.Result, error) {
	return ctrl.Result{}, p.refresh(ctx, r.Name)
}

func (p *Policies) readAll(ctx context.Context) error {
	var list v1alpha1.ImageScanPolicyList
	if err := p.reader.List(ctx, &list); err != nil {
		return fmt.Errorf("read all policies: %w", err)
	}
	for i := range list.Items {
		if err := p.refresh(ctx, list.Items[i].Name); err != nil {
			return err
		}
	}
	p.synced.Store(true)
	return nil
}

func (p *Policies) refresh(ctx context.Context, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var one v1alpha1.ImageScanPolicy
	err := p.reader.Get(ctx, client.ObjectKey{Name: name}, &one)
	switch {
	case apierrors.IsNotFound(err):
		delete(p.byName, name)
	case err != nil:
		return fmt.Errorf("read policy %q: %w", name, err)
	default:
		// An error is for the status; a policy with one fails closed.
		p.byName[name], _ = policy.Compile(&one)
	}
	p.publish()
	return nil
}

func (p *Policies) publish() {
	p.inForce.Store(gate.NewIndex(slices.Collect(maps.Values(p.byName))))
}

// everyReplica is a runnable that needs no election.
type everyReplica struct{ run func(context.Context) error }

var _ manager.LeaderElectionRunnable = everyReplica{}

// Start runs it.
func (r everyReplica) Start(ctx context.Context) error { return r.run(ctx) }

// NeedLeaderElection is false.
func (everyReplica) NeedLeaderElection() bool { return false }
