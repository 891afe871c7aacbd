package policy

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The number of unsafe settings that HSS found in an image is bounded.

	forbids:  more than unsafeSettings.max, a missing number
	allows:   0 to the maximum
	judges:   each record and each of its architectures
*/

func checkUnsafeSettings() check {
	return check{id: CheckUnsafeSettings, scope: ofScan, needsResult: true, compile: compileUnsafeSettings}
}

func compileUnsafeSettings(r *v1alpha1.Requirements, path *field.Path) ([]judge, field.ErrorList) {
	settings := counted{
		one:  "unsafe setting",
		many: "unsafe settings",
		of:   func(s *Scan) *int { return s.UnsafeSettings },
	}
	return compileCount(settings, r.UnsafeSettings, path.Child("unsafeSettings"))
}
