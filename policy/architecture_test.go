package policy_test

import (
	"testing"
	"time"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func pending() policy.Scan { return policy.Scan{Status: v1alpha1.ScanStatusScanning} }

// architectures makes a record one of two architectures.
func architectures(amd64, arm64 policy.Scan) func(*policy.Record) {
	return func(r *policy.Record) {
		r.MultiArch = true
		r.Architectures = []policy.Architecture{
			{ID: "11", Digest: amd64Digest, Scan: amd64},
			{ID: "12", Digest: arm64Digest, Scan: arm64},
		}
	}
}

// twins makes a record one of two architectures with one digest: one that is
// being scanned if the other is, and is good if not.
func twins(second policy.Scan) func(*policy.Record) {
	first := scan(0, 0, 0)
	if second.Status == v1alpha1.ScanStatusScanning {
		first = second
	}
	return func(r *policy.Record) {
		architectures(first, second)(r)
		r.Architectures[1].Digest = r.Architectures[0].Digest
	}
}

func pinned(arm64 policy.Scan) func(*policy.Record) {
	return func(r *policy.Record) {
		r.MultiArch, r.PinnedArchitecture = true, true
		r.Architectures = []policy.Architecture{{ID: "12", Digest: arm64Digest, Scan: arm64}}
	}
}

func TestEveryArchitectureMustPass(t *testing.T) {
	t.Parallel()
	runRequirement(t, strict(), []requirementCase{
		{"all clean", with(architectures(scan(0, 0, 0), scan(0, 0, 0))), ""},
		{"one of them vulnerable", with(architectures(scan(0, 0, 0), scan(7, 0, 1))),
			"vulnerabilities: architecture sha256:bbbbbbbbbbbb…: 7 vulnerabilities, allowed 0\n" +
				"maliciousFiles: architecture sha256:bbbbbbbbbbbb…: 1 malicious file, allowed 0"},
		{"both vulnerable", with(architectures(scan(3, 0, 0), scan(7, 0, 0))),
			"vulnerabilities: architecture sha256:aaaaaaaaaaaa…: 3 vulnerabilities, allowed 0\n" +
				"vulnerabilities: architecture sha256:bbbbbbbbbbbb…: 7 vulnerabilities, allowed 0"},
		{"the row itself vulnerable", with(vulnerable(2), architectures(scan(0, 0, 0), scan(0, 0, 0))),
			"vulnerabilities: 2 vulnerabilities, allowed 0"},
		{"the row leaves the numbers to its architectures",
			with(architectures(scan(0, 0, 0), scan(0, 0, 0)), func(r *policy.Record) { r.Scan = policy.Scan{Status: "success"} }), ""},
		{"an architecture without numbers", with(architectures(scan(0, 0, 0), policy.Scan{Status: "success", Vulnerabilities: new(0), MaliciousFiles: new(0)})),
			"unsafeSettings: architecture sha256:bbbbbbbbbbbb…: number of unsafe settings unknown, allowed 10"},
		{"a failed one is told once", with(architectures(scan(0, 0, 0), policy.Scan{Status: "failed"})),
			"scanStatus: architecture sha256:bbbbbbbbbbbb…: scan failed, allowed success"},
		{"an unknown status", with(architectures(scan(0, 0, 0), policy.Scan{Status: "odd"})),
			`scanStatus: architecture sha256:bbbbbbbbbbbb…: unknown scan status "odd", allowed success`},
		{"one never scanned", with(architectures(scan(0, 0, 0), policy.Scan{Status: "unscan"})),
			"notScanned: architecture sha256:bbbbbbbbbbbb…: never scanned"},
		{"one being scanned for the first time", with(architectures(scan(0, 0, 0), pending())),
			"notScanned: architecture sha256:bbbbbbbbbbbb…: being scanned, and no completed scan is known"},
		{"one being scanned again", with(architectures(scan(0, 0, 0), pending()), before(architectures(scan(0, 0, 0), scan(0, 0, 0)))), ""},
		{"one being scanned again after a bad result",
			with(architectures(scan(0, 0, 0), pending()), before(architectures(scan(0, 0, 0), scan(8, 0, 0)))),
			"vulnerabilities: architecture sha256:bbbbbbbbbbbb…: 8 vulnerabilities, allowed 0"},
		{"two of one digest, scanned again after the second was bad", with(twins(pending()), before(twins(scan(8, 0, 0)))),
			"vulnerabilities: architecture sha256:aaaaaaaaaaaa…: 8 vulnerabilities, allowed 0"},
		{"two of one digest, scanned again after the second failed", with(twins(pending()), before(twins(policy.Scan{Status: "failed"}))),
			"notScanned: architecture sha256:aaaaaaaaaaaa…: being scanned, and no completed scan is known"},
		{"one of them vulnerable in a row that does not call itself one of several",
			with(architectures(scan(0, 0, 0), scan(7, 0, 0)), func(r *policy.Record) { r.MultiArch = false }),
			"vulnerabilities: architecture sha256:bbbbbbbbbbbb…: 7 vulnerabilities, allowed 0"},
		{"numbers that such a row lacks",
			with(architectures(scan(0, 0, 0), scan(0, 0, 0)), func(r *policy.Record) { r.MultiArch, r.Scan.MaliciousFiles = false, nil }),
			"maliciousFiles: number of malicious files unknown, allowed 0"},
		{"none listed", with(func(r *policy.Record) { r.MultiArch = true }), "notScanned: HSS lists none of its architectures"},
	})
}

func TestRescansOfSeveralArchitectures(t *testing.T) {
	t.Parallel()
	again := func(n int) policy.Scan {
		s := scan(n, 0, 0)
		s.Status = v1alpha1.ScanStatusWaitingForScan
		return s
	}
	runRequirement(t, strict(), []requirementCase{
		{"what the row still shows passes", rescanned(showing(scan(0, 0, 0)), architectures(again(0), again(0))), ""},
		{"what it shows of one fails", rescanned(showing(scan(0, 0, 0)), architectures(again(0), again(1))),
			"vulnerabilities: architecture sha256:bbbbbbbbbbbb…: 1 vulnerability, allowed 0"},
		{"a new architecture has no earlier result", rescanned(showing(scan(0, 0, 0)), architectures(again(0), policy.Scan{Status: "unscan"})),
			"notScanned: architecture sha256:bbbbbbbbbbbb…: never scanned"},
		{"the last completed scan of all", rescanned(architectures(pending(), pending()), before(architectures(scan(0, 0, 0), scan(2, 0, 0)))),
			"vulnerabilities: architecture sha256:bbbbbbbbbbbb…: 2 vulnerabilities, allowed 0"},
		{"a last scan that lists none of them is none", rescanned(architectures(pending(), pending()),
			before(func(r *policy.Record) { r.MultiArch = true })), "notScanned: being scanned, and no completed scan is known"},
	})
}

func TestOneArchitectureIsPinned(t *testing.T) {
	t.Parallel()
	const none = "notScanned: being scanned, and no completed scan is known"
	high := func(r *policy.Record) { r.Severity = v1alpha1.SeverityHigh }
	old := func(r *policy.Record) { r.ScannedAt, r.UpdatedAt = ago(30*day), time.Time{} }
	runRequirement(t, strict(), []requirementCase{
		{"its scan passes, whatever the row's", with(vulnerable(9), pinned(scan(0, 0, 0))), ""},
		{"its scan fails", with(pinned(scan(9, 0, 0))), "vulnerabilities: 9 vulnerabilities, allowed 0"},
		{"the row's severity counts", with(high, pinned(scan(0, 0, 0))), "severityLevel: severity High, allowed Medium"},
		{"the row's times count", with(old, pinned(scan(0, 0, 0))), "scanAge: scanned 30 days ago, allowed 7 days"},
		{"the row's failed scan doesn't count", with(status("failed"), pinned(scan(0, 0, 0))), ""},
		{"its own failed scan counts", with(pinned(policy.Scan{Status: "failed"})), "scanStatus: scan failed, allowed success"},
		{"its first scan", with(pinned(pending())), none},
		{"its last completed scan", with(pinned(pending()), before(pinned(scan(3, 0, 0)))), "vulnerabilities: 3 vulnerabilities, allowed 0"},
		{"its last completed scan among others", with(pinned(pending()), before(architectures(scan(9, 0, 0), scan(0, 0, 0)))), ""},
		{"another architecture's scan says nothing", with(pinned(pending()), before(func(r *policy.Record) {
			pinned(scan(0, 0, 0))(r)
			r.Architectures[0].Digest = amd64Digest
		})), none},
		{"the row is scanned again and shows its result", rescanned(showing(scan(0, 0, 0)), pinned(pending())),
			"vulnerabilities: number of vulnerabilities unknown, allowed 0\n" +
				"maliciousFiles: number of malicious files unknown, allowed 0\n" +
				"unsafeSettings: number of unsafe settings unknown, allowed 10"},
		{"pinned, but not listed", with(func(r *policy.Record) { r.PinnedArchitecture = true }),
			"notScanned: HSS lists none of its architectures"},
	})
}

func TestArchitecturesWithoutADigest(t *testing.T) {
	t.Parallel()
	nameless := func(id, digest string) policy.Record {
		return with(func(r *policy.Record) {
			r.MultiArch = true
			r.Architectures = []policy.Architecture{{ID: id, Digest: digest, Scan: scan(1, 0, 0)}}
		})
	}
	runRequirement(t, strict(), []requirementCase{
		{"are named by their id", nameless("77", ""), "vulnerabilities: architecture 77: 1 vulnerability, allowed 0"},
		{"or by nothing", nameless("", ""), "vulnerabilities: architecture without digest: 1 vulnerability, allowed 0"},
		{"a short digest is whole", nameless("", "sha256:12"), "vulnerabilities: architecture sha256:12: 1 vulnerability, allowed 0"},
	})
}
