package check

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Owners finds the workloads by which people know pods, and asks the cluster
// once for each.
type Owners struct {
	// Cluster is who is asked.
	Cluster *Cluster

	known map[string]string
}

// Top returns the owner of a pod's owner, both as KIND/NAME, if that only
// stands between: a ReplicaSet's Deployment, or a Job's CronJob. Of one that
// isn't there any more, or may not be read, nobody knows more.
func (o *Owners) Top(ctx context.Context, namespace, owner string) (string, error) {
	kind, name, _ := strings.Cut(owner, "/")
	resource, is := between(kind)
	if !is {
		return owner, nil
	}
	key := namespace + "/" + owner
	if top, known := o.known[key]; known {
		return top, nil
	}
	object, err := o.Cluster.dynamic.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	top := owner
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
	case err != nil:
		return "", fmt.Errorf("read %s of namespace %q: %w", owner, namespace, err)
	default:
		if above := controllerOf(object.GetOwnerReferences()); above != "" {
			top = above
		}
	}
	if o.known == nil {
		o.known = map[string]string{}
	}
	o.known[key] = top
	return top, nil
}

// between returns the resource of a kind that stands between pods and what
// people know.
func between(kind string) (resource schema.GroupVersionResource, is bool) {
	switch kind {
	case "ReplicaSet":
		return appsv1.SchemeGroupVersion.WithResource("replicasets"), true
	case "Job":
		return batchv1.SchemeGroupVersion.WithResource("jobs"), true
	default:
		return schema.GroupVersionResource{}, false
	}
}
