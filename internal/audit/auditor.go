// Package audit evaluates the pods that already run, again and again, by the gate
// that decided about them when they were created. It finds images that turned bad
// since, and shows what a policy would deny before it does.
//
// Only the leader audits. It reads the pods page by page, and looks images up at HSS
// with less priority than admissions. The results are in the status of each policy,
// in one Event for each workload and policy, in one report for each namespace, and in
// metrics. So is what runs though HSS scanned another image under its tag. All of them are bounded.
package audit

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"time"

	"golang.org/x/sync/singleflight"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/grace"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
)

// State holds comparable values. An audit is made ahead of time once they differ.
type State struct {
	// Prompt is of what somebody waits for, such as a change of a policy.
	Prompt any
	// Patient is of all else, such as the images.
	Patient any
}

// Options are those of an Auditor.
type Options struct {
	// Decide evaluates a pod, and returns by the time that ctx ends.
	Decide func(ctx context.Context, r gate.Request) gate.Decision
	// Live reads from the API server, page by page, without a cache.
	Live client.Reader
	// Client writes, and reads the policies' status.
	Client client.Client
	// Policies returns those in force.
	Policies func() []*policy.Policy
	// ExemptNamespaces are left out, as the gate leaves them out.
	ExemptNamespaces []string
	// Interval is the time from the start of one audit to that of the next, if
	// nothing changes before.
	Interval time.Duration
	// Reports is Auto, OpenReports, PolicyReports or None.
	Reports string
	State   func() State
	// Ready returns why no audit can be made yet, or nil.
	Ready   func() error
	Metrics *Metrics
	Clock   clock.PassiveClock
	Log     *slog.Logger
}

// Auditor audits the pods of a cluster. It is a manager.Runnable of the leader.
type Auditor struct {
	Options
	owners *Owners
	graces grace.Graces
	// events are to be written, written the hashes of those that were, by name.
	events  chan *corev1ac.EventApplyConfiguration
	written map[string]uint64
	seed    maphash.Seed
}

// New returns an Auditor that has not audited yet.
func New(o Options) *Auditor {
	return &Auditor{
		Options: o, owners: OwnersFrom(o.Live), graces: grace.Graces{Client: o.Client, Policies: o.Policies, Log: o.Log},
		events: make(chan *corev1ac.EventApplyConfiguration, maxQueued), written: map[string]uint64{}, seed: maphash.MakeSeed(),
	}
}

// Owners finds owners, and reads each once for all its pods that are evaluated side by side.
type Owners struct {
	*image.Owners
	underWay singleflight.Group
}

// Top returns the same as that of image.Owners.
func (o *Owners) Top(ctx context.Context, namespace string, owner image.Owner) (image.Owner, error) {
	key := fmt.Sprint(namespace, owner.APIVersion, owner, owner.UID)
	top, err, _ := o.underWay.Do(key, func() (any, error) { return o.Owners.Top(ctx, namespace, owner) })
	found, _ := top.(image.Owner)
	return found, err
}

// OwnersFrom returns the owners of the pods that a reader reads.
func OwnersFrom(from client.Reader) *Owners {
	return &Owners{Owners: image.NewOwners(func(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (metav1.Object, error) {
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(kind)
		return object, from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
	})}
}

// How often audits are made.
const (
	// statePoll is how often the state is compared.
	statePoll = time.Second
	// debounce is the wait after a change, so that one audit serves the changes
	// that are made together.
	debounce = 3 * time.Second
	// share: audits take at most a fifth of the time. A change that is not prompt
	// waits for a fifth of the interval, at most maxPause, as well.
	share    = 5
	minPause = 2 * time.Second
	maxPause = 5 * time.Minute
	// retryAfter is when an audit that failed is made again.
	retryAfter = time.Minute
)

// Start audits until ctx ends, which is no error.
func (a *Auditor) Start(ctx context.Context) error {
	defer a.Metrics.last.Store(nil)
	go a.writeEvents(ctx)
	ready := func(context.Context) (bool, error) { return a.Ready() == nil, nil }
	if wait.PollUntilContextCancel(ctx, statePoll, true, ready) != nil {
		return nil
	}
	for why := "start"; why != ""; {
		seen, began := a.State(), a.Clock.Now()
		err := a.Audit(ctx, why)
		why = a.await(ctx, seen, began, err)
	}
	return nil
}

// await waits until the next audit is due, and returns why it is; empty: ctx has
// ended. err is that of the last audit.
func (a *Auditor) await(ctx context.Context, seen State, began time.Time, err error) (why string) {
	now := a.Clock.Now()
	earliest := now.Add(max(minPause, (share-1)*now.Sub(began)))
	due, whyDue := began.Add(a.Interval), "schedule"
	if retry := now.Add(retryAfter); err != nil && retry.Before(due) {
		due, whyDue = retry, "retry"
	}
	patient := began.Add(min(a.Interval/share, maxPause))
	var changedAt time.Time
	_ = wait.PollUntilContextCancel(ctx, statePoll, false, func(context.Context) (bool, error) {
		now, state := a.Clock.Now(), a.State()
		if state != seen && changedAt.IsZero() {
			changedAt = now
		}
		switch {
		case now.Before(earliest):
		case !now.Before(due):
			why = whyDue
		case state == seen || now.Sub(changedAt) < debounce:
		case state.Prompt != seen.Prompt:
			why = "policies"
		case !now.Before(patient):
			why = "images"
		}
		return why != "", nil
	})
	return why
}
