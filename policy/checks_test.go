package policy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The tests' now, and the digests of their images.
const (
	digest      = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	otherDigest = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
	amd64Digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	arm64Digest = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// ago is a time before now; ago(0) is now.
func ago(d time.Duration) time.Time { return now().Add(-d) }

const day = 24 * time.Hour

// strict requires all that a field of its own can.
func strict() v1alpha1.Requirements {
	return v1alpha1.Requirements{
		SeverityLevel:   &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium},
		Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 0},
		MaliciousFiles:  &v1alpha1.CountRequirement{Max: 0},
		UnsafeSettings:  &v1alpha1.CountRequirement{Max: 10},
		ScanStatus:      &v1alpha1.ScanStatusRequirement{In: []v1alpha1.ScanStatus{v1alpha1.ScanStatusSuccess}},
		ScanAge:         &v1alpha1.ScanAgeRequirement{Max: metav1.Duration{Duration: 7 * day}},
	}
}

func policyOf(r v1alpha1.Requirements) *v1alpha1.ImageScanPolicy {
	p := &v1alpha1.ImageScanPolicy{Spec: v1alpha1.ImageScanPolicySpec{Require: r}}
	p.Name = "production"
	return p
}

// must ends a test that can't go on.
func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func mustCompile(tb testing.TB, p *v1alpha1.ImageScanPolicy) *policy.Policy {
	tb.Helper()
	compiled, problems := policy.Compile(p)
	must(tb, problems.ToAggregate())
	return compiled
}

// scan is a scan that succeeded.
func scan(vulnerabilities, unsafeSettings, maliciousFiles int) policy.Scan {
	return policy.Scan{
		Status: v1alpha1.ScanStatusSuccess, Vulnerabilities: &vulnerabilities,
		UnsafeSettings: &unsafeSettings, MaliciousFiles: &maliciousFiles,
	}
}

// scanOf is a scan with a status, and so many vulnerabilities.
func scanOf(status v1alpha1.ScanStatus, vulnerabilities int) policy.Scan {
	s := scan(vulnerabilities, 0, 0)
	s.Status = status
	return s
}

// cleanRecord passes every requirement of strict.
func cleanRecord() policy.Record {
	return policy.Record{
		ID: "1", ImageType: "private_image", RegistryType: "SwrPrivate", RegistryName: "swr",
		Namespace: "prod", Name: "app", Version: "1.4", Digest: digest,
		Scan: scan(0, 1, 0), Severity: v1alpha1.SeverityLow,
		ScannedAt: ago(day), UpdatedAt: ago(10 * day),
	}
}

// with returns a clean record, changed.
func with(changes ...func(*policy.Record)) policy.Record {
	r := cleanRecord()
	for _, change := range changes {
		change(&r)
	}
	return r
}

func status(s v1alpha1.ScanStatus) func(*policy.Record) {
	return func(r *policy.Record) { r.Scan.Status = s }
}

// failed is a record whose scan failed, as in HSS's own example.
func failed() policy.Record {
	return with(func(r *policy.Record) {
		r.Severity, r.Scan = "", scanOf("failed", 0)
		r.Scan.FailedCode, r.Scan.FailedDescription = "authentication_failed", "认证失败"
	})
}

func image() policy.Image {
	return policy.Image{Host: "swr.cn-north-4.myhuaweicloud.com", Path: "prod/app", Tag: "1.4"}
}

func found(records ...policy.Record) *policy.Facts {
	return &policy.Facts{Image: image(), State: policy.StateFound, Records: records, AsOf: now()}
}

// evaluate returns a line for each finding: "check: message [Action]", the action only if it isn't Deny.
func evaluate(tb testing.TB, p *v1alpha1.ImageScanPolicy, f *policy.Facts) []string {
	tb.Helper()
	return lines(mustCompile(tb, p).Evaluate(tb.Context(), f, now()))
}

func lines(findings []policy.Finding) []string {
	var all []string
	for _, f := range findings {
		line := fmt.Sprintf("%s: %s", f.Check, f.Message)
		if f.Action != v1alpha1.ActionDeny {
			line += fmt.Sprintf(" [%s]", f.Action)
		}
		all = append(all, line)
	}
	return all
}

// wantEqual checks that nothing differs.
func wantEqual[T any](tb testing.TB, what string, want, got T, options ...cmp.Option) {
	tb.Helper()
	if diff := cmp.Diff(want, got, options...); diff != "" {
		tb.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// wantLines compares findings with one text, a line each.
func wantLines(tb testing.TB, want string, got []string) {
	tb.Helper()
	wantEqual(tb, "findings", want, strings.Join(got, "\n"))
}

// requirementCase is a row of a table about one requirement.
type requirementCase struct {
	record policy.Record
	want   string
}

func runRequirement(t *testing.T, r v1alpha1.Requirements, cases map[string]requirementCase) {
	t.Helper()
	each(t, cases, func(t *testing.T, c requirementCase) {
		wantLines(t, c.want, evaluate(t, policyOf(r), found(c.record)))
	})
}

// each runs a test for each case, in parallel.
func each[C any](t *testing.T, cases map[string]C, test func(t *testing.T, c C)) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

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
		"a tag passes if a digest is optional":          {v1alpha1.DigestOptional, found(cleanRecord()), ""},
		"a tag fails if a digest is required":           {v1alpha1.DigestRequired, found(cleanRecord()), missing},
		"a digest passes":                               {v1alpha1.DigestRequired, pinned, ""},
		"it is reported once for several records":       {v1alpha1.DigestRequired, found(cleanRecord(), cleanRecord()), missing},
		"it is reported beside an image unknown to HSS": {v1alpha1.DigestRequired, notFound, "notFound: no such image\n" + missing},
	}, func(t *testing.T, c testCase) {
		wantLines(t, c.want, evaluate(t, policyOf(v1alpha1.Requirements{Digest: c.require}), c.facts))
	})
}

