package webhook

import (
	"context"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// PolicyValidator refuses policies that the schema can't judge, such as one
// whose expression doesn't compile. It is for admission.WithValidator.
type PolicyValidator struct {
	// NoPinning tells that no webhook is installed that pins images.
	NoPinning bool
}

var _ admission.Validator[*v1alpha1.ImageScanPolicy] = PolicyValidator{}

// ValidateCreate refuses an invalid policy with an Invalid status error.
func (v PolicyValidator) ValidateCreate(_ context.Context, p *v1alpha1.ImageScanPolicy) (admission.Warnings, error) {
	return v.warnings(p), invalid(p)
}

// ValidateUpdate refuses what makes a policy invalid. An update that leaves the
// spec alone passes, so that an old policy can still be labelled or deleted.
func (v PolicyValidator) ValidateUpdate(_ context.Context, old, p *v1alpha1.ImageScanPolicy) (admission.Warnings, error) {
	if p.DeletionTimestamp != nil || apiequality.Semantic.DeepEqual(old.Spec, p.Spec) {
		return nil, nil
	}
	return v.warnings(p), invalid(p)
}

// ValidateDelete lets every deletion pass.
func (PolicyValidator) ValidateDelete(context.Context, *v1alpha1.ImageScanPolicy) (admission.Warnings, error) {
	return nil, nil
}

// warnings tell of what a policy says to no effect.
func (v PolicyValidator) warnings(p *v1alpha1.ImageScanPolicy) admission.Warnings {
	switch {
	case !p.Spec.Pin:
		return nil
	case p.Spec.Enforcement == v1alpha1.EnforcementAudit:
		return admission.Warnings{"spec.pin: no image is pinned while spec.enforcement is Audit"}
	case v.NoPinning:
		return admission.Warnings{"spec.pin: no image is pinned until the webhook that pins is installed: pin.enabled of the chart"}
	default:
		return nil
	}
}

func invalid(p *v1alpha1.ImageScanPolicy) error {
	problems := policy.Validate(p)
	if len(problems) == 0 {
		return nil
	}
	return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("ImageScanPolicy").GroupKind(), p.Name, problems)
}
