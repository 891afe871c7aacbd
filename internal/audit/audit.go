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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
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
	// namespacesAtOnce are audited side by side, so that one that waits for HSS does
	// not hold up the others.
	namespacesAtOnce = 4
	// podsAtOnce of one namespace are evaluated side by side.
	podsAtOnce = 8
	// podTimeout limits the evaluation of one pod, whose images may have to wait
	// behind those of admissions.
	podTimeout = 2 * time.Minute
)

// Audit evaluates all pods once and reports what it found. If something could not
// be read it returns an error, and the status of policies stays as it was.
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
	a.Log.Info("audited the running pods", "why", why, "took", took.Round(time.Millisecond).String(), "namespaces", s.namespaces, "pods", s.pods,
		"violations", s.total().violations, "unknown", s.total().unknown)
	return nil
}

func (a *Auditor) audit(ctx context.Context) (*summary, error) {
	namespaces, err := a.namespaces(ctx)
	if err != nil {
		return nil, err
	}
	reports, err := a.newReportWriter(ctx)
	if err != nil {
		return nil, err
	}
	s, seen := &summary{policies: map[string]*policySummary{}}, &grace.Sightings{}
	a.events.now, a.events.audit = a.Clock.Now(), a.events.audit+1
	incomplete := a.each(ctx, namespaces, func(namespace string) error {
		found, err := a.auditNamespace(ctx, namespace, seen)
		if err != nil {
			return fmt.Errorf("namespace %q: %w", namespace, err)
		}
		s.add(found)
		a.events.report(found)
		return reports.write(ctx, found)
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	graces, err := a.graces.Settle(ctx, seen, incomplete == nil, a.Clock.Now())
	if incomplete != nil {
		return nil, errors.Join(incomplete, err)
	}
	a.events.resolve()
	if err := errors.Join(err, reports.deleteRest(ctx)); err != nil {
		return nil, err
	}
	s.graces, s.time = graces, a.Clock.Now()
	return s, a.writeStatus(ctx, s)
}

// namespaces returns the names of all namespaces that are not exempt.
func (a *Auditor) namespaces(ctx context.Context) ([]string, error) {
	all := &metav1.PartialObjectMetadataList{}
	all.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	var names []string
	err := Pages(ctx, a.Live, all, func(list *metav1.PartialObjectMetadataList) error {
		for i := range list.Items {
			if name := list.Items[i].Name; !slices.Contains(a.ExemptNamespaces, name) {
				names = append(names, name)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	return names, nil
}

// each calls f for each namespace, some of them side by side, and joins the errors.
func (a *Auditor) each(ctx context.Context, namespaces []string, f func(namespace string) error) error {
	var group errgroup.Group
	group.SetLimit(namespacesAtOnce)
	errs := make([]error, len(namespaces))
	for i, namespace := range namespaces {
		group.Go(func() error {
			if ctx.Err() == nil {
				errs[i] = f(namespace)
			}
			return nil // the others go on
		})
	}
	_ = group.Wait()
	return errors.Join(errs...)
}

// auditNamespace evaluates the pods of a namespace.
func (a *Auditor) auditNamespace(ctx context.Context, namespace string, seen *grace.Sightings) (*findings, error) {
	found := newFindings(namespace)
	err := Pages(ctx, a.Live, &corev1.PodList{}, func(list *corev1.PodList) error {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(podsAtOnce)
		for i := range list.Items {
			if pod := &list.Items[i]; pod.DeletionTimestamp == nil {
				group.Go(func() error { return a.auditPod(ctx, pod, found, seen) })
			}
		}
		return group.Wait()
	}, client.InNamespace(namespace), NotEnded())
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	return found, ctx.Err()
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
	violates := func(v gate.Violation) bool { return v.PodEffect != gate.EffectExcepted }
	if slices.ContainsFunc(d.Violations, violates) && !found.full() {
		var err error
		if owner, err = a.owners.Top(ctx, pod.Namespace, owner); err != nil {
			return err
		}
	}
	found.add(owner, pod.CreationTimestamp.Time, &d)
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
		if again := afterExpiry(err); again != "" {
			next = again
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

// afterExpiry returns the token to continue a list that has expired; empty: there is none.
func afterExpiry(err error) string {
	var status apierrors.APIStatus
	if apierrors.IsResourceExpired(err) && errors.As(err, &status) {
		return status.Status().Continue
	}
	return ""
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
		p.Status.LastAudit = new(s.status(p.Name))
		// The conditions are other fields, which this patch leaves alone.
		if err := a.Client.Status().Patch(ctx, p, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
			failures = append(failures, fmt.Errorf("write status of policy %q: %w", before.Name, err))
		}
	}
	return errors.Join(failures...)
}
