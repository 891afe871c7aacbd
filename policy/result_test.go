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
		{"an update of the same digest since the last completed scan", rescanned(before(), updated), ""},
		{"an update of the same digest, with what was bad", rescanned(before(vulnerable(7)), updated), "vulnerabilities: 7 vulnerabilities, allowed 0"},
		{"an update since the scan of another digest", rescanned(before(digestOf(otherDigest)), updated), none},
		{"a last scan of before an update is none", rescanned(before(updated)), none},
		{"a last scan of an unknown time is none", rescanned(before(unscannedTime)), none},
	})
}

// updated is pushed again after its scan.
func updated(r *policy.Record) { r.UpdatedAt = ago(time.Hour) }

// unscannedTime lacks the time of its scan.
func unscannedTime(r *policy.Record) { r.ScannedAt = time.Time{} }

func TestAnImagePushedAgainKeepsTheResultOfItsDigest(t *testing.T) {
	t.Parallel()
	const late = "notScanned: updated 23h after its last scan"
	bad := vulnerable(7)
	multi := architectures(scan(0, 0, 0), scan(0, 0, 0))
	runRequirement(t, strict(), []requirementCase{
		{"no earlier result is known", with(updated), late},
		{"the same digest", with(updated, before()), ""},
		{"the same digest, and the result is bad", with(bad, updated, before(bad)), "vulnerabilities: 7 vulnerabilities, allowed 0"},
		{"the same digest, and only the earlier result is bad", with(updated, before(bad)),
			"vulnerabilities: 7 vulnerabilities, allowed 0 in its last completed scan"},
		{"the same digest, and only the later result is bad", with(bad, updated, before()), "vulnerabilities: 7 vulnerabilities, allowed 0"},
		{"another digest", with(updated, before(digestOf(otherDigest))), late},
		{"no digest", with(updated, digestOf(""), before(digestOf(""))), late},
		{"an earlier scan that failed", with(updated, before(status("failed"))), late},
		{"an earlier scan of before an update", with(updated, before(updated)), late},
		{"a scan that failed since", with(updated, status("failed"), before()), late + "\nscanStatus: scan failed, allowed success"},
		{"several architectures", with(updated, multi, before(multi)), ""},
		{"one pinned", with(updated, pinned(scan(0, 0, 0)), before(multi)), ""},
		{"one pinned that was bad", with(updated, pinned(scan(0, 0, 0)), before(architectures(scan(0, 0, 0), scan(2, 0, 0)))),
			"vulnerabilities: 2 vulnerabilities, allowed 0 in its last completed scan"},
	})
}

func TestAScanWithoutATimeIsNone(t *testing.T) {
	t.Parallel()
	const none = "notScanned: the time of its scan is unknown"
	withoutAge := strict()
	withoutAge.ScanAge = nil
	runRequirement(t, withoutAge, []requirementCase{
		{"a good result", with(unscannedTime), none},
		{"a bad result counts too", with(unscannedTime, vulnerable(7)), none + "\nvulnerabilities: 7 vulnerabilities, allowed 0"},
		{"also if it was good once", with(unscannedTime, before()), none},
		{"of several architectures", with(unscannedTime, architectures(scan(0, 0, 0), scan(0, 0, 0))), none},
		{"of one that is pinned", with(unscannedTime, pinned(scan(0, 0, 0))), none},
		{"of a scan that failed", with(unscannedTime, status("failed")), "scanStatus: scan failed, allowed success"},
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
