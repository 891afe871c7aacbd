package audit

import (
	"context"
	"fmt"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// owner is the workload that a pod belongs to, by which people know it. It is
// whoever the pod says it is: nothing is decided by it.
type owner struct {
	apiVersion, kind, name string
	uid                    types.UID
}

// ownerOf returns the pod's controller, or the pod itself if it has none, or
// if that is no object of the namespace: a mirror pod belongs to its node.
func ownerOf(pod *corev1.Pod) owner {
	if c := metav1.GetControllerOf(pod); c != nil && c.Kind != "Node" {
		return owner{c.APIVersion, c.Kind, c.Name, c.UID}
	}
	return owner{"v1", "Pod", pod.Name, pod.UID}
}

// between returns the kind of an owner that stands between pods and what people
// know: a Deployment's ReplicaSet, or a CronJob's Job.
func between(o owner) (kind schema.GroupVersionKind, is bool) {
	for _, kind := range []schema.GroupVersionKind{
		appsv1.SchemeGroupVersion.WithKind("ReplicaSet"), batchv1.SchemeGroupVersion.WithKind("Job"),
	} {
		if o.kind == kind.Kind && o.apiVersion == kind.GroupVersion().String() {
			return kind, true
		}
	}
	return schema.GroupVersionKind{}, false
}

// owners remembers the owners of owners, which never change. The zero value is
// ready for use.
type owners struct {
	mu    sync.Mutex
	known map[types.UID]owner
}

// maxOwners bounds what is remembered; past it, remembering begins anew.
const maxOwners = 1 << 14

func (o *owners) get(of types.UID) (owner, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found, ok := o.known[of]
	return found, ok
}

func (o *owners) put(of types.UID, is owner) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil || len(o.known) >= maxOwners {
		o.known = map[types.UID]owner{}
	}
	o.known[of] = is
}

// resolveOwners puts the groups of a Deployment's ReplicaSets together.
func (a *Auditor) resolveOwners(ctx context.Context, f *findings) error {
	resolved := make(map[groupKey]*group, len(f.groups))
	for _, g := range f.sorted() {
		top, err := a.topOwner(ctx, f.namespace, g.owner)
		if err != nil {
			return err
		}
		g.owner = top
		if same, ok := resolved[g.groupKey]; ok {
			same.join(g)
			continue
		}
		resolved[g.groupKey] = g
	}
	f.groups = resolved
	return nil
}

// topOwner is the owner of o if that stands between, else o.
func (a *Auditor) topOwner(ctx context.Context, namespace string, o owner) (owner, error) {
	kind, is := between(o)
	if !is {
		return o, nil
	}
	if top, ok := a.owners.get(o.uid); ok {
		return top, nil
	}
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(kind)
	err := a.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: o.name}, object)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return o, nil
	case err != nil:
		return owner{}, fmt.Errorf("read %s %q: %w", o.kind, o.name, err)
	}
	top := o
	if c := metav1.GetControllerOf(object); c != nil && object.UID == o.uid {
		top = owner{c.APIVersion, c.Kind, c.Name, c.UID}
	}
	a.owners.put(o.uid, top)
	return top, nil
}
