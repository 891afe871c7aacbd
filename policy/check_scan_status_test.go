package policy_test

import (
	"strings"
	"testing"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func statuses(in ...v1alpha1.ScanStatus) *v1alpha1.ScanStatusRequirement {
	return &v1alpha1.ScanStatusRequirement{In: in}
}

func reason(code, description string) policy.Record {
	return with(status(v1alpha1.ScanStatusFailed), func(r *policy.Record) {
		r.Scan.FailedCode, r.Scan.FailedDescription = code, description
	})
}

func TestScanStatus(t *testing.T) {
	t.Parallel()
	runRequirement(t, v1alpha1.Requirements{ScanStatus: statuses("success")}, []requirementCase{
		{"success passes", cleanRecord(), ""},
		{"a failed scan fails with HSS's reason", failed(),
			"scanStatus: scan failed (authentication_failed: 认证失败), allowed success"},
		{"a failed download fails", with(status("download_failed")), "scanStatus: scan download_failed, allowed success"},
		{"an oversized image fails", with(status("image_oversized")), "scanStatus: scan image_oversized, allowed success"},
		{"an unknown status fails", with(status("paused")), `scanStatus: unknown scan status "paused", allowed success`},
		{"a missing status fails", with(status("")), `scanStatus: unknown scan status "", allowed success`},
		{"a code alone is shown", reason("database_error", ""), "scanStatus: scan failed (database_error), allowed success"},
		{"a description alone is shown", reason("", "broken"), "scanStatus: scan failed (broken), allowed success"},
		{"a description is one printable line", reason("x", "one\r\ntwo\u2028three\u202e\x00"),
			"scanStatus: scan failed (x: one two three), allowed success"},
		{"a description is cut", reason("x", strings.Repeat("长", 1000)),
			"scanStatus: scan failed (x: " + strings.Repeat("长", 199) + "…), allowed success"},
	})
}

func TestScanStatusThatAcceptsFailures(t *testing.T) {
	t.Parallel()
	accepting := v1alpha1.Requirements{ScanStatus: statuses("success", "failed")}
	runRequirement(t, accepting, []requirementCase{
		{"a failed scan passes if nothing needs its result", failed(), ""},
		{"another failure fails", with(status("image_oversized")),
			"scanStatus: scan image_oversized, allowed success or failed"},
	})
	accepting.Vulnerabilities = &v1alpha1.VulnerabilityRequirement{}
	accepting.SeverityLevel = &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityHigh}
	runRequirement(t, accepting, []requirementCase{
		{"a failed scan fails once if results are needed", failed(),
			"scanStatus: scan failed (authentication_failed: 认证失败), which leaves no result to judge"},
	})
}

func TestScanStatusThatIsNotRequired(t *testing.T) {
	t.Parallel()
	runRequirement(t, v1alpha1.Requirements{Digest: v1alpha1.DigestOptional}, []requirementCase{
		{"a failed scan passes", failed(), ""},
		{"an unknown status fails still", with(status("paused")),
			`scanStatus: unknown scan status "paused", allowed success`},
	})
	everything := strict()
	everything.ScanStatus = nil
	runRequirement(t, everything, []requirementCase{
		{"a failed scan fails once, not once a requirement", failed(),
			"scanStatus: scan failed (authentication_failed: 认证失败), allowed success"},
	})
}
