// Package audit evaluates the pods that already run, again and again, by the gate that decided about them when they
// were created. It finds images that turned bad since, and shows what a policy would deny before it does.
//
// Only the leader audits. It reads the pods page by page, and looks images up at HSS with less priority than
// admissions. The results are in the status of each policy, in one Event for each workload and policy, in one report
// for each namespace, and in metrics. So is what runs though HSS scanned another image under its tag. All of them are
// bounded.
package audit

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/grace"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
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
	Client   client.Client
	Policies func() []*policy.Policy
	// ExemptNamespaces are left out, as the gate leaves them out.
	ExemptNamespaces []string
	// Interval is the time from the start of one audit to that of the next, if nothing changes before.
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
	owners  *Owners
	graces  grace.Graces
	events  chan *corev1ac.EventApplyConfiguration // to be written; written holds the hashes of those that were, by name
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

const (
	statePoll = time.Second     // how often the state is compared
	debounce  = 3 * time.Second // the wait after a change, so that one audit serves the changes that are made together
	// share: audits take at most a fifth of the time. A change that is not prompt
	// waits for a fifth of the interval, at most maxPause, as well.
	share      = 5
	minPause   = 2 * time.Second
	maxPause   = 5 * time.Minute
	retryAfter = time.Minute // when an audit that failed is made again
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

// await waits until the next audit is due, and returns why it is; empty: ctx has ended. err is that of the last audit.
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

const (
	pageSize   = 250 // how many objects are read at once: of pods some megabytes
	podsAtOnce = 32  // of one namespace, evaluated side by side
	// podTimeout limits the evaluation of one pod, whose images may have to wait behind those of admissions.
	podTimeout = 2 * time.Minute
)

// Audit evaluates all pods once and reports what it found: the API server lists them by namespace, and what was found
// in one is reported as soon as the next begins. If something could not be read it returns an error, and the status of
// policies stays as it was.
func (a *Auditor) Audit(ctx context.Context, why string) error {
	began := a.Clock.Now()
	s, err := a.audit(ctx)
	if ctx.Err() != nil {
		return fmt.Errorf("audit: %w", context.Cause(ctx))
	}
	took := a.Clock.Since(began)
	a.Metrics.took.Observe(took.Seconds())
	if err != nil {
		a.Metrics.audits.WithLabelValues(why, "failure").Inc()
		a.Log.Error("the audit of running pods is not complete", "why", why, "took", took.String(), "error", err)
		return err
	}
	a.Metrics.audits.WithLabelValues(why, "success").Inc()
	a.Metrics.last.Store(s)
	var all v1alpha1.AuditStatus
	for _, p := range s.policies {
		all.Violations, all.Unknown, all.OtherImages = all.Violations+p.Violations, all.Unknown+p.Unknown, all.OtherImages+p.OtherImages
	}
	a.Log.Info("audited the running pods", "why", why, "took", took.Round(time.Millisecond).String(), "pods", s.pods,
		"violations", all.Violations, "unknown", all.Unknown, "otherImages", all.OtherImages)
	return nil
}

func (a *Auditor) audit(ctx context.Context) (*summary, error) {
	kind, err := a.reportKind()
	if err != nil {
		return nil, err
	}
	s, seen := &summary{policies: map[string]*v1alpha1.AuditStatus{}, reported: sets.New[string]()}, &grace.Sightings{}
	found, failures := s.in(""), []error(nil)
	finish := func() {
		found.addFirst()
		a.queueEvents(found)
		failures = append(failures, a.writeReport(ctx, kind, found))
	}
	err = Pages(ctx, a.Live, &corev1.PodList{}, func(list *corev1.PodList) error {
		for pods := list.Items; len(pods) > 0; {
			namespace := pods[0].Namespace
			if namespace != found.namespace {
				finish()
				found = s.in(namespace)
			}
			next := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Namespace != namespace })
			if next < 0 {
				next = len(pods)
			}
			if err := a.auditPods(ctx, pods[:next], found, seen); err != nil {
				return fmt.Errorf("namespace %q: %w", namespace, err)
			}
			pods = pods[next:]
		}
		return nil
	}, NotEnded())
	if err := errors.Join(ctx.Err(), err); err != nil {
		return nil, fmt.Errorf("read the running pods: %w", err)
	}
	finish()
	s.graces, err = a.graces.Settle(ctx, seen, a.Clock.Now())
	if err := errors.Join(append(failures, err, a.deleteReports(ctx, kind, s.reported))...); err != nil {
		return nil, err
	}
	s.time = a.Clock.Now()
	return s, a.writeStatus(ctx, s)
}

