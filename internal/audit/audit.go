package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/grace"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// How much is done at once.
const (
	// pageSize is how many objects are read at once: of pods some megabytes.
	pageSize = 250
	// podsAtOnce of one namespace are evaluated side by side.
	podsAtOnce = 32
	// podTimeout limits the evaluation of one pod, whose images may have to wait
	// behind those of admissions.
	podTimeout = 2 * time.Minute
)

// Audit evaluates all pods once and reports what it found: the API server lists them
// by namespace, and what was found in one is reported as soon as the next begins. If
// something could not be read it returns an error, and the status of policies stays
// as it was.
func (a *Auditor) Audit(ctx context.Context, why string) error {
	began := a.Clock.Now()
	s, err := a.audit(ctx)
	if ctx.Err() != nil {
		return fmt.Errorf("audit: %w", context.Cause(ctx))
	}
	took := a.Clock.Since(began)
	a.Metrics.audited(why, took, err)
	if err != nil {
		a.Log.Error("the audit of running pods is not complete", "why", why, "took", took.String(), "error", err)
		return err
	}
	a.Metrics.last.Store(s)
	a.Log.Info("audited the running pods", "why", why, "took", took.Round(time.Millisecond).String(), "pods", s.pods,
		"violations", s.total().Violations, "unknown", s.total().Unknown, "otherImages", s.total().OtherImages)
	return nil
}

func (a *Auditor) audit(ctx context.Context) (*summary, error) {
	kind, err := a.reportKind()
	if err != nil {
		return nil, err
	}
	s, seen := &summary{reported: sets.New[string]()}, &grace.Sightings{}
	found, failures := newFindings(""), []error(nil)
	finish := func() {
		s.addNamespace(found)
		a.queueEvents(found)
		failures = append(failures, a.writeReport(ctx, kind, found))
	}
	err = Pages(ctx, a.Live, &corev1.PodList{}, func(list *corev1.PodList) error {
		for pods := list.Items; len(pods) > 0; {
			namespace := pods[0].Namespace
			if namespace != found.namespace {
				finish()
				found = newFindings(namespace)
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

// auditPods evaluates pods of one namespace side by side.
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

// Pages lists objects page by page, each into a copy of the empty list, and calls
// page for each. A list whose snapshot the API server drops meanwhile goes on where
// it was.
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

// writeStatus writes into each policy's status what was found for it.
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
