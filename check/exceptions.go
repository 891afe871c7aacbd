package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Exceptions are exceptions that don't change, by their namespaces.
type Exceptions map[string][]*policy.Exception

// InNamespace returns those of a namespace.
func (x Exceptions) InNamespace(name string) []*policy.Exception { return x[name] }

// Exceptions returns those of the cluster. None lasts longer than maxLifetime
// from its creation, and one that is invalid lets nothing past, as in the
// webhook; the error then lists every problem, and the rest counts.
func (c *Cluster) Exceptions(ctx context.Context, maxLifetime time.Duration) (Exceptions, error) {
	found, err := c.dynamic.Resource(v1alpha1.GroupVersion.WithResource("imagescanexceptions")).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return Exceptions{}, nil // none can be there
	}
	if err != nil {
		return nil, fmt.Errorf("read the exceptions in force: %w", err)
	}
	exceptions := Exceptions{}
	var errs []error
	for i := range found.Items {
		var one v1alpha1.ImageScanException
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Items[i].Object, &one); err != nil {
			return nil, fmt.Errorf("read exception %s/%s: %w", found.Items[i].GetNamespace(), found.Items[i].GetName(), err)
		}
		compiled, err := policy.CompileException(&one, maxLifetime)
		if err != nil {
			errs = append(errs, err)
		}
		exceptions[one.Namespace] = append(exceptions[one.Namespace], compiled)
	}
	return exceptions, errors.Join(errs...)
}
