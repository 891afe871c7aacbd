package policy

import (
	"context"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
Images must be pinned by digest: a tag can move after the scan, a digest cannot.

	forbids:   a reference without a digest, if digest is Required
	allows:    any reference, if digest is Optional or left out
	evaluates: the reference, even if HSS does not know the image
*/
func compileDigest(r *v1alpha1.Requirements, path *field.Path) (rules []rule, errs field.ErrorList) {
	digest := choose(&errs, path.Child("digest"), r.Digest, v1alpha1.DigestOptional, v1alpha1.DigestRequired, v1alpha1.DigestOptional)
	if digest == v1alpha1.DigestOptional {
		return nil, nil
	}
	return []rule{{"required", func(_ context.Context, s subject) string {
		if s.image.Digest == "" {
			return s.Text("image must be pinned by digest")
		}
		return ""
	}}}, errs
}
