package policy

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The number of unsafe settings that HSS found is limited.

	forbids:   more than unsafeSettings.max, a missing number
	allows:    0 to the maximum
	evaluates: each record and each of its architectures
*/
func compileUnsafeSettings(r *v1alpha1.Requirements, _ *field.Path) ([]rule, field.ErrorList) {
	return count{one: "unsafe setting", many: "unsafe settings", of: func(s *Scan) *int { return s.UnsafeSettings }}.compile(r.UnsafeSettings)
}
