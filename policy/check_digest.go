package policy

import (
	"context"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The reference must name a digest: a tag can move after the scan, a digest
cannot.

	forbids:  a reference without a digest, if digest is Required
	allows:   Required, Optional
	judges:   the reference, even if HSS doesn't know the image
*/

func checkDigest() check {
	return check{id: CheckDigest, scope: ofReference, compile: compileDigest}
}

func compileDigest(r *v1alpha1.Requirements, path *field.Path) ([]judge, field.ErrorList) {
	var errs field.ErrorList
	switch r.Digest {
	case "", v1alpha1.DigestOptional:
		return nil, nil
	case v1alpha1.DigestRequired:
	default:
		errs = append(errs, field.NotSupported(path.Child("digest"), r.Digest,
			[]v1alpha1.DigestRequirement{v1alpha1.DigestRequired, v1alpha1.DigestOptional}))
	}
	return []judge{judgeDigest}, errs
}

func judgeDigest(_ context.Context, s *subject) string {
	if s.image.Digest != "" {
		return ""
	}
	return "names no digest, required by the policy"
}
