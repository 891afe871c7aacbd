package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/audit"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// ErrNotInstalled is returned for a cluster without hssgate's custom resources.
var ErrNotInstalled = errors.New("hssgate is not installed in the cluster: it has no ImageScanPolicy and no ImageScanException")

// Cluster reads from an API server.
type Cluster struct {
	client client.Client
	owners *audit.Owners
	labels sync.Map // of namespaces, by name
}

// NewCluster returns the cluster that c reaches. It sends no request.
func NewCluster(c *rest.Config) (*Cluster, error) {
	scheme, mapper := runtime.NewScheme(), meta.NewDefaultRESTMapper(nil)
	for kind, scope := range map[schema.GroupVersionKind]meta.RESTScope{
		corev1.SchemeGroupVersion.WithKind("Pod"): meta.RESTScopeNamespace, corev1.SchemeGroupVersion.WithKind("Namespace"): meta.RESTScopeRoot,
		appsv1.SchemeGroupVersion.WithKind("ReplicaSet"): meta.RESTScopeNamespace, batchv1.SchemeGroupVersion.WithKind("Job"): meta.RESTScopeNamespace,
		v1alpha1.GroupVersion.WithKind(policyKind): meta.RESTScopeRoot, v1alpha1.GroupVersion.WithKind(exceptionKind): meta.RESTScopeNamespace,
		v1alpha1.GroupVersion.WithKind(v1alpha1.ClusterImageScanExceptionKind): meta.RESTScopeRoot,
	} {
		mapper.Add(kind, scope)
	}
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("make the scheme: %w", err)
	}
	cluster, err := client.New(c, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	return &Cluster{client: cluster, owners: audit.OwnersFrom(cluster)}, nil
}

// Pods returns the running pods of a namespace, or of all if it is empty, that a label selector such as app=web selects. A
// namespace that does not exist is an error, since the name may be misspelt.
func (c *Cluster) Pods(ctx context.Context, namespace, selector string) (objects []Object, err error) {
	selected, err := labels.Parse(selector)
	if err != nil {
		return nil, fmt.Errorf("read the pods: %w", err)
	}
	err = audit.Pages(ctx, c.client, &corev1.PodList{}, func(list *corev1.PodList) error {
		for i := range list.Items {
			if pod := &list.Items[i]; pod.DeletionTimestamp == nil {
				one := Object{Request: audit.RequestOf(pod), Owner: image.OwnerOf(pod)}
				for _, use := range one.Workload.Uses {
					one.Running = append(one.Running, image.Running(pod, use).Digest)
				}
				objects = append(objects, one)
			}
		}
		return nil
	}, audit.NotEnded(), client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selected})
	if err != nil {
		return nil, fmt.Errorf("read the pods: %w", err)
	}
	if len(objects) == 0 && namespace != "" {
		if _, err := c.NamespaceLabels(ctx, namespace); apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("there is no namespace %q in the cluster", namespace)
		}
	}
	return objects, nil
}

// TopOwner returns the workload that people know for a pod's owner; see image.Owners.
func (c *Cluster) TopOwner(ctx context.Context, namespace string, owner image.Owner) (image.Owner, error) {
	return c.owners.Top(ctx, namespace, owner)
}

// NamespaceLabels returns the labels of a namespace.
func (c *Cluster) NamespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	if known, ok := c.labels.Load(name); ok {
		labels, _ := known.(map[string]string)
		return labels, nil
	}
	var namespace corev1.Namespace
	if err := c.client.Get(ctx, client.ObjectKey{Name: name}, &namespace); err != nil {
		return nil, fmt.Errorf("read namespace %q: %w", name, err)
	}
	c.labels.Store(name, namespace.Labels)
	return namespace.Labels, nil
}

// Policies returns the cluster's policies.
func (c *Cluster) Policies(ctx context.Context) ([]v1alpha1.ImageScanPolicy, error) {
	var list v1alpha1.ImageScanPolicyList
	err := c.list(ctx, &list)
	return list.Items, err
}

// Exceptions returns the exceptions of both kinds. An earlier version of hssgate has none for the whole cluster.
func (c *Cluster) Exceptions(ctx context.Context) ([]v1alpha1.ImageScanException, error) {
	var list v1alpha1.ImageScanExceptionList
	if err := c.list(ctx, &list); err != nil {
		return nil, err
	}
	var clusterWide v1alpha1.ClusterImageScanExceptionList
	if err := c.list(ctx, &clusterWide); err != nil && !errors.Is(err, ErrNotInstalled) {
		return nil, err
	}
	for i := range clusterWide.Items {
		list.Items = append(list.Items, *clusterWide.Items[i].Exception())
	}
	return list.Items, nil
}

func (c *Cluster) list(ctx context.Context, list client.ObjectList) error {
	err := c.client.List(ctx, list)
	switch {
	case apierrors.IsNotFound(err):
		return ErrNotInstalled
	case err != nil:
		return fmt.Errorf("read the policies and exceptions in force: %w", err)
	}
	return nil
}

// CreateException creates an exception, and sets it to what the API server stores. A dry run stores nothing.
func (c *Cluster) CreateException(ctx context.Context, e *v1alpha1.ImageScanException, dryRun bool) error {
	options := &client.CreateOptions{FieldManager: "hssgate-allow", FieldValidation: metav1.FieldValidationStrict}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	kind := e.TypeMeta // which the answer leaves out
	err := c.client.Create(ctx, e.Object(), options)
	e.TypeMeta = kind
	// A missing namespace is not found as well; that error names the namespace.
	if apierrors.IsNotFound(err) && strings.Contains(err.Error(), "could not find the requested resource") {
		if e.ClusterWide() {
			return errors.New("the cluster has no ClusterImageScanException: upgrade hssgate in it")
		}
		return ErrNotInstalled
	}
	return err
}
