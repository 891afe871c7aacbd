package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

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
