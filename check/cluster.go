package check

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// pageSize is how many objects are read at a time, which bounds the memory
// that a large cluster takes, here and in its API server.
const pageSize = 500

// Cluster reads pods, namespaces and policies from an API server. It does so
// without typed clients, which would make the program a sixth larger.
type Cluster struct {
	dynamic dynamic.Interface
}

// NewCluster returns the cluster that c reaches. It asks nothing yet.
func NewCluster(c *rest.Config) (*Cluster, error) {
	client, err := dynamic.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	return &Cluster{dynamic: client}, nil
}

// Selection says which pods are read.
type Selection struct {
	// Namespace is theirs; empty: all.
	Namespace string
	// Labels is a label selector, such as "app=web"; empty: all.
	Labels string
}

// running leaves out the pods that will never run again.
const running = "status.phase!=Succeeded,status.phase!=Failed"

// Pods gives the running pods that are to stay, some at a time: no more of them
// are in memory. An error of give ends it and is returned.
func (c *Cluster) Pods(ctx context.Context, s Selection, give func([]Object) error) error {
	pods := c.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(s.Namespace)
	options := metav1.ListOptions{LabelSelector: s.Labels, FieldSelector: running, Limit: pageSize}
	for {
		page, err := pods.List(ctx, options)
		if next, ok := inconsistent(err); ok {
			options.Continue = next
			continue
		}
		if err != nil {
			return err
		}
		objects, err := podObjects(page.Items)
		if err == nil && len(objects) > 0 {
			err = give(objects)
		}
		if options.Continue = page.GetContinue(); err != nil || options.Continue == "" {
			return err
		}
	}
}

// inconsistent returns where to go on if the API server has forgotten the state
// that the pages so far came from, as it does after some minutes: with those
// that come after them by their names, as they are now.
func inconsistent(err error) (next string, ok bool) {
	var status apierrors.APIStatus
	if !apierrors.IsResourceExpired(err) || !errors.As(err, &status) {
		return "", false
	}
	next = status.Status().Continue
	return next, next != ""
}

func podObjects(items []unstructured.Unstructured) ([]Object, error) {
	objects := make([]Object, 0, len(items))
	for i := range items {
		if items[i].GetDeletionTimestamp() != nil {
			continue
		}
		pod, err := podOf(&items[i])
		if err != nil {
			return nil, err
		}
		objects = append(objects, podObject(pod))
	}
	return objects, nil
}

func podOf(item *unstructured.Unstructured) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, pod); err != nil {
		return nil, fmt.Errorf("read pod %q: %w", item.GetName(), err)
	}
	return pod, nil
}

func podObject(pod *corev1.Pod) Object {
	return Object{
		Namespace: pod.Namespace, Name: pod.Name, Owner: controllerOf(pod.OwnerReferences), running: true,
		Workload: image.Workload{Kind: "Pod", Labels: pod.Labels, Uses: image.InPodSpec(&pod.Spec)},
	}
}

// NamespaceLabels returns the labels of a namespace.
func (c *Cluster) NamespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	namespace, err := c.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return namespace.GetLabels(), nil
}

// ErrNoCRD says that the cluster has no policies because hssgate isn't
// installed in it.
var ErrNoCRD = errors.New("the cluster knows no ImageScanPolicy, so hssgate is not installed in it: give --policies or --preset")

// Policies returns the policies in force.
func (c *Cluster) Policies(ctx context.Context) ([]v1alpha1.ImageScanPolicy, error) {
	found, err := c.dynamic.Resource(v1alpha1.GroupVersion.WithResource("imagescanpolicies")).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, ErrNoCRD
	}
	if err != nil {
		return nil, fmt.Errorf("read the policies in force: %w", err)
	}
	policies := make([]v1alpha1.ImageScanPolicy, len(found.Items))
	for i := range found.Items {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Items[i].Object, &policies[i]); err != nil {
			return nil, fmt.Errorf("read policy %q: %w", found.Items[i].GetName(), err)
		}
	}
	return policies, nil
}
