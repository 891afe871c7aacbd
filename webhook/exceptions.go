package webhook

import (
	"context"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// ExceptionValidator refuses exceptions that the schema can't judge: new ones
// that have ended, and those that would last too long. What gets past it ends
// all the same. It is for admission.WithValidator.
type ExceptionValidator struct {
	// MaxLifetime is the longest that an exception may last from its creation.
	MaxLifetime time.Duration
	Clock       clock.PassiveClock
}

var _ admission.Validator[*v1alpha1.ImageScanException] = ExceptionValidator{}

// ValidateCreate refuses a bad exception with an Invalid status error.
func (v ExceptionValidator) ValidateCreate(_ context.Context, e *v1alpha1.ImageScanException) (admission.Warnings, error) {
	return nil, v.invalid(e, true)
}

// ValidateUpdate refuses what makes an exception bad. An update that leaves the
// spec alone passes, and so does one that ends the exception.
func (v ExceptionValidator) ValidateUpdate(_ context.Context, old, e *v1alpha1.ImageScanException) (admission.Warnings, error) {
	if e.DeletionTimestamp != nil || apiequality.Semantic.DeepEqual(old.Spec, e.Spec) {
		return nil, nil
	}
	return nil, v.invalid(e, false)
}

// ValidateDelete lets every deletion pass.
func (ExceptionValidator) ValidateDelete(context.Context, *v1alpha1.ImageScanException) (admission.Warnings, error) {
	return nil, nil
}

func (v ExceptionValidator) invalid(e *v1alpha1.ImageScanException, isNew bool) error {
	problems := policy.ValidateException(e, isNew, v.Clock.Now(), v.MaxLifetime)
	if len(problems) == 0 {
		return nil
	}
	return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("ImageScanException").GroupKind(), e.Name, problems)
}