func severity(s v1alpha1.Severity) policy.Record {
	return with(func(r *policy.Record) { r.Severity = s })
}

func TestSeverityLevel(t *testing.T) {
	t.Parallel()
	require := v1alpha1.Requirements{SeverityLevel: &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium}}
	runRequirement(t, require, map[string]requirementCase{
		"Security passes":                 {severity("Security"), ""},
		"the maximum passes":              {severity("Medium"), ""},
		"a level above the maximum fails": {severity("High"), "severityLevel: severity High, allowed Medium"},
		"Security fails if HSS counts vulnerabilities of an architecture": {with(architectures(scan(0, 0, 0), scan(1, 0, 0)),
			func(r *policy.Record) { r.Severity = "Security" }), "severityLevel: severity unknown, as HSS says Security and counts findings in an architecture, allowed Medium"},
		"Security passes with unsafe settings of an architecture": {with(architectures(scan(0, 0, 0), scan(0, 1, 0)),
			func(r *policy.Record) { r.Severity = "Security" }), ""},
		"a missing level fails":             {severity(""), "severityLevel: severity unknown, allowed Medium"},
		"a level unknown to us fails":       {severity("Critical"), `severityLevel: unknown severity "Critical", allowed Medium`},
		"case matters":                      {severity("low"), `severityLevel: unknown severity "low", allowed Medium`},
		"an outside text is made printable": {severity("a\nb\x1b[31m"), `severityLevel: unknown severity "a b[31m", allowed Medium`},
	})
	runRequirement(t, v1alpha1.Requirements{SeverityLevel: &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityHigh}}, map[string]requirementCase{
		"High passes":                  {severity("High"), ""},
		"an unknown level still fails": {severity("Worse"), `severityLevel: unknown severity "Worse", allowed High`},
	})
}

func TestCounts(t *testing.T) {
	t.Parallel()
	limits := func(n int32) v1alpha1.Requirements {
		return v1alpha1.Requirements{
			Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: n},
			MaliciousFiles:  &v1alpha1.CountRequirement{Max: n}, UnsafeSettings: &v1alpha1.CountRequirement{Max: n},
		}
	}
	for _, c := range []struct {
		check, one, many string
		of               func(*policy.Scan) **int
	}{
		{"vulnerabilities", "vulnerability", "vulnerabilities", func(s *policy.Scan) **int { return &s.Vulnerabilities }},
		{"maliciousFiles", "malicious file", "malicious files", func(s *policy.Scan) **int { return &s.MaliciousFiles }},
		{"unsafeSettings", "unsafe setting", "unsafe settings", func(s *policy.Scan) **int { return &s.UnsafeSettings }},
	} {
		counted := func(n *int) policy.Record { return with(vulnerable(0), func(r *policy.Record) { *c.of(&r.Scan) = n }) }
		runRequirement(t, limits(0), map[string]requirementCase{
			c.check + ": none passes":               {counted(new(0)), ""},
			c.check + ": one fails in the singular": {counted(new(1)), c.check + ": 1 " + c.one + ", allowed 0"},
			c.check + ": a missing number fails":    {counted(nil), c.check + ": number of " + c.many + " unknown, allowed 0"},
			c.check + ": a negative number is none": {counted(new(-1)), c.check + ": number of " + c.many + " unknown, allowed 0"},
		})
		runRequirement(t, limits(10), map[string]requirementCase{
			c.check + ": the maximum passes":                      {counted(new(10)), ""},
			c.check + ": one more fails":                          {counted(new(11)), c.check + ": 11 " + c.many + ", allowed 10"},
			c.check + ": the API's largest number is no overflow": {counted(new(2147483647)), c.check + ": 2147483647 " + c.many + ", allowed 10"},
		})
	}
}

func statuses(in ...v1alpha1.ScanStatus) v1alpha1.Requirements {
	return v1alpha1.Requirements{ScanStatus: &v1alpha1.ScanStatusRequirement{In: in}}
}

func reason(code, description string) policy.Record {
	return with(status("failed"), func(r *policy.Record) { r.Scan.FailedCode, r.Scan.FailedDescription = code, description })
}

