package policy_test

import (
	"testing"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func severity(s v1alpha1.Severity) policy.Record {
	return with(func(r *policy.Record) { r.Severity = s })
}

func TestSeverityLevel(t *testing.T) {
	t.Parallel()
	require := v1alpha1.Requirements{SeverityLevel: &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium}}
	runRequirement(t, require, []requirementCase{
		{"Security passes", severity("Security"), ""},
		{"the maximum passes", severity("Medium"), ""},
		{"a level above the maximum fails", severity("High"), "severityLevel: severity High, allowed Medium"},
		{"a missing level fails", severity(""), "severityLevel: severity unknown, allowed Medium"},
		{"a level unknown to us fails", severity("Critical"), `severityLevel: unknown severity "Critical", allowed Medium`},
		{"case matters", severity("low"), `severityLevel: unknown severity "low", allowed Medium`},
		{"an outside text is made printable", severity("a\nb\x1b[31m"), `severityLevel: unknown severity "a b[31m", allowed Medium`},
		{"a failed scan has no level", failed(), "scanStatus: scan failed (authentication_failed: 认证失败), allowed success"},
	})
}

func TestSeverityLevelHighAllowsEveryKnownLevel(t *testing.T) {
	t.Parallel()
	require := v1alpha1.Requirements{SeverityLevel: &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityHigh}}
	runRequirement(t, require, []requirementCase{
		{"High passes", severity("High"), ""},
		{"an unknown level still fails", severity("Worse"), `severityLevel: unknown severity "Worse", allowed High`},
	})
}
