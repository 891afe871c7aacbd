package policy_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestDigest(t *testing.T) {
	t.Parallel()
	const missing = "digest: image must be pinned by digest"
	pinned := found(cleanRecord())
	pinned.Image.Digest = digest
	notFound := &policy.Facts{Image: image(), State: policy.StateNotFound, Reason: "no such image"}
	type testCase struct {
		require v1alpha1.DigestRequirement
		facts   *policy.Facts
		want    string
	}
	each(t, map[string]testCase{
		"a tag passes if nothing is required":           {"", found(cleanRecord()), ""},
		"a tag passes if a digest is optional":          {v1alpha1.DigestOptional, found(cleanRecord()), ""},
		"a tag fails if a digest is required":           {v1alpha1.DigestRequired, found(cleanRecord()), missing},
		"a digest passes":                               {v1alpha1.DigestRequired, pinned, ""},
		"it is reported once for several records":       {v1alpha1.DigestRequired, found(cleanRecord(), cleanRecord()), missing},
		"it is reported beside an image unknown to HSS": {v1alpha1.DigestRequired, notFound, "notFound: no such image\n" + missing},
	}, func(t *testing.T, c testCase) {
		require := v1alpha1.Requirements{Digest: c.require}
		wantLines(t, c.want, evaluate(t, policyOf(require), c.facts))
	})
}

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
	runRequirement(t, v1alpha1.Requirements{SeverityLevel: &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityHigh}}, []requirementCase{
		{"High passes", severity("High"), ""},
		{"an unknown level still fails", severity("Worse"), `severityLevel: unknown severity "Worse", allowed High`},
	})
}

func TestCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		check, one, many string
		require          func(*v1alpha1.Requirements, int32)
		of               func(*policy.Scan) **int
	}{
		{"vulnerabilities", "vulnerability", "vulnerabilities",
			func(r *v1alpha1.Requirements, n int32) {
				r.Vulnerabilities = &v1alpha1.VulnerabilityRequirement{Max: n}
			},
			func(s *policy.Scan) **int { return &s.Vulnerabilities }},
		{"maliciousFiles", "malicious file", "malicious files",
			func(r *v1alpha1.Requirements, n int32) { r.MaliciousFiles = &v1alpha1.CountRequirement{Max: n} },
			func(s *policy.Scan) **int { return &s.MaliciousFiles }},
		{"unsafeSettings", "unsafe setting", "unsafe settings",
			func(r *v1alpha1.Requirements, n int32) { r.UnsafeSettings = &v1alpha1.CountRequirement{Max: n} },
			func(s *policy.Scan) **int { return &s.UnsafeSettings }},
	} {
		counted := func(n *int) policy.Record { return with(func(r *policy.Record) { *c.of(&r.Scan) = n }) }
		var none, ten v1alpha1.Requirements
		c.require(&none, 0)
		c.require(&ten, 10)
		runRequirement(t, none, []requirementCase{
			{c.check + ": none passes", counted(new(0)), ""},
			{c.check + ": one fails in the singular", counted(new(1)), c.check + ": 1 " + c.one + ", allowed 0"},
			{c.check + ": several fail", counted(new(111)), c.check + ": 111 " + c.many + ", allowed 0"},
			{c.check + ": a missing number fails", counted(nil), c.check + ": number of " + c.many + " unknown, allowed 0"},
			{c.check + ": a negative number is none", counted(new(-1)), c.check + ": number of " + c.many + " unknown, allowed 0"},
			{c.check + ": a failed scan has no number", failed(), "scanStatus: scan failed (authentication_failed: 认证失败), allowed success"},
		})
		runRequirement(t, ten, []requirementCase{
			{c.check + ": the maximum passes", counted(new(10)), ""},
			{c.check + ": one more fails", counted(new(11)), c.check + ": 11 " + c.many + ", allowed 10"},
			{c.check + ": the API's largest number is no overflow", counted(new(2147483647)), c.check + ": 2147483647 " + c.many + ", allowed 10"},
		})
	}
}

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
		{"a description of 200 characters is whole", reason("x", strings.Repeat("长", 200)),
			"scanStatus: scan failed (x: " + strings.Repeat("长", 200) + "), allowed success"},
		{"a description that is no UTF-8 is shown as such", reason("\xff\xfe", "a\u0085\u200bb"), "scanStatus: scan failed (\uFFFD: a b), allowed success"},
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
			"scanStatus: scan failed (authentication_failed: 认证失败), which leaves no result to evaluate"},
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

func scannedAt(at time.Time) policy.Record {
	return with(func(r *policy.Record) { r.ScannedAt, r.UpdatedAt = at, time.Time{} })
}

func youngerThan(d time.Duration) v1alpha1.Requirements {
	return v1alpha1.Requirements{ScanAge: &v1alpha1.ScanAgeRequirement{Max: metav1.Duration{Duration: d}}}
}

func TestScanAge(t *testing.T) {
	t.Parallel()
	runRequirement(t, youngerThan(7*day), []requirementCase{
		{"a scan of this moment passes", scannedAt(now()), ""},
		{"a scan of just the allowed age passes", scannedAt(ago(7 * day)), ""},
		{"an old scan fails", scannedAt(ago(60 * day)), "scanAge: scanned 60 days ago, allowed 7 days"},
		{"a scan that is hours too old says the hours", scannedAt(ago(7*day + 5*time.Hour)),
			"scanAge: scanned 173h ago, allowed 168h"},
		{"a scan that is a minute too old says the minute", scannedAt(ago(7*day + time.Minute)),
			"scanAge: scanned 168h1m ago, allowed 168h"},
		{"a scan that is a second too old says the second", scannedAt(ago(7*day + time.Second)),
			"scanAge: scanned 168h0m1s ago, allowed 168h"},
		{"a scan that is a nanosecond too old fails", scannedAt(ago(7*day + 1)),
			"scanAge: scanned 168h0m0.000000001s ago, allowed 168h0m0s"},
		{"an unknown time fails", scannedAt(time.Time{}), "notScanned: the time of its scan is unknown\nscanAge: time of scan unknown, allowed 7 days"},
		{"clocks may differ a little", scannedAt(ago(-10 * time.Minute)), ""},
		{"a scan in the future fails", scannedAt(ago(-3 * day)),
			"scanAge: scanned 3 days from now by HSS's clock, allowed 7 days ago"},
		{"a failed scan has no age", failed(), "scanStatus: scan failed (authentication_failed: 认证失败), allowed success"},
	})
	runRequirement(t, youngerThan(90*time.Second), []requirementCase{
		{"minutes", scannedAt(ago(5 * time.Minute)), "scanAge: scanned 5m ago, allowed 1m"},
		{"hours", scannedAt(ago(30 * time.Hour)), "scanAge: scanned 30h ago, allowed 1m"},
		{"a day", scannedAt(ago(day)), "scanAge: scanned 1 day ago, allowed 1m"},
	})
}

func TestAFailedScanIsReportedOnce(t *testing.T) {
	t.Parallel()
	for _, s := range []v1alpha1.ScanStatus{"failed", "download_failed", "image_oversized", "odd", ""} {
		got := evaluate(t, policyOf(strict()), found(with(status(s), func(r *policy.Record) {
			r.Severity, r.Scan.Vulnerabilities, r.ScannedAt = "", nil, time.Time{}
		})))
		if len(got) != 1 || !strings.HasPrefix(got[0], "scanStatus: ") {
			t.Errorf("status %q: findings are %q, want one of scanStatus", s, got)
		}
	}
}