func TestScanStatus(t *testing.T) {
	t.Parallel()
	const failure = "scanStatus: scan failed (authentication_failed: 认证失败)"
	const odd = `scanStatus: unknown scan status "paused", allowed success`
	many := strings.Repeat("长", 199)
	runRequirement(t, statuses("success"), map[string]requirementCase{
		"success passes":                        {cleanRecord(), ""},
		"a failed scan fails with HSS's reason": {failed(), failure + ", allowed success"},
		"an oversized image fails":              {with(status("image_oversized")), "scanStatus: scan image_oversized, allowed success"},
		"an unknown status fails":               {with(status("paused")), odd},
		"a missing status fails":                {with(status("")), `scanStatus: unknown scan status "", allowed success`},
		"a code alone is shown":                 {reason("database_error", ""), "scanStatus: scan failed (database_error), allowed success"},
		"a description alone is shown":          {reason("", "broken"), "scanStatus: scan failed (broken), allowed success"},
		"a description is one printable line": {reason("x", "one\r\ntwo\u2028three\u202e\x00"),
			"scanStatus: scan failed (x: one two three), allowed success"},
		"a description is cut":                            {reason("x", many+many), "scanStatus: scan failed (x: " + many + "…), allowed success"},
		"a description of 200 characters is whole":        {reason("x", many+"长"), "scanStatus: scan failed (x: " + many + "长), allowed success"},
		"a description that is no UTF-8 is shown as such": {reason("\xff\xfe", "a\u0085\u200bb"), "scanStatus: scan failed (\uFFFD: a b), allowed success"},
	})
	accepting := statuses("success", "failed")
	runRequirement(t, accepting, map[string]requirementCase{
		"a failed scan that is accepted passes if nothing needs its result": {failed(), ""},
		"another failure fails": {with(status("image_oversized")), "scanStatus: scan image_oversized, allowed success or failed"},
	})
	accepting.Vulnerabilities = &v1alpha1.VulnerabilityRequirement{}
	accepting.SeverityLevel = &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityHigh}
	runRequirement(t, accepting, map[string]requirementCase{
		"one that is accepted fails once if results are needed": {failed(), failure + ", which leaves no result to evaluate"},
	})
	runRequirement(t, v1alpha1.Requirements{Digest: v1alpha1.DigestOptional}, map[string]requirementCase{
		"a failed scan passes if no status is required": {failed(), ""},
		"an unknown status fails still":                 {with(status("paused")), odd},
	})
	withoutStatus := strict()
	withoutStatus.ScanStatus = nil
	runRequirement(t, withoutStatus, map[string]requirementCase{
		"a failed scan fails once, not once a requirement": {failed(), failure + ", allowed success"},
	})
}

func scannedAt(at time.Time) policy.Record {
	return with(func(r *policy.Record) { r.ScannedAt, r.UpdatedAt = at, time.Time{} })
}

func TestScanAge(t *testing.T) {
	t.Parallel()
	require := v1alpha1.Requirements{ScanAge: &v1alpha1.ScanAgeRequirement{Max: metav1.Duration{Duration: 7 * day}}}
	runRequirement(t, require, map[string]requirementCase{
		"a scan of this moment passes":              {scannedAt(now()), ""},
		"a scan of just the allowed age passes":     {scannedAt(ago(7 * day)), ""},
		"an old scan fails":                         {scannedAt(ago(60 * day)), "scanAge: scanned 60 days ago, allowed 7 days"},
		"a scan that is a nanosecond too old fails": {scannedAt(ago(7*day + 1)), "scanAge: scanned 168h0m0.000000001s ago, allowed 168h0m0s"},
		"an unknown time fails":                     {scannedAt(time.Time{}), "notScanned: the time of its scan is unknown\nscanAge: time of scan unknown, allowed 7 days"},
		"clocks may differ a little":                {scannedAt(ago(-10 * time.Minute)), ""},
		"a scan in the future fails":                {scannedAt(ago(-3 * day)), "scanAge: scanned 3 days from now by HSS's clock, allowed 7 days ago"},
	})
}

// In an image of several layers, HSS may list a vulnerability once for each, and count something else.
func TestRepeatsInLayersAreNotUnlisted(t *testing.T) {
	t.Parallel()
	const one, two = "CVE-2024-1234", "CVE-2024-2222"
	layered := func(counted int, ids ...string) policy.Record {
		return with(func(r *policy.Record) {
			r.Scan.Vulnerabilities = new(counted)
			for _, id := range ids {
				v := policy.Vulnerability{ID: id, Severity: v1alpha1.SeverityMedium}
				r.Scan.Found = append(r.Scan.Found, v, v, v)
			}
		})
	}
	require := func(limit int32, ids ...string) v1alpha1.Requirements {
		return v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: limit}, IgnoreVulnerabilities: ignored(day, ids...)}
	}
	runRequirement(t, require(0, one, two), map[string]requirementCase{
		"none is left if all that are listed are ignored": {layered(4, one, two), ""},
		"what is counted beyond the rows still counts":    {layered(7, one, two), "vulnerabilities: 1 vulnerability, allowed 0"},
	})
	runRequirement(t, require(2, one), map[string]requirementCase{
		"those of the others count, with each repeat": {layered(4, one, two), "vulnerabilities: 3 vulnerabilities, allowed 2 (worst: CVE-2024-2222 (no fix))"},
		"but no more than HSS counts":                 {layered(2, one, two), ""},
	})
	runRequirement(t, require(1, one), map[string]requirementCase{
		"two that differ are two whatever HSS counts": {layered(1, two, "CVE-2024-3333"),
			"vulnerabilities: 2 vulnerabilities, allowed 1 (worst: CVE-2024-2222 (no fix), CVE-2024-3333 (no fix))"},
	})
}

