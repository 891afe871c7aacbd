package policy_test

import (
	"testing"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestUnsafeSettings(t *testing.T) {
	t.Parallel()
	counted := func(n *int) policy.Record {
		return with(func(r *policy.Record) { r.Scan.UnsafeSettings = n })
	}
	runRequirement(t, v1alpha1.Requirements{UnsafeSettings: &v1alpha1.CountRequirement{Max: 0}}, []requirementCase{
		{"none passes", counted(new(0)), ""},
		{"one fails in the singular", counted(new(1)), "unsafeSettings: 1 unsafe setting, allowed 0"},
		{"several fail", counted(new(111)), "unsafeSettings: 111 unsafe settings, allowed 0"},
		{"a missing number fails", counted(nil), "unsafeSettings: number of unsafe settings unknown, allowed 0"},
		{"a negative number is none", counted(new(-1)), "unsafeSettings: number of unsafe settings unknown, allowed 0"},
		{"a failed scan has no number", failed(), "scanStatus: scan failed (authentication_failed: 认证失败), allowed success"},
	})
	runRequirement(t, v1alpha1.Requirements{UnsafeSettings: &v1alpha1.CountRequirement{Max: 10}}, []requirementCase{
		{"the maximum passes", counted(new(10)), ""},
		{"one more than the maximum fails", counted(new(11)), "unsafeSettings: 11 unsafe settings, allowed 10"},
		{"the API's largest number is no overflow", counted(new(2147483647)), "unsafeSettings: 2147483647 unsafe settings, allowed 10"},
	})
}
