package policy_test

import (
	"testing"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestMaliciousFiles(t *testing.T) {
	t.Parallel()
	counted := func(n *int) policy.Record {
		return with(func(r *policy.Record) { r.Scan.MaliciousFiles = n })
	}
	runRequirement(t, v1alpha1.Requirements{MaliciousFiles: &v1alpha1.CountRequirement{Max: 0}}, []requirementCase{
		{"none passes", counted(new(0)), ""},
		{"one fails in the singular", counted(new(1)), "maliciousFiles: 1 malicious file, allowed 0"},
		{"several fail", counted(new(111)), "maliciousFiles: 111 malicious files, allowed 0"},
		{"a missing number fails", counted(nil), "maliciousFiles: number of malicious files unknown, allowed 0"},
		{"a negative number is none", counted(new(-1)), "maliciousFiles: number of malicious files unknown, allowed 0"},
		{"a failed scan has no number", failed(), "scanStatus: scan failed (authentication_failed: 认证失败), allowed success"},
	})
	runRequirement(t, v1alpha1.Requirements{MaliciousFiles: &v1alpha1.CountRequirement{Max: 10}}, []requirementCase{
		{"the maximum passes", counted(new(10)), ""},
		{"one more than the maximum fails", counted(new(11)), "maliciousFiles: 11 malicious files, allowed 10"},
		{"the API's largest number is no overflow", counted(new(2147483647)), "maliciousFiles: 2147483647 malicious files, allowed 10"},
	})
}