// affected lists its vulnerabilities, of which one more is counted than listed if unlisted is 1.
func affected(unlisted int, all ...policy.Vulnerability) policy.Record {
	return with(func(r *policy.Record) { r.Scan.Vulnerabilities, r.Scan.Found = new(len(all)+unlisted), all })
}

// unlisted counts vulnerabilities of which there is no list, for a reason.
func unlisted(n int, reason string) policy.Record {
	return with(func(r *policy.Record) { r.Scan.Vulnerabilities, r.Scan.Unlisted = new(n), reason })
}

func TestVulnerabilitiesThatCount(t *testing.T) {
	t.Parallel()
	const one = "CVE-2024-1234"
	mild := policy.Vulnerability{ID: one, Severity: v1alpha1.SeverityLow, Fix: "update openssl"}
	medium := policy.Vulnerability{ID: "CVE-2024-2222", Severity: v1alpha1.SeverityMedium, Fix: "update openssl"}
	unfixed := policy.Vulnerability{ID: "CVE-2024-3333", Severity: v1alpha1.SeverityHigh}
	strange := policy.Vulnerability{ID: "CVE-2024-4444", Severity: "Urgent", Fix: "update openssl"}
	const unknown = "vulnerabilities: 1 vulnerability, allowed 0 (all count, since they are not known one by one"
	require := func(r v1alpha1.VulnerabilityRequirement, ids ...string) v1alpha1.Requirements {
		return v1alpha1.Requirements{Vulnerabilities: &r, IgnoreVulnerabilities: ignored(day, ids...)}
	}
	runRequirement(t, require(v1alpha1.VulnerabilityRequirement{MinSeverity: v1alpha1.SeverityMedium}), map[string]requirementCase{
		"milder ones don't count":        {affected(0, mild, mild), ""},
		"the least severity counts":      {affected(0, mild, medium), "vulnerabilities: 1 vulnerability, allowed 0 (of severity Medium or worse; 2 in all; worst: CVE-2024-2222 → update openssl)"},
		"worse ones count":               {affected(0, mild, medium, unfixed), "vulnerabilities: 2 vulnerabilities, allowed 0 (of severity Medium or worse; 3 in all; worst: CVE-2024-3333 (no fix), CVE-2024-2222 → update openssl)"},
		"an unknown severity counts":     {affected(0, strange), "vulnerabilities: 1 vulnerability, allowed 0 (of severity Medium or worse; 1 in all; worst: CVE-2024-4444 → update openssl)"},
		"those that aren't listed count": {affected(1, mild), "vulnerabilities: 1 vulnerability, allowed 0 (of severity Medium or worse; 2 in all)"},
		"without a list all count":       {unlisted(1, ""), unknown + ")"},
		"why there is no list is said":   {unlisted(1, "HSS did not answer\nin time (2s)"), unknown + ": HSS did not answer in time (2s))"},
		"more listed than counted is what is in all": {affected(-1, mild, medium),
			"vulnerabilities: 1 vulnerability, allowed 0 (of severity Medium or worse; 2 in all; worst: CVE-2024-2222 → update openssl)"},
		"no list of none passes": {unlisted(0, ""), ""},
		"a list without a number is none": {with(func(r *policy.Record) {
			r.Scan.Vulnerabilities, r.Scan.Found = nil, []policy.Vulnerability{mild}
		}), "vulnerabilities: number of vulnerabilities unknown, allowed 0"},
	})
	runRequirement(t, require(v1alpha1.VulnerabilityRequirement{FixableOnly: true, MinSeverity: v1alpha1.SeverityHigh}), map[string]requirementCase{
		"what nothing fixes doesn't count": {affected(0, unfixed), ""},
		"what is fixed does":               {affected(0, unfixed, strange), "vulnerabilities: 1 vulnerability, allowed 0 (of severity High, with a fix; 2 in all; worst: CVE-2024-4444 → update openssl)"},
	})
	runRequirement(t, require(v1alpha1.VulnerabilityRequirement{}, one, "CVE-2024-2222"), map[string]requirementCase{
		"those that are ignored don't count":     {affected(0, mild, medium), ""},
		"all others do":                          {affected(0, mild, unfixed), "vulnerabilities: 1 vulnerability, allowed 0 (worst: CVE-2024-3333 (no fix))"},
		"each architecture is counted by itself": {with(architectures(affected(0, mild).Scan, affected(0, unfixed).Scan)), "vulnerabilities: architecture sha256:bbbbbbbbbbbb…: 1 vulnerability, allowed 0 (worst: CVE-2024-3333 (no fix))"},
	})
	runRequirement(t, require(v1alpha1.VulnerabilityRequirement{MinSeverity: v1alpha1.SeverityLow}), map[string]requirementCase{
		"from Low on, all count": {affected(0, mild), "vulnerabilities: 1 vulnerability, allowed 0 (1 in all; worst: CVE-2024-1234 → update openssl)"},
	})
}

