package audit

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
)

const (
	// podsAtOnce of one namespace are judged side by side.
	podsAtOnce = 8
	// podTimeout bounds what one pod may take: its images may have to wait for
	// their turn to be asked for.
	podTimeout = 2 * time.Minute
	// attempts is how often a namespace is read from its start, if the API
	// server has forgotten the snapshot that its pages came from.
	attempts = 3
)

// notEnded selects the pods that run or are about to.
func notEnded() client.MatchingFieldsSelector {
	return client.MatchingFieldsSelector{Selector: fields.AndSelectors(
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
	)}
}

// auditNamespace judges the pods of a namespace.
func (a *Auditor) auditNamespace(ctx context.Context, namespace string, seen *sightings) (*findings, error) {
	for attempt := 1; ; attempt++ {
		found, err := a.judgePods(ctx, namespace, seen)
		if err != nil && apierrors.IsResourceExpired(err) && attempt < attempts {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list pods: %w", err)
		}
		return found, a.resolveOwners(ctx, found)
	}
}

func (a *Auditor) judgePods(ctx context.Context, namespace string, seen *sightings) (*findings, error) {
	found := newFindings(namespace)
	var list corev1.PodList
	err := pages(ctx, a.Live, &list, func() { a.judgePage(ctx, list.Items, found, seen) }, client.InNamespace(namespace), notEnded())
	if err == nil {
		err = ctx.Err()
	}
	return found, err
}

func (a *Auditor) judgePage(ctx context.Context, pods []corev1.Pod, found *findings, seen *sightings) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, podsAtOnce)
	for i := range pods {
		if pods[i].DeletionTimestamp != nil {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			decision := a.judge(ctx, &pods[i])
			found.add(ownerOf(&pods[i]), pods[i].CreationTimestamp.Time, &decision)
			seen.add(&pods[i], &decision)
		})
	}
	wg.Wait()
}

func (a *Auditor) judge(ctx context.Context, pod *corev1.Pod) gate.Decision {
	ctx, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	return a.Decider.Decide(ctx, gate.Request{
		Namespace: pod.Namespace, Name: pod.Name,
		Workload:  image.Workload{Kind: "Pod", Labels: pod.Labels, Uses: image.InPodSpec(&pod.Spec)},
		Sightings: true,
	})
}
