package image

import (
	"context"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
)

// Owner is the workload that an object names as its controller. It is shown to
// people, and decides nothing.
type Owner struct {
	APIVersion, Kind, Name string
	UID                    types.UID
}

// UnmarshalJSONFrom finds the controller among an object's ownerReferences.
func (o *Owner) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return read(dec, '[', func() error {
		var one metav1.OwnerReference
		err := json.UnmarshalDecode(dec, &one)
		if one.Controller != nil && *one.Controller {
			*o = Owner{one.APIVersion, one.Kind, one.Name, one.UID}
		}
		return err
	})
}

// String returns KIND/NAME; empty for the zero Owner.
func (o Owner) String() string {
	if o.Name == "" {
		return ""
	}
	return o.Kind + "/" + o.Name
}

// OwnerOf returns the controller of an object; zero if it has none.
func OwnerOf(o metav1.Object) Owner {
	if c := metav1.GetControllerOfNoCopy(o); c != nil {
		return Owner{c.APIVersion, c.Kind, c.Name, c.UID}
	}
	return Owner{}
}

// maxOwners limits the owners that are remembered, and ownersFor how long.
const (
	maxOwners = 1 << 14
	ownersFor = 24 * time.Hour
)

// Owners finds the workloads that people know: the Deployment of a ReplicaSet, the
// CronJob of a Job. It remembers them, since they never change.
type Owners struct {
	get   GetObject
	known *cache.LRUExpireCache
}

// GetObject reads an object's metadata from the API server.
type GetObject func(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (metav1.Object, error)

type ownerKey struct {
	namespace string
	Owner
}

// NewOwners returns Owners that read objects by get.
func NewOwners(get GetObject) *Owners {
	return &Owners{get, cache.NewLRUExpireCache(maxOwners)}
}

// Top returns the owner of an owner, or the owner itself if it has none, is gone or
// may not be read.
func (o *Owners) Top(ctx context.Context, namespace string, owner Owner) (Owner, error) {
	kind := schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind)
	if kind != appsv1.SchemeGroupVersion.WithKind("ReplicaSet") && kind != batchv1.SchemeGroupVersion.WithKind("Job") {
		return owner, nil
	}
	key := ownerKey{namespace, owner}
	known, _ := o.known.Get(key)
	if top, ok := known.(Owner); ok {
		return top, nil
	}
	top := owner
	object, err := o.get(ctx, kind, namespace, owner.Name)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
	case err != nil:
		return Owner{}, fmt.Errorf("read %s of namespace %q: %w", owner, namespace, err)
	case object.GetUID() == owner.UID && OwnerOf(object) != Owner{}:
		top = OwnerOf(object)
	}
	o.known.Add(key, top, ownersFor)
	return top, nil
}