func TestAnIgnoredVulnerabilityCountsAgainOnceItsEntryEnds(t *testing.T) {
	t.Parallel()
	const one, two = "CVE-2024-1234", "CVE-2024-5678"
	vulnerability := func(id string) policy.Vulnerability {
		return policy.Vulnerability{ID: id, Severity: v1alpha1.SeverityMedium}
	}
	require := func(entries ...v1alpha1.IgnoredVulnerability) v1alpha1.Requirements {
		return v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{}, IgnoreVulnerabilities: entries}
	}
	const counted = "vulnerabilities: 1 vulnerability, allowed 0 (worst: CVE-2024-1234 (no fix))"
	runRequirement(t, require(ignored(time.Second, one)...), map[string]requirementCase{
		"until its end it does not count": {affected(0, vulnerability(one)), ""},
	})
	runRequirement(t, require(ignored(0, one)...), map[string]requirementCase{
		"from its end on it counts":             {affected(0, vulnerability(one)), counted + " (no longer ignored: CVE-2024-1234 since " + now().Format(time.RFC3339) + ")"},
		"an image that does not have it passes": {affected(0), ""},
		"nor is it named without a list":        {unlisted(1, ""), "vulnerabilities: 1 vulnerability, allowed 0 (all count, since they are not known one by one)"},
		"nor where another one is found":        {affected(0, vulnerability(two)), "vulnerabilities: 1 vulnerability, allowed 0 (worst: CVE-2024-5678 (no fix))"},
	})
	runRequirement(t, require(append(ignored(-time.Hour, "CVE-2024-0001", "CVE-2024-0002", "CVE-2024-0003", one), ignored(day, two)...)...), map[string]requirementCase{
		"others stay ignored, and three are named": {
			affected(0, vulnerability(one), vulnerability(two), vulnerability("CVE-2024-0001"), vulnerability("CVE-2024-0002"), vulnerability("CVE-2024-0003")),
			"vulnerabilities: 4 vulnerabilities, allowed 0 (worst: CVE-2024-0001 (no fix), CVE-2024-0002 (no fix), CVE-2024-0003 (no fix) and 1 more)" +
				" (no longer ignored: CVE-2024-0001 since " + ago(time.Hour).Format(time.RFC3339) + ", CVE-2024-0002 since " + ago(time.Hour).Format(time.RFC3339) +
				", CVE-2024-0003 since " + ago(time.Hour).Format(time.RFC3339) + ", and 1 more)",
		},
	})
}

func TestAnIdentifierThatIsIgnoredTwiceCounts(t *testing.T) {
	t.Parallel()
	const one = "CVE-2024-1234"
	entries := append(ignored(day, one), ignored(-day, one)...)
	compiled, problems := policy.Compile(policyOf(v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{}, IgnoreVulnerabilities: entries}))
	if want := `spec.require.ignoreVulnerabilities[1].id: Duplicate value: "CVE-2024-1234"`; len(problems) != 1 || problems[0].Error() != want {
		t.Errorf("got problems %v, want %s", problems, want)
	}
	if findings := compiled.Evaluate(t.Context(), affectedBy(one), now()); len(findings) != 1 {
		t.Errorf("got findings %+v, want one", findings)
	}
}

// libraries are those that most images have.
func libraries() []policy.Vulnerability {
	return []policy.Vulnerability{
		{ID: "CVE-2024-0001", Severity: v1alpha1.SeverityLow, Package: "zlib", Installed: "1.2.11", Fix: "1.2.12"},
		{ID: "CVE-2024-0002", Severity: v1alpha1.SeverityHigh, Package: "busybox", Installed: "1.36.1"},
		{ID: "RHSA-2022:4991", Severity: v1alpha1.SeverityHigh, Package: "xz-libs", Installed: "5.2.4-3.el8", Fix: "To upgrade the affected software"},
		{ID: "CVE-2024-0003", Severity: v1alpha1.SeverityMedium, Package: "curl", Installed: "7.1", Fix: "7.2"},
		{ID: "CVE-2024-0001", Severity: v1alpha1.SeverityMedium, Package: "zlib-dev", Installed: "1.2.11", Fix: "1.2.12"},
	}
}

