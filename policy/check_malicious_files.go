package policy

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The number of malicious files that HSS found is limited.

	forbids:   more than maliciousFiles.max, a missing number
	allows:    0 to the maximum
	evaluates: each record and each of its architectures
*/
func compileMaliciousFiles(r *v1alpha1.Requirements, _ *field.Path) ([]rule, field.ErrorList) {
	return count{one: "malicious file", many: "malicious files", of: func(s *Scan) *int { return s.MaliciousFiles }}.compile(r.MaliciousFiles)
}
