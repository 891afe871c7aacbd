package policy

import (
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
	_, bad := compile(p)
	return append(errs, bad...)
}