func TestFindingsNameTheWorstVulnerabilities(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	runRequirement(t, v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 0}}, map[string]requirementCase{
		"the worst first, those with a fix before those without": {affected(0, libraries()...),
			"vulnerabilities: 5 vulnerabilities, allowed 0 (worst: RHSA-2022:4991 xz-libs 5.2.4-3.el8 → To upgrade the affected software, CVE-2024-0002 busybox 1.36.1 (no fix), CVE-2024-0001 zlib-dev 1.2.11 → 1.2.12 and 1 more)"},
		"an identifier stands for all packages that have it": {affected(0, libraries()[0], libraries()[4]),
			"vulnerabilities: 2 vulnerabilities, allowed 0 (worst: CVE-2024-0001 zlib-dev 1.2.11 → 1.2.12)"},
		"what isn't listed has no name": {affected(9, libraries()[1]),
			"vulnerabilities: 10 vulnerabilities, allowed 0 (worst: CVE-2024-0002 busybox 1.36.1 (no fix))"},
		"without a list there is nothing to name": {unlisted(3, "HSS is down"), "vulnerabilities: 3 vulnerabilities, allowed 0"},
		"an empty list names none":                {affected(3, []policy.Vulnerability{}...), "vulnerabilities: 3 vulnerabilities, allowed 0"},
		"long texts are cut": {affected(0, policy.Vulnerability{ID: long, Severity: v1alpha1.SeverityHigh, Package: long, Installed: long, Fix: long}),
			"vulnerabilities: 1 vulnerability, allowed 0 (worst: " + strings.Join([]string{long[:39] + "…", long[:39] + "…", long[:39] + "…", "→", long[:39] + "…"}, " ") + ")"},
		"no text steps out of the line": {affected(0, policy.Vulnerability{ID: "CVE-1\n- x", Severity: v1alpha1.SeverityHigh, Package: "a; b [policy p]", Installed: "\x1b[2J1", Fix: "\u202e2\u2028"}),
			"vulnerabilities: 1 vulnerability, allowed 0 (worst: CVE-1 - x a, b (policy p) (2J1 → 2)"},
		"what has no name is still reported": {affected(0, policy.Vulnerability{Package: "curl"}),
			"vulnerabilities: 1 vulnerability, allowed 0 (worst: unnamed curl (no fix))"},
	})
	bySeverity := v1alpha1.Requirements{SeverityLevel: &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium}}
	high := func(r policy.Record) policy.Record { r.Severity = v1alpha1.SeverityHigh; return r }
	runRequirement(t, bySeverity, map[string]requirementCase{
		"a severity level that is too high names them too": {high(affected(0, libraries()[:2]...)),
			"severityLevel: severity High, allowed Medium (worst: CVE-2024-0002 busybox 1.36.1 (no fix), CVE-2024-0001 zlib 1.2.11 → 1.2.12)"},
		"what architectures share is named once": {high(multiArch(affected(0, libraries()[1]).Scan, affected(0, libraries()[1]).Scan)),
			"severityLevel: severity High, allowed Medium (worst: CVE-2024-0002 busybox 1.36.1 (no fix))"},
		"without a list there is nothing to name": {high(unlisted(3, "")), "severityLevel: severity High, allowed Medium"},
	})
	bySeverity.Vulnerabilities = &v1alpha1.VulnerabilityRequirement{Max: 1}
	runRequirement(t, bySeverity, map[string]requirementCase{
		"they are named once, where they are too many": {high(affected(0, libraries()[:2]...)),
			"severityLevel: severity High, allowed Medium\nvulnerabilities: 2 vulnerabilities, allowed 1 (worst: CVE-2024-0002 busybox 1.36.1 (no fix), CVE-2024-0001 zlib 1.2.11 → 1.2.12)"},
		"or by the severity level, where they are not": {high(affected(0, libraries()[1])),
			"severityLevel: severity High, allowed Medium (worst: CVE-2024-0002 busybox 1.36.1 (no fix))"},
	})
}

// multiArch is a record that leaves the numbers to its architectures.
func multiArch(amd64, arm64 policy.Scan) policy.Record {
	return with(architectures(amd64, arm64), func(r *policy.Record) { r.Scan = policy.Scan{Status: v1alpha1.ScanStatusSuccess} })
}

// Whatever HSS's texts hold, a finding stays one line of bounded length that ends as it should.
func FuzzVulnerabilityText(f *testing.F) {
	f.Add("CVE-2024-0001", "zlib", "1.2.11", "1.2.12")
	f.Add("a\nb", "; x [policy y]", "\xff\x00", strings.Repeat("ü", 1000))
	p := mustCompile(f, policyOf(v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 0}}))
	f.Fuzz(func(t *testing.T, id, name, installed, fix string) {
		v := policy.Vulnerability{ID: id, Package: name, Installed: installed, Fix: fix, Severity: v1alpha1.SeverityHigh}
		other := v
		other.ID += "2"
		findings := p.Evaluate(t.Context(), found(affected(0, v, other)), now())
		if len(findings) != 1 {
			t.Fatalf("%d findings", len(findings))
		}
		message := findings[0].Message
		if n := utf8.RuneCountInString(message); n > 600 || !utf8.ValidString(message) {
			t.Errorf("%d characters: %q", n, message)
		}
		if strings.ContainsFunc(message, unicode.IsControl) || strings.ContainsAny(message, ";[]\u2028") || !strings.HasSuffix(message, ")") {
			t.Errorf("not one clean line: %q", message)
		}
	})
}

