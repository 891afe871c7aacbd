package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Namespaces gives the labels of namespaces: from the cache, and from the API
// server for one so new that the cache doesn't have it yet.
type Namespaces struct {
	Cache client.Reader
	Live  client.Reader
}

// SetupWithManager follows the namespaces from the manager's start, so that the
// first review needn't wait for all of them.
func (n *Namespaces) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(namespaceKind)
	if _, err := mgr.GetCache().GetInformer(ctx, namespace); err != nil {
		return fmt.Errorf("follow namespaces: %w", err)
	}
	return nil
}

// NamespaceLabels returns the namespace's labels, which aren't to be changed.
func (n *Namespaces) NamespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(namespaceKind)
	key := client.ObjectKey{Name: name}
	// Nothing is copied: each review asks, and nobody changes what it gets.
	err := n.Cache.Get(ctx, key, namespace, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		err = n.Live.Get(ctx, key, namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("read namespace %q: %w", name, err)
	}
	return namespace.Labels, nil
}

var namespaceKind = corev1.SchemeGroupVersion.WithKind("Namespace")
