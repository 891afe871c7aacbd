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
	runRequirement(t, v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 0}}, []requirementCase{
		{"none passes", counted(new(0)), ""},
		{"one fails in the singular", counted(new(1)), "vulnerabilities: 1 vulnerability, allowed 0"},
		{"several fail", counted(new(111)), "vulnerabilities: 111 vulnerabilities, allowed 0"},
		{"a missing number fails", counted(nil), "vulnerabilities: number of vulnerabilities unknown, allowed 0"},
		{"a negative number is none", counted(new(-1)), "vulnerabilities: number of vulnerabilities unknown, allowed 0"},
		{"a failed scan has no number", failed(), "scanStatus: scan failed (authentication_failed: 认证失败), allowed success"},
	})
	runRequirement(t, v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 10}}, []requirementCase{
		{"the maximum passes", counted(new(10)), ""},
		{"one more than the maximum fails", counted(new(11)), "vulnerabilities: 11 vulnerabilities, allowed 10"},
		{"the API's largest number is no overflow", counted(new(2147483647)), "vulnerabilities: 2147483647 vulnerabilities, allowed 10"},
	})
}

// affected lists its vulnerabilities, of which one more is counted than listed
// if unlisted is 1.
func affected(unlisted int, all ...policy.Vulnerability) policy.Record {
	return with(func(r *policy.Record) {
		r.Scan.Vulnerabilities, r.Scan.Found = new(len(all)+unlisted), all
	})
}

func TestVulnerabilitiesThatCount(t *testing.T) {
	t.Parallel()
	const one = "CVE-2024-1234"
	mild := policy.Vulnerability{ID: one, Severity: v1alpha1.SeverityLow, Fix: "update openssl"}
	medium := policy.Vulnerability{ID: "CVE-2024-2222", Severity: v1alpha1.SeverityMedium, Fix: "update openssl"}
	unfixed := policy.Vulnerability{ID: "CVE-2024-3333", Severity: v1alpha1.SeverityHigh}
	strange := policy.Vulnerability{ID: "CVE-2024-4444", Severity: "Urgent", Fix: "update openssl"}
	unlisted := with(func(r *policy.Record) { r.Scan.Vulnerabilities = new(1) })
	require := func(r v1alpha1.VulnerabilityRequirement, ignored ...string) v1alpha1.Requirements {
		return v1alpha1.Requirements{Vulnerabilities: &r, IgnoreVulnerabilities: ignored}
	}
	runRequirement(t, require(v1alpha1.VulnerabilityRequirement{MinSeverity: v1alpha1.SeverityMedium}), []requirementCase{
		{"milder ones don't count", affected(0, mild, mild), ""},
		{"the least severity counts", affected(0, mild, medium), "vulnerabilities: 1 vulnerability, allowed 0 (of severity Medium or worse; 2 in all)"},
		{"worse ones count", affected(0, mild, medium, unfixed), "vulnerabilities: 2 vulnerabilities, allowed 0 (of severity Medium or worse; 3 in all)"},
		{"an unknown severity counts", affected(0, strange), "vulnerabilities: 1 vulnerability, allowed 0 (of severity Medium or worse; 1 in all)"},
		{"those that aren't listed count", affected(1, mild), "vulnerabilities: 1 vulnerability, allowed 0 (of severity Medium or worse; 2 in all)"},
		{"without a list all count", unlisted, "vulnerabilities: 1 vulnerability, allowed 0 (all count, since they are not known one by one)"},
		{"no list of none passes", with(func(r *policy.Record) { r.Scan.Vulnerabilities = new(0) }), ""},
		{"a list without a number is none", with(func(r *policy.Record) {
			r.Scan.Vulnerabilities, r.Scan.Found = nil, []policy.Vulnerability{mild}
		}), "vulnerabilities: number of vulnerabilities unknown, allowed 0"},
	})
	runRequirement(t, require(v1alpha1.VulnerabilityRequirement{FixableOnly: true, MinSeverity: v1alpha1.SeverityHigh}), []requirementCase{
		{"what nothing fixes doesn't count", affected(0, unfixed), ""},
		{"what is fixed does", affected(0, unfixed, strange), "vulnerabilities: 1 vulnerability, allowed 0 (of severity High, with a fix; 2 in all)"},
	})
	runRequirement(t, require(v1alpha1.VulnerabilityRequirement{}, one, "CVE-2024-2222"), []requirementCase{
		{"those that are ignored don't count", affected(0, mild, medium), ""},
		{"all others do", affected(0, mild, unfixed), "vulnerabilities: 1 vulnerability, allowed 0 (2 in all)"},
		{"each architecture is counted by itself", with(func(r *policy.Record) {
			r.MultiArch = true
			r.Architectures = []policy.Architecture{{Digest: amd64Digest, Scan: affected(0, mild).Scan}, {Digest: arm64Digest, Scan: affected(0, unfixed).Scan}}
		}), "vulnerabilities: architecture sha256:bbbbbbbbbbbb…: 1 vulnerability, allowed 0 (1 in all)"},
	})
	runRequirement(t, require(v1alpha1.VulnerabilityRequirement{MinSeverity: v1alpha1.SeverityLow}), []requirementCase{
		{"from Low on, all count", affected(0, mild), "vulnerabilities: 1 vulnerability, allowed 0 (1 in all)"},
	})
}

func TestBadVulnerabilityRequirementsFailClosed(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]v1alpha1.Requirements{
		"an unknown severity":  {Vulnerabilities: &v1alpha1.VulnerabilityRequirement{MinSeverity: "Terrible"}},
		"the lowest severity":  {Vulnerabilities: &v1alpha1.VulnerabilityRequirement{MinSeverity: v1alpha1.SeveritySecurity}},
		"a name that is no ID": {Vulnerabilities: &v1alpha1.VulnerabilityRequirement{}, IgnoreVulnerabilities: []string{"openssl"}},
	} {
		p, err := policy.Compile(policyOf(r))
		if err == nil {
			t.Errorf("%s compiles", name)
		}
		if len(p.Evaluate(t.Context(), found(affected(0, policy.Vulnerability{ID: "CVE-2024-1", Severity: v1alpha1.SeverityLow})), now())) == 0 {
			t.Errorf("%s lets a vulnerability past", name)
		}
	}
	if _, err := policy.Compile(policyOf(v1alpha1.Requirements{IgnoreVulnerabilities: []string{"CVE-2024-1234"}})); err == nil {
		t.Error("ignored vulnerabilities that nothing counts compile")
	}
}
