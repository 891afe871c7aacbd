package check

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Histories are histories that don't change, by their policies.
type Histories map[string]policy.History

// History returns that of a policy.
func (h Histories) History(policy string) policy.History { return h[policy] }

// Histories returns what ran and passed in the cluster. What can't be read of
// one grants nothing, as in the webhook; the error then says what that is, and
// the rest counts. Whoever may not read them learns of no grace.
func (c *Cluster) Histories(ctx context.Context) (Histories, error) {
	found, err := c.dynamic.Resource(v1alpha1.GroupVersion.WithResource("imagescanhistories")).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return Histories{}, nil // none can be there
	}
	if err != nil {
		return nil, fmt.Errorf("no image counts as under grace, since what ran and passed can't be read: %w", err)
	}
	histories := Histories{}
	var errs []error
	for i := range found.Items {
		var one v1alpha1.ImageScanHistory
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Items[i].Object, &one); err != nil {
			errs = append(errs, fmt.Errorf("read history %q: %w", found.Items[i].GetName(), err))
			continue
		}
		compiled, err := policy.CompileHistory(&one)
		if err != nil {
			errs = append(errs, fmt.Errorf("history %q: %w", one.Name, err))
		}
		histories[one.Name] = compiled
	}
	return histories, errors.Join(errs...)
}