func (a *Auditor) auditPods(ctx context.Context, pods []corev1.Pod, found *findings, seen *grace.Sightings) error {
	if slices.Contains(a.ExemptNamespaces, found.namespace) {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(podsAtOnce)
	for i := range pods {
		if pods[i].DeletionTimestamp == nil {
			group.Go(func() error { return a.auditPod(ctx, &pods[i], found, seen) })
		}
	}
	return group.Wait()
}

// auditPod evaluates a pod. Only the owners of pods that are shown are looked up.
func (a *Auditor) auditPod(ctx context.Context, pod *corev1.Pod, found *findings, seen *grace.Sightings) error {
	limited, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	r := RequestOf(pod)
	r.Sightings = true
	d := a.Decide(limited, r)
	owner := image.OwnerOf(pod)
	if owner.Kind == "" || owner.Kind == "Node" { // a mirror pod belongs to its node
		owner = image.Owner{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	}
	others := otherImages(pod, &d)
	violates := func(v gate.Violation) bool { return v.PodEffect != gate.EffectExcepted }
	if (len(others) > 0 || slices.ContainsFunc(d.Violations, violates)) && !found.full() {
		var err error
		if owner, err = a.owners.Top(ctx, pod.Namespace, owner); err != nil {
			return err
		}
	}
	found.add(owner, pod.CreationTimestamp.Time, &d)
	found.addOthers(owner, &d, others)
	seen.Add(pod, &d)
	return nil
}

// RequestOf returns what the gate decides about a running pod.
func RequestOf(pod *corev1.Pod) gate.Request {
	return gate.Request{
		Namespace: pod.Namespace, Name: pod.Name,
		Workload: image.Workload{Kind: "Pod", Labels: pod.Labels, Uses: image.InPodSpec(&pod.Spec)},
	}
}

// NotEnded selects the pods that run or are about to.
func NotEnded() client.ListOption {
	return client.MatchingFieldsSelector{Selector: fields.AndSelectors(
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
	)}
}

// Pages lists objects page by page, each into a copy of the empty list, and calls page for each. A list whose snapshot
// the API server drops meanwhile goes on where it was.
func Pages[L client.ObjectList](ctx context.Context, from client.Reader, empty L, page func(L) error, options ...client.ListOption) error {
	options = append(options, client.Limit(pageSize))
	for next := ""; ; {
		list, _ := empty.DeepCopyObject().(L) // a copy has the same type
		err := from.List(ctx, list, append(options, client.Continue(next))...)
		if expired, ok := errors.AsType[*apierrors.StatusError](err); ok && apierrors.IsResourceExpired(err) && expired.ErrStatus.Continue != "" {
			next = expired.ErrStatus.Continue
			continue
		}
		if err != nil {
			return err
		}
		if err := page(list); err != nil {
			return err
		}
		if next = list.GetContinue(); next == "" {
			return nil
		}
	}
}

func (a *Auditor) writeStatus(ctx context.Context, s *summary) error {
	var list v1alpha1.ImageScanPolicyList
	if err := a.Client.List(ctx, &list); err != nil {
		return fmt.Errorf("read the policies: %w", err)
	}
	var failures []error
	for i := range list.Items {
		p := &list.Items[i]
		before := p.DeepCopy()
		p.Status.LastAudit = s.status(p.Name)
		// The conditions are other fields, which this patch leaves alone.
		if err := a.Client.Status().Patch(ctx, p, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
			failures = append(failures, fmt.Errorf("write status of policy %q: %w", before.Name, err))
		}
	}
	return errors.Join(failures...)
}
