package check

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// ErrNotInstalled is returned where a cluster has no ImageScanExceptions.
var ErrNotInstalled = errors.New("the cluster has no ImageScanExceptions: hssgate is not installed in it")

// CreateException creates an exception and returns it as the API server has it.
// On a dry run nothing is stored.
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
	// A missing namespace is not found, too, and named.
	case apierrors.IsNotFound(err) && strings.Contains(err.Error(), "could not find the requested resource"):
		return nil, ErrNotInstalled
	case err != nil:
		return nil, err
	}
	stored := &v1alpha1.ImageScanException{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(created.Object, stored); err != nil {
		return nil, fmt.Errorf("read exception %s: %w", e.Name, err)
	}
	return stored, nil
}
