package policy_test

import (
	"testing"
	"time"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// rescanned is a record that is being scanned again, and shows nothing of its
// last scan.
func rescanned(changes ...func(*policy.Record)) policy.Record {
	return with(append([]func(*policy.Record){func(r *policy.Record) {
		r.Severity, r.ScannedAt = "", time.Time{}
		r.Scan = policy.Scan{Status: v1alpha1.ScanStatusScanning}
	}}, changes...)...)
}

// before sets a record's last completed scan.
func before(changes ...func(*policy.Record)) func(*policy.Record) {
	last := with(changes...)
	return func(r *policy.Record) { r.LastCompleted = &last }
}

// showing lets a rescanned record show results of its last scan.
func showing(s policy.Scan) func(*policy.Record) {
	return func(r *policy.Record) {
		s.Status = v1alpha1.ScanStatusScanning
		r.Scan, r.Severity, r.ScannedAt = s, v1alpha1.SeverityLow, ago(day)
	}
}

func vulnerable(n int) func(*policy.Record) {
	return func(r *policy.Record) { r.Scan = scan(n, 0, 0) }
}

func digestOf(d string) func(*policy.Record) { return func(r *policy.Record) { r.Digest = d } }

func TestScansThatHaveNotBeenCompleted(t *testing.T) {
	t.Parallel()
	const none = "notScanned: being scanned, and no completed scan is known"
	runRequirement(t, strict(), []requirementCase{
		{"the first scan of an image", rescanned(), none},
		{"a scan that waits", rescanned(status("waiting_for_scan")),
			"notScanned: waiting to be scanned, and no completed scan is known"},
		{"unscan never has a result", with(status("unscan"), before()), "notScanned: never scanned"},
		{"the last completed scan decides well", rescanned(before()), ""},
		{"the last completed scan decides while waiting", rescanned(status("waiting_for_scan"), before()), ""},
		{"the last completed scan decides ill", rescanned(before(vulnerable(7))),
			"vulnerabilities: 7 vulnerabilities, allowed 0"},
		{"the last completed scan can be too old",
			rescanned(func(r *policy.Record) { r.UpdatedAt = ago(40 * day) },
				before(func(r *policy.Record) { r.ScannedAt, r.UpdatedAt = ago(30*day), ago(40*day) })),
			"scanAge: scanned 30 days ago, allowed 7 days"},
		{"another digest's scan says nothing", rescanned(before(digestOf(otherDigest))), none},
		{"a missing digest proves nothing", rescanned(digestOf(""), before(digestOf(""))), none},
		{"a last scan that failed is none", rescanned(before(status("failed"))), none},
		{"an update since the last completed scan", rescanned(before(), func(r *policy.Record) { r.UpdatedAt = ago(time.Hour) }),
			"notScanned: updated 23h after its last scan"},
		{"an update that only the last record shows", rescanned(before(func(r *policy.Record) { r.UpdatedAt = ago(time.Hour) })),
			"notScanned: updated 23h after its last scan"},
	})
}

func TestRowsThatStillShowTheirLastScan(t *testing.T) {
	t.Parallel()
	runRequirement(t, strict(), []requirementCase{
		{"a good result passes", rescanned(showing(scan(0, 0, 0))), ""},
		{"a bad result fails", rescanned(showing(scan(5, 0, 0))), "vulnerabilities: 5 vulnerabilities, allowed 0"},
		{"a result that lacks a number fails", rescanned(showing(policy.Scan{Vulnerabilities: new(0), MaliciousFiles: new(0)})),
			"unsafeSettings: number of unsafe settings unknown, allowed 10"},
		{"no severity level, no result", rescanned(showing(scan(0, 0, 0)), func(r *policy.Record) { r.Severity = "" }),
			"notScanned: being scanned, and no completed scan is known"},
		{"updated since", rescanned(showing(scan(0, 0, 0)), func(r *policy.Record) { r.UpdatedAt = ago(2 * time.Hour) }),
			"notScanned: updated 22h after its last scan"},
		{"both results good", rescanned(showing(scan(0, 0, 0)), before()), ""},
		{"only the older one bad", rescanned(showing(scan(0, 0, 0)), before(vulnerable(2))),
			"vulnerabilities: 2 vulnerabilities, allowed 0 in its last completed scan"},
		{"only the shown one bad", rescanned(showing(scan(4, 0, 0)), before()), "vulnerabilities: 4 vulnerabilities, allowed 0"},
		{"both alike bad are told once", rescanned(showing(scan(4, 0, 0)), before(vulnerable(4))),
			"vulnerabilities: 4 vulnerabilities, allowed 0"},
		{"both bad differently are both told", rescanned(showing(scan(4, 0, 0)), before(vulnerable(6))),
			"vulnerabilities: 4 vulnerabilities, allowed 0\n" +
				"vulnerabilities: 6 vulnerabilities, allowed 0 in its last completed scan"},
	})
}

func TestARescanCountsAsSuccessForExpressions(t *testing.T) {
	t.Parallel()
	require := v1alpha1.Requirements{Expressions: []v1alpha1.Expression{{
		Expression: "image.scanStatus == 'success' && image.vulnerabilities == 0",
	}}}
	runRequirement(t, require, []requirementCase{
		{"by what the row shows", rescanned(showing(scan(0, 0, 0))), ""},
		{"by its last completed scan", rescanned(before()), ""},
	})
}
