package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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

// CompileExceptions prepares the exceptions of files as if they were created now
// in the namespace if they name none. One that is invalid lets nothing past, as
// one that is not applied; the error then lists every problem, and the rest
// counts.
func CompileExceptions(list []v1alpha1.ImageScanException, namespace string, maxLifetime time.Duration, now time.Time) (Exceptions, error) {
	exceptions := Exceptions{}
	var errs []error
	for i := range list {
		one := list[i].DeepCopy()
		one.Namespace = cmp.Or(one.Namespace, namespace, DefaultNamespace)
		if one.CreationTimestamp.IsZero() {
			one.CreationTimestamp = metav1.NewTime(now)
		}
		if wrong := policy.ValidateException(one, false, now, maxLifetime); len(wrong) > 0 {
			errs = append(errs, fmt.Errorf("exception %q is invalid: %w", one.Name, wrong.ToAggregate()))
			continue
		}
		compiled, err := policy.CompileException(one, maxLifetime)
		errs = append(errs, err)
		exceptions[one.Namespace] = append(exceptions[one.Namespace], compiled)
	}
	return exceptions, errors.Join(errs...)
}

// Replace adds exceptions to those that are there, in the place of the ones of the
// same name.
func (x Exceptions) Replace(others Exceptions) {
	for namespace, added := range others {
		kept := slices.DeleteFunc(x[namespace], func(old *policy.Exception) bool {
			return slices.ContainsFunc(added, func(one *policy.Exception) bool { return one.Name() == old.Name() })
		})
		x[namespace] = append(kept, added...)
	}
}

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