func expressions(sources ...string) (r v1alpha1.Requirements) {
	for _, source := range sources {
		r.Expressions = append(r.Expressions, v1alpha1.Expression{Expression: source})
	}
	return r
}

func TestExpressionsThatAreTrueOfACleanImage(t *testing.T) {
	t.Parallel()
	record := with(architectures(scan(0, 1, 2), scan(3, 4, 5)), func(r *policy.Record) {
		r.InstanceID, r.InstanceName = "i-1", "main"
	})
	for _, source := range []string{
		"image.reference == 'swr.cn-north-4.myhuaweicloud.com/prod/app:1.4'",
		"image.host.endsWith('.myhuaweicloud.com') && image.path == 'prod/app'",
		"image.repository == image.host + '/' + image.path",
		"image.tag == '1.4' && image.digest == ''",
		"image.namespace == 'prod' && image.name == 'app' && image.version == '1.4'",
		"image.scannedDigest.startsWith('sha256:1')",
		"image.imageType == 'private_image' && image.registryType == 'SwrPrivate' && image.registryName == 'swr'",
		"image.instanceID == 'i-1' && image.instanceName == 'main'",
		"image.scanStatus == 'success' && image.severityLevel == 'Low'",
		"image.vulnerabilities == 0 && image.unsafeSettings == 1 && image.maliciousFiles == 0",
		"now - image.scannedAt <= duration('24h') && image.updatedAt < image.scannedAt",
		"image.multiArch && size(image.architectures) == 2",
		"image.architectures.all(a, a.scanStatus == 'success' && a.vulnerabilities < 4)",
		"image.architectures.exists(a, a.digest.startsWith('sha256:bb') && a.unsafeSettings == 4 && a.maliciousFiles == 5)",
		"has(image.vulnerabilities) && has(image.severityLevel)",
		"image.?vulnerabilities.orValue(99) == 0",
		"image.tag.matches('^[0-9]+[.][0-9]+$') && image.tag.find('[0-9]+') == '1'",
		"semver(image.tag + '.0').isGreaterThan(semver('1.3.9'))",
		"sets.contains(['prod', 'dev'], [image.namespace])",
		"image.registryType in ['SwrPrivate', 'SwrEnterprise']",
		"url('https://' + image.host).getHostname() == image.host",
		"image.name.upperAscii() == 'APP'",
		"image.vulnerabilities < 0.5",
	} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			wantLines(t, "", evaluate(t, policyOf(expressions(source)), found(record)))
		})
	}
}

func TestExpressionsThatFail(t *testing.T) {
	t.Parallel()
	unknown := with(func(r *policy.Record) {
		r.Severity, r.UpdatedAt = "", time.Time{}
		r.Scan = policy.Scan{Status: v1alpha1.ScanStatusSuccess}
	})
	const cannot = "could not be evaluated: "
	type testCase struct {
		source string
		record policy.Record
		want   string // after the expression
	}
	each(t, map[string]testCase{
		"what is false":                      {"image.tag == 'x'", cleanRecord(), "is not true"},
		"a missing number":                   {"image.vulnerabilities < 5", unknown, cannot + "no such key: vulnerabilities"},
		"a missing severity level":           {"image.severityLevel != 'High'", unknown, cannot + "no such key: severityLevel"},
		"a missing time":                     {"now - image.updatedAt < duration('1h')", unknown, cannot + "no such key: updatedAt"},
		"a number of a failed scan":          {"image.vulnerabilities == 0", failed(), cannot + "no such key: vulnerabilities"},
		"a division by zero":                 {"1 / image.vulnerabilities == 1", cleanRecord(), cannot + "division by zero"},
		"several lines become one":           {"false ||\n\tfalse", cleanRecord(), "is not true"},
		"a failed scan may be tested for":    {"image.scanStatus == 'failed'", failed(), ""},
		"a missing number may be tested for": {"!has(image.vulnerabilities)", unknown, ""},
		"a rescan counts as success":         {"image.scanStatus == 'success' && image.vulnerabilities == 0", rescanned(showing(scan(0, 0, 0)), status("waiting_for_scan")), ""},
		"by its last completed scan, too":    {"image.scanStatus == 'success' && image.vulnerabilities == 0", rescanned(before()), ""},
	}, func(t *testing.T, c testCase) {
		want := ""
		if c.want != "" {
			want = "expression: expression `" + strings.Join(strings.Fields(c.source), " ") + "` " + c.want
		}
		wantLines(t, want, evaluate(t, policyOf(expressions(c.source)), found(c.record)))
	})
}

func TestExpressionsAreEvaluatedForEachScannedRecord(t *testing.T) {
	t.Parallel()
	shared := with(func(r *policy.Record) { r.ID, r.ImageType = "2", "shared_image" })
	p := policyOf(expressions("image.imageType != 'shared_image'"))
	p.Spec.When = v1alpha1.When{NotFound: "Allow", NotScanned: "Allow", Unavailable: "Allow"}
	wantLines(t, "expression: expression `image.imageType != 'shared_image'` is not true (shared_image record)", evaluate(t, p, found(cleanRecord(), shared)))
	status("unscan")(&shared)
	for _, f := range []*policy.Facts{{State: policy.StateNotFound}, {State: policy.StateUnavailable}, found(shared)} {
		wantLines(t, "", evaluate(t, p, f))
	}
}

