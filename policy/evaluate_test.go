package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestStatesWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		when  v1alpha1.When
		facts policy.Facts
		want  string
	}{
		{"not found is denied by default", v1alpha1.When{},
			policy.Facts{State: policy.StateNotFound, Reason: "no configured registry claims host evil.example.com"},
			"notFound: no configured registry claims host evil.example.com"},
		{"not found without a reason", v1alpha1.When{}, policy.Facts{State: policy.StateNotFound},
			"notFound: HSS has no such image"},
		{"a reason is one printable line", v1alpha1.When{}, policy.Facts{State: policy.StateNotFound, Reason: "a\nb\x07"},
			"notFound: a b"},
		{"not found can be a warning", v1alpha1.When{NotFound: v1alpha1.ActionWarn},
			policy.Facts{State: policy.StateNotFound, Reason: "gone"}, "notFound: gone [Warn]"},
		{"not found can be allowed", v1alpha1.When{NotFound: v1alpha1.ActionAllow},
			policy.Facts{State: policy.StateNotFound}, ""},
		{"unavailable is denied by default", v1alpha1.When{NotFound: v1alpha1.ActionAllow},
			policy.Facts{State: policy.StateUnavailable, Reason: "HSS throttles"}, "unavailable: HSS throttles"},
		{"unavailable can be audited", v1alpha1.When{Unavailable: v1alpha1.ActionAudit},
			policy.Facts{State: policy.StateUnavailable, Reason: "down"}, "unavailable: down [Audit]"},
		{"unavailable can be allowed", v1alpha1.When{Unavailable: v1alpha1.ActionAllow},
			policy.Facts{State: policy.StateUnavailable}, ""},
		{"facts about nothing are unavailable", v1alpha1.When{}, policy.Facts{},
			"unavailable: no scan result available from HSS"},
		{"found without records is unavailable", v1alpha1.When{}, policy.Facts{State: policy.StateFound},
			"unavailable: no scan result available from HSS"},
		{"an unknown state is unavailable", v1alpha1.When{}, policy.Facts{State: 99, Reason: "what"}, "unavailable: what"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := policyOf(strict())
			p.Spec.When = c.when
			wantLines(t, c.want, evaluate(t, p, c.facts))
		})
	}
}

func TestEveryFindingIsKeptInTheOrderOfRequirements(t *testing.T) {
	t.Parallel()
	bad := with(func(r *policy.Record) {
		r.Severity = v1alpha1.SeverityHigh
		r.Scan = scan(111, 40, 2)
		r.ScannedAt, r.UpdatedAt = ago(60*day), ago(90*day)
	})
	require := strict()
	require.Digest = v1alpha1.DigestRequired
	require.Expressions = []v1alpha1.Expression{{Expression: "image.tag != '1.4'", Message: "1.4 is withdrawn"}}
	wantLines(t, strings.Join([]string{
		"severityLevel: severity High, allowed Medium",
		"vulnerabilities: 111 vulnerabilities, allowed 0",
		"maliciousFiles: 2 malicious files, allowed 0",
		"unsafeSettings: 40 unsafe settings, allowed 10",
		"scanAge: scanned 60 days ago, allowed 7 days",
		"digest: names no digest, required by the policy",
		"expression: 1.4 is withdrawn",
	}, "\n"), evaluate(t, policyOf(require), found(bad)))
}

