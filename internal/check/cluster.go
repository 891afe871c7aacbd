package check

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// pageSize bounds the pods of one list request, and so the memory that a large
// cluster takes here and in its API server.
const pageSize = 500

// ErrNotInstalled is returned for a cluster without hssgate's custom resources.
var ErrNotInstalled = errors.New("hssgate is not installed in the cluster: it has no ImageScanPolicy and no ImageScanException")

// Cluster reads from an API server. It uses the dynamic client for built-in and custom
// resources alike.
type Cluster struct {
	dynamic dynamic.Interface
	owners  *image.Owners
}

// NewCluster returns the cluster that c reaches. It sends no request.
func NewCluster(c *rest.Config) (*Cluster, error) {
	client, err := dynamic.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	owners := image.NewOwners(func(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (metav1.Object, error) {
		resource, _ := meta.UnsafeGuessKindToResource(kind)
		return client.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	})
	return &Cluster{dynamic: client, owners: owners}, nil
}

// Pods returns the running pods, without those that are being deleted, of a namespace,
// or of all if it is empty, that a label selector such as "app=web" selects.
func (c *Cluster) Pods(ctx context.Context, namespace, selector string) (objects []Object, err error) {
	pods := c.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(namespace)
	const running = "status.phase!=Succeeded,status.phase!=Failed"
	options := metav1.ListOptions{LabelSelector: selector, FieldSelector: running, Limit: pageSize}
	for {
		page, err := pods.List(ctx, options)
		if next := afterExpiry(err); next != "" {
			options.Continue = next
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			var pod corev1.Pod
			if err := fromUnstructured(page.Items[i].Object, &pod); err != nil {
				return nil, err
			}
			if pod.DeletionTimestamp == nil {
				objects = append(objects, Object{
					Namespace: pod.Namespace, Name: pod.Name, Owner: image.OwnerOf(&pod), running: true,
					Workload: image.Workload{Kind: "Pod", Labels: pod.Labels, Uses: image.InPodSpec(&pod.Spec)},
				})
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return objects, nil
		}
	}
}

// afterExpiry returns the token to continue a list with whose snapshot the API
// server has dropped, as it does after some minutes; empty: there is none.
func afterExpiry(err error) string {
	var status apierrors.APIStatus
	if apierrors.IsResourceExpired(err) && errors.As(err, &status) {
		return status.Status().Continue
	}
	return ""
}

func fromUnstructured(fields map[string]any, v any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, v); err != nil {
		return fmt.Errorf("decode the object: %w", err)
	}
	return nil
}

// TopOwner returns the workload that people know for a pod's owner; see image.Owners.
func (c *Cluster) TopOwner(ctx context.Context, namespace string, owner image.Owner) (image.Owner, error) {
	return c.owners.Top(ctx, namespace, owner)
}

// NamespaceLabels returns the labels of a namespace.
func (c *Cluster) NamespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	namespace, err := c.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return namespace.GetLabels(), nil
}

// Policies returns the cluster's policies.
func (c *Cluster) Policies(ctx context.Context) ([]v1alpha1.ImageScanPolicy, error) {
	var list v1alpha1.ImageScanPolicyList
	err := c.list(ctx, "imagescanpolicies", &list)
	return list.Items, err
}

// Exceptions returns the cluster's exceptions.
func (c *Cluster) Exceptions(ctx context.Context) ([]v1alpha1.ImageScanException, error) {
	var list v1alpha1.ImageScanExceptionList
	err := c.list(ctx, "imagescanexceptions", &list)
	return list.Items, err
}

func (c *Cluster) list(ctx context.Context, resource string, list any) error {
	found, err := c.dynamic.Resource(v1alpha1.GroupVersion.WithResource(resource)).List(ctx, metav1.ListOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return ErrNotInstalled
	case err != nil:
		return fmt.Errorf("read the %s in force: %w", resource, err)
	}
	return fromUnstructured(found.UnstructuredContent(), list)
}

// CreateException creates an exception and returns it as the API server stores
// it. A dry run stores nothing.
func (c *Cluster) CreateException(ctx context.Context, e *v1alpha1.ImageScanException, dryRun bool) (*v1alpha1.ImageScanException, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(e)
	if err != nil {
		return nil, fmt.Errorf("encode exception %s: %w", e.Name, err)
	}
	options := metav1.CreateOptions{FieldManager: "hssgate-allow", FieldValidation: metav1.FieldValidationStrict}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	resource := c.dynamic.Resource(v1alpha1.GroupVersion.WithResource("imagescanexceptions")).Namespace(e.Namespace)
	created, err := resource.Create(ctx, &unstructured.Unstructured{Object: fields}, options)
	switch {
	// A missing namespace is not found as well; that error names the namespace.
	case apierrors.IsNotFound(err) && strings.Contains(err.Error(), "could not find the requested resource"):
		return nil, ErrNotInstalled
	case err != nil:
		return nil, err
	}
	stored := &v1alpha1.ImageScanException{}
	return stored, fromUnstructured(created.Object, stored)
}