func TestMessagesOfExpressionsAreLinesOfBoundedLength(t *testing.T) {
	t.Parallel()
	r := v1alpha1.Requirements{Expressions: []v1alpha1.Expression{
		{Expression: "false", Message: "second by the alphabet"},
		{Expression: "false", Message: "a\nmessage\x1b" + strings.Repeat("!", 300)},
	}}
	wantLines(t, "expression: second by the alphabet\nexpression: a message"+strings.Repeat("!", 246)+"…",
		evaluate(t, policyOf(r), found(cleanRecord())))
}

func TestExpressionsThatDoNotCompile(t *testing.T) {
	t.Parallel()
	type testCase struct{ source, want string }
	each(t, map[string]testCase{
		"an empty one":                      {" ", "must not be empty"},
		"bad syntax, with its place":        {"image.tag ==", "1:13: Syntax error"},
		"an unknown field, with its place":  {"image.tag == image.nope", "1:19: undefined field 'nope'"},
		"a field of an architecture":        {"image.architectures.all(a, a.severityLevel == 'Low')", "undefined field 'severityLevel'"},
		"an unknown variable":               {"object.spec == 1", "1:1: undeclared reference to 'object'"},
		"a place on a second line":          {"true &&\nimage.nope", "2:6: undefined field 'nope'"},
		"a string":                          {"image.tag", "must be a bool, is string"},
		"an unknown type":                   {"dyn(true)", "must be a bool, is dyn"},
		"a comparison of types that differ": {"image.vulnerabilities == '0'", "no matching overload"},
		"a bad pattern":                     {"image.tag.matches('(')", "invalid matches argument"},
		"a bad duration":                    {"now - image.scannedAt < duration('7d')", "invalid duration argument"},
		"one that costs too much":           {"image.architectures.all(a, image.architectures.all(b, image.architectures.all(c, a.digest + b.digest != c.digest)))", "allowed 100000: use fewer or smaller loops"},
		"one that may cost any amount":      {"image.tag.split('').join('x') == ''", "may cost any amount, allowed 100000: use fewer"},
		"one that is too long":              {"'" + strings.Repeat("x", 1024) + "' == ''", "size exceeds limit"},
		"one that is nested too deep":       {strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500), "recursion limit"},
	}, func(t *testing.T, c testCase) {
		p, problems := policy.Compile(policyOf(expressions(c.source)))
		err := problems.ToAggregate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Fatalf("error is %v, want one with %q", err, c.want)
		}
		if !strings.Contains(err.Error(), "spec.require.expressions[0].expression") {
			t.Errorf("error does not name the field: %v", err)
		}
		got := lines(p.Evaluate(t.Context(), found(cleanRecord()), now()))
		if len(got) != 1 || !strings.HasSuffix(got[0], "could not be compiled") {
			t.Errorf("findings are %q", got)
		}
	})
}

func TestExpressionsStopAtTheirCostAndWithTheContext(t *testing.T) {
	t.Parallel()
	many := with(func(r *policy.Record) {
		r.MultiArch = true
		for range 5000 {
			r.Architectures = append(r.Architectures, policy.Architecture{Digest: digest, Scan: scan(0, 0, 0)})
		}
	})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		source string
		record policy.Record
		want   string
	}{
		"a loop in a loop":                    {t.Context(), "image.architectures.all(a, image.architectures.all(b, a.vulnerabilities == b.vulnerabilities))", many, "cost limit exceeded"},
		"a long loop after the time is up":    {ended, "image.architectures.all(a, a.vulnerabilities == 0)", many, "interrupted"},
		"no loop at all after the time is up": {ended, "image.vulnerabilities == 0", cleanRecord(), "interrupted"},
	} {
		got := lines(mustCompile(t, policyOf(expressions(c.source))).Evaluate(c.ctx, found(c.record), now()))
		if len(got) != 1 || !strings.Contains(got[0], c.want) {
			t.Errorf("%s: findings are %q", name, got)
		}
	}
}

// FuzzExpression: whatever the source, compiling and evaluating end well.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{
		"image.vulnerabilities < 5", "now > image.scannedAt", "image.architectures.all(a, a.digest != '')", "[1].map(x, x)[0] == 1",
		"image.?severityLevel.orValue('') == 'High'", "'a'.matches('(a+)+$')", "{'a': [b'', 1u, -0.0]} == {}", "\x00", "((((",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		p, err := policy.Compile(policyOf(expressions(source)))
		if p == nil {
			t.Fatalf("the policy is nil: %v", err)
		}
		for _, finding := range p.Evaluate(t.Context(), found(cleanRecord(), failed()), now()) {
			if strings.ContainsFunc(finding.Message, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("message is not printable: %q", finding.Message)
			}
		}
	})
}