func TestUpdatesAfterTheScan(t *testing.T) {
	t.Parallel()
	updated := func(scanned, updated time.Time, changes ...func(*policy.Record)) policy.Record {
		return with(append(changes, func(r *policy.Record) { r.ScannedAt, r.UpdatedAt = scanned, updated })...)
	}
	runRequirement(t, strict(), []requirementCase{
		{"an update before the scan is fine", updated(ago(day), ago(2*day)), ""},
		{"an update at the time of the scan is fine", updated(ago(day), ago(day)), ""},
		{"an update after the scan is not scanned", updated(ago(3*time.Hour), ago(time.Hour)),
			"notScanned: updated 2h after its last scan"},
		{"days are written as days", updated(ago(5*day), ago(time.Hour)), "notScanned: updated 4 days after its last scan"},
		{"milliseconds count", updated(ago(day), ago(day-time.Millisecond)), "notScanned: updated 1ms after its last scan"},
		{"an unknown time of update is fine", updated(ago(day), time.Time{}), ""},
		{"nothing else is judged", updated(ago(3*time.Hour), ago(time.Hour), func(r *policy.Record) { r.Scan = scan(9, 9, 9) }),
			"notScanned: updated 2h after its last scan"},
		{"a failure is told too", updated(ago(3*time.Hour), ago(time.Hour), status(v1alpha1.ScanStatusFailed)),
			"notScanned: updated 2h after its last scan\nscanStatus: scan failed, allowed success"},
	})
}

func TestWhenNotScannedDecidesOnUnscannedImages(t *testing.T) {
	t.Parallel()
	never := with(status(v1alpha1.ScanStatusUnscan))
	for action, want := range map[v1alpha1.Action]string{
		v1alpha1.ActionDeny:  "notScanned: never scanned",
		v1alpha1.ActionWarn:  "notScanned: never scanned [Warn]",
		v1alpha1.ActionAudit: "notScanned: never scanned [Audit]",
		v1alpha1.ActionAllow: "",
	} {
		p := policyOf(strict())
		p.Spec.When.NotScanned = action
		wantLines(t, want, evaluate(t, p, found(never)))
	}
}

func TestAllowingUnscannedImagesForgivesNothingElse(t *testing.T) {
	t.Parallel()
	p := policyOf(strict())
	p.Spec.When.NotScanned = v1alpha1.ActionAllow
	bad := with(func(r *policy.Record) { r.ID = "2"; r.Scan = scan(3, 0, 0) })
	wantLines(t, "vulnerabilities: 3 vulnerabilities, allowed 0 (private_image record of id 2)",
		evaluate(t, p, found(with(status(v1alpha1.ScanStatusUnscan)), bad)))
}

func TestStaleFactsAreJudgedAsUsual(t *testing.T) {
	t.Parallel()
	f := found(cleanRecord())
	f.Stale, f.StaleReason = true, "HSS is down"
	wantLines(t, "", evaluate(t, policyOf(strict()), f))
}

func TestFactsAreNotChanged(t *testing.T) {
	t.Parallel()
	record := with(status(v1alpha1.ScanStatusScanning), func(r *policy.Record) {
		r.MultiArch = true
		r.Architectures = []policy.Architecture{{Digest: arm64Digest, Scan: policy.Scan{Status: "scanning"}}}
	})
	f, want := found(record), found(with(func(r *policy.Record) { *r = record; r.Architectures = slices.Clone(record.Architectures) }))
	evaluate(t, policyOf(strict()), f)
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("evaluation changed the facts:\n%s", diff)
	}
}

func TestRequiringNothingStillAsksForAScan(t *testing.T) {
	t.Parallel()
	p := policyOf(v1alpha1.Requirements{})
	wantLines(t, "", evaluate(t, p, found(cleanRecord())))
	wantLines(t, "notScanned: never scanned", evaluate(t, p, found(with(status(v1alpha1.ScanStatusUnscan)))))
}

func TestACleanImageCostsNextToNothing(t *testing.T) {
	p := mustCompile(t, policyOf(strict()))
	f, at, ctx := found(cleanRecord()), now(), t.Context()
	allocations := testing.AllocsPerRun(100, func() {
		if p.Evaluate(ctx, f, at) != nil {
			t.Error("a clean image has findings")
		}
	})
	if allocations > 1 {
		t.Errorf("a clean image allocates %v times, allowed 1", allocations)
	}
}
