package policy

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// maxNameLength is that of a label's value, so that a policy's name can be one.
const maxNameLength = 63

// Validate lists what is wrong with p, each problem with its field: what the
// schema can't say (expressions, globs, selectors), and, for policies that
// no API server has seen, what it can.
func Validate(p *v1alpha1.ImageScanPolicy) field.ErrorList {
	var errs field.ErrorList
	if n := len(p.Name); n > maxNameLength {
		errs = append(errs, field.TooLong(field.NewPath("metadata", "name"), p.Name, maxNameLength))
	}
	compiled, bad := compile(p)
	errs = append(errs, bad...)
	if compiled.asksNothing(&p.Spec.Require) {
		errs = append(errs, field.Invalid(field.NewPath("spec"), field.OmitValueType{},
			"asks for nothing: name a requirement under require, or an action other than Allow under when"))
	}
	return errs
}

// asksNothing tells whether no image could violate the policy, save one whose
// scan status is unknown to us.
func (p *Policy) asksNothing(r *v1alpha1.Requirements) bool {
	const allow = v1alpha1.ActionAllow
	return p.when == v1alpha1.When{NotFound: allow, NotScanned: allow, Unavailable: allow} &&
		!needsResult(r) && r.ScanStatus == nil && len(r.Expressions) == 0 && r.Digest != v1alpha1.DigestRequired
}

// duplicates reports values that a list names twice.
func duplicates[T ~string](values []T, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, value := range values {
		if slices.Contains(values[:i], value) {
			errs = append(errs, field.Duplicate(path.Index(i), value))
		}
	}
	return errs
}
