package policy_test

import (
	"testing"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestVulnerabilities(t *testing.T) {
	t.Parallel()
	counted := func(n *int) policy.Record {
		return with(func(r *policy.Record) { r.Scan.Vulnerabilities = n })
	}
	runRequirement(t, v1alpha1.Requirements{Vulnerabilities: &v1alpha1.CountRequirement{Max: 0}}, []requirementCase{
		{"none passes", counted(new(0)), ""},
		{"one fails in the singular", counted(new(1)), "vulnerabilities: 1 vulnerability, allowed 0"},
		{"several fail", counted(new(111)), "vulnerabilities: 111 vulnerabilities, allowed 0"},
		{"a missing number fails", counted(nil), "vulnerabilities: number of vulnerabilities unknown, allowed 0"},
		{"a negative number is none", counted(new(-1)), "vulnerabilities: number of vulnerabilities unknown, allowed 0"},
		{"a failed scan has no number", failed(), "scanStatus: scan failed (authentication_failed: 认证失败), allowed success"},
	})
	runRequirement(t, v1alpha1.Requirements{Vulnerabilities: &v1alpha1.CountRequirement{Max: 10}}, []requirementCase{
		{"the maximum passes", counted(new(10)), ""},
		{"one more than the maximum fails", counted(new(11)), "vulnerabilities: 11 vulnerabilities, allowed 10"},
		{"the API's largest number is no overflow", counted(new(2147483647)), "vulnerabilities: 2147483647 vulnerabilities, allowed 10"},
	})
}
