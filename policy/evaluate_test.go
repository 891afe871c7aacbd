package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestWhenDecidesWithoutAResult(t *testing.T) {
	t.Parallel()
	never, stale := with(status(v1alpha1.ScanStatusUnscan)), found(cleanRecord())
	stale.Stale, stale.StaleReason = true, "HSS is down"
	type testCase struct {
		when  v1alpha1.When
		facts *policy.Facts
		want  string
	}
	each(t, map[string]testCase{
		"not found is denied by default": {v1alpha1.When{},
			&policy.Facts{State: policy.StateNotFound, Reason: "no configured registry claims host evil.example.com"},
			"notFound: no configured registry claims host evil.example.com"},
		"not found without a reason": {v1alpha1.When{}, &policy.Facts{State: policy.StateNotFound},
			"notFound: HSS has no such image"},
		"a reason is one printable line": {v1alpha1.When{}, &policy.Facts{State: policy.StateNotFound, Reason: "a\nb\x07"},
			"notFound: a b"},
		"not found can be a warning": {v1alpha1.When{NotFound: v1alpha1.ActionWarn},
			&policy.Facts{State: policy.StateNotFound, Reason: "gone"}, "notFound: gone [Warn]"},
		"not found can be allowed": {v1alpha1.When{NotFound: v1alpha1.ActionAllow},
			&policy.Facts{State: policy.StateNotFound}, ""},
		"unavailable is denied by default": {v1alpha1.When{NotFound: v1alpha1.ActionAllow},
			&policy.Facts{State: policy.StateUnavailable, Reason: "HSS throttles"}, "unavailable: HSS throttles"},
		"unavailable can be audited": {v1alpha1.When{Unavailable: v1alpha1.ActionAudit},
			&policy.Facts{State: policy.StateUnavailable, Reason: "down"}, "unavailable: down [Audit]"},
		"unavailable can be allowed": {v1alpha1.When{Unavailable: v1alpha1.ActionAllow},
			&policy.Facts{State: policy.StateUnavailable}, ""},
		"facts about nothing are unavailable": {v1alpha1.When{}, &policy.Facts{},
			"unavailable: no scan result available from HSS"},
		"found without records is unavailable": {v1alpha1.When{}, &policy.Facts{State: policy.StateFound},
			"unavailable: no scan result available from HSS"},
		"an unknown state is unavailable":  {v1alpha1.When{}, &policy.Facts{State: 99, Reason: "what"}, "unavailable: what"},
		"not scanned is denied by default": {v1alpha1.When{NotFound: v1alpha1.ActionAllow}, found(never), "notScanned: never scanned"},
		"not scanned can be a warning":     {v1alpha1.When{NotScanned: v1alpha1.ActionWarn}, found(never), "notScanned: never scanned [Warn]"},
		"not scanned can be audited":       {v1alpha1.When{NotScanned: v1alpha1.ActionAudit}, found(never), "notScanned: never scanned [Audit]"},
		"not scanned can be allowed":       {v1alpha1.When{NotScanned: v1alpha1.ActionAllow}, found(never), ""},
		"allowing what is not scanned allows nothing else": {v1alpha1.When{NotScanned: v1alpha1.ActionAllow}, found(never, record("2", "private_image", "", "", 3)),
			"vulnerabilities: 3 vulnerabilities, allowed 0 (private_image record of id 2)"},
		"a stale result is evaluated like others": {v1alpha1.When{}, stale, ""},
	}, func(t *testing.T, c testCase) {
		p := policyOf(strict())
		p.Spec.When = c.when
		wantLines(t, c.want, evaluate(t, p, c.facts))
	})
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
		"digest: image must be pinned by digest",
		"expression: 1.4 is withdrawn",
	}, "\n"), evaluate(t, policyOf(require), found(bad)))
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

func TestRequiringNothingStillRequiresAScan(t *testing.T) {
	t.Parallel()
	p := policyOf(v1alpha1.Requirements{})
	wantLines(t, "", evaluate(t, p, found(cleanRecord())))
	wantLines(t, "notScanned: never scanned", evaluate(t, p, found(with(status(v1alpha1.ScanStatusUnscan)))))
}

func record(id, imageType, registry, instance string, n int) policy.Record {
	return with(vulnerable(n), func(r *policy.Record) {
		r.ID, r.ImageType, r.RegistryName, r.InstanceName = id, imageType, registry, instance
	})
}

func TestSeveralRecords(t *testing.T) {
	t.Parallel()
	const three = "vulnerabilities: 3 vulnerabilities, allowed 0"
	type testCase struct {
		records []policy.Record
		want    string
	}
	each(t, map[string]testCase{
		"all pass": {[]policy.Record{record("1", "private_image", "", "", 0), record("2", "shared_image", "", "", 0)}, ""},
		"one fails and is named": {[]policy.Record{record("1", "private_image", "", "", 0), record("2", "shared_image", "", "", 3)},
			three + " (shared_image record)"},
		"both fail alike": {[]policy.Record{record("1", "private_image", "", "", 3), record("2", "shared_image", "", "", 3)}, three},
		"both fail differently": {[]policy.Record{record("1", "private_image", "", "", 5), record("2", "shared_image", "", "", 3)},
			three + " (shared_image record)\nvulnerabilities: 5 vulnerabilities, allowed 0 (private_image record)"},
		"two of three fail alike": {[]policy.Record{record("1", "harbor", "", "", 3), record("2", "jfrog", "", "", 0), record("3", "shared_image", "", "", 3)},
			three + " (harbor record, shared_image record)"},
		"distinguished by the registry": {[]policy.Record{record("1", "harbor", "a", "", 3), record("2", "harbor", "b", "", 0)},
			three + " (harbor record of registry a)"},
		"distinguished by the instance": {[]policy.Record{record("1", "instance_image", "", "x", 3), record("2", "instance_image", "", "y", 0)},
			three + " (instance_image record of instance x)"},
		"distinguished by the id": {[]policy.Record{record("1", "harbor", "a", "", 3), record("2", "harbor", "a", "", 0)},
			three + " (harbor record of id 1)"},
		"a registry's name is made printable": {[]policy.Record{record("1", "harbor", "a\n\x1b[0m", "", 3), record("2", "harbor", "b", "", 0)},
			three + " (harbor record of registry a [0m)"},
	}, func(t *testing.T, c testCase) {
		wantLines(t, c.want, evaluate(t, policyOf(strict()), found(c.records...)))
	})
}

func TestFindingsDoNotDependOnTheOrderOfRecords(t *testing.T) {
	t.Parallel()
	records := []policy.Record{
		record("1", "harbor", "a", "", 3), record("2", "harbor", "b", "", 4),
		record("3", "shared_image", "a", "", 3), with(status("unscan"), func(r *policy.Record) { r.ID = "4" }),
	}
	p := policyOf(strict())
	want := strings.Join(evaluate(t, p, found(records...)), "\n")
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		random.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		wantLines(t, want, evaluate(t, p, found(records...)))
	}
}

// What holds for every record, however odd. The records are made up by chance,
// from fixed seeds, so that a failure can be repeated.

const trials = 4_000

func forRandomRecords(t *testing.T, check func(t *testing.T, random *rand.Rand, r policy.Record)) {
	t.Helper()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 7))
			for range trials / 4 {
				check(t, random, randomRecord(random, 1))
			}
		})
	}
}

func oneOf[T any](random *rand.Rand, values ...T) T { return values[random.IntN(len(values))] }

func randomCount(random *rand.Rand) *int {
	return oneOf(random, nil, new(0), new(0), new(0), new(1), new(11), new(-1))
}

func randomScan(random *rand.Rand) policy.Scan {
	return policy.Scan{
		Status: oneOf[v1alpha1.ScanStatus](random, "success", "success", "success", "unscan", "scanning", "failed",
			"download_failed", "image_oversized", "waiting_for_scan", "", "Success"),
		FailedCode:        oneOf(random, "", "database_error"),
		FailedDescription: oneOf(random, "", "认证失败\n"),
		Vulnerabilities:   randomCount(random),
		UnsafeSettings:    randomCount(random),
		MaliciousFiles:    randomCount(random),
	}
}

func randomTime(random *rand.Rand) time.Time {
	return oneOf(random, time.Time{}, ago(0), ago(day), ago(day), ago(2*day), ago(30*day), ago(-day))
}

func randomRecord(random *rand.Rand, depth int) policy.Record {
	r := policy.Record{
		ID:                 oneOf(random, "1", "2", ""),
		ImageType:          oneOf(random, "private_image", "shared_image", "harbor", ""),
		RegistryName:       oneOf(random, "a", "b", ""),
		Digest:             oneOf(random, digest, digest, otherDigest, ""),
		Scan:               randomScan(random),
		Severity:           oneOf[v1alpha1.Severity](random, "Security", "Low", "Low", "Medium", "High", "", "Worst"),
		ScannedAt:          randomTime(random),
		UpdatedAt:          randomTime(random),
		MultiArch:          oneOf(random, false, false, true),
		PinnedArchitecture: oneOf(random, false, false, false, true),
	}
	for range random.IntN(3) {
		r.Architectures = append(r.Architectures, policy.Architecture{
			Digest: oneOf(random, amd64Digest, arm64Digest, ""), Scan: randomScan(random),
		})
	}
	if depth > 0 && random.IntN(2) == 0 {
		last := randomRecord(random, depth-1)
		r.LastCompleted = &last
	}
	return r
}

// cleanResult reports whether a record's own scan is one that strict admits.
func cleanResult(s policy.Scan) bool {
	atMost := func(n *int, limit int) bool { return n != nil && *n >= 0 && *n <= limit }
	return s.Status == "success" && atMost(s.Vulnerabilities, 0) && atMost(s.MaliciousFiles, 0) && atMost(s.UnsafeSettings, 10)
}

func TestNothingPassesWithoutACleanScanSomewhere(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, policyOf(strict()))
	forRandomRecords(t, func(t *testing.T, _ *rand.Rand, r policy.Record) {
		t.Helper()
		if len(p.Evaluate(t.Context(), found(r), now())) > 0 {
			return
		}
		known := func(s v1alpha1.Severity) bool { return s == "Security" || s == "Low" || s == "Medium" }
		last := r.LastCompleted
		if !known(r.Severity) && (last == nil || !known(last.Severity)) {
			t.Errorf("a record without a tolerable severity level passes: %+v", r)
		}
		if r.Scan.Status == "success" && !r.PinnedArchitecture && !r.MultiArch && !cleanResult(r.Scan) {
			t.Errorf("a scan that found something passes: %+v", r)
		}
		if r.PinnedArchitecture && r.Architectures[0].Scan.Status == "success" && !cleanResult(r.Architectures[0].Scan) {
			t.Errorf("a pinned architecture's scan that found something passes: %+v", r)
		}
		if !r.PinnedArchitecture && (r.Scan.Status == "" || r.Scan.Status == "failed" || r.Scan.Status == "unscan") {
			t.Errorf("a record without a scan passes: %+v", r)
		}
		if !r.UpdatedAt.IsZero() && !r.ScannedAt.IsZero() && r.UpdatedAt.After(r.ScannedAt) {
			t.Errorf("a record that was updated after its scan passes: %+v", r)
		}
	})
}

func TestASecondRecordRemovesNoFinding(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, policyOf(strict()))
	forRandomRecords(t, func(t *testing.T, random *rand.Rand, r policy.Record) {
		t.Helper()
		alone := p.Evaluate(t.Context(), found(r), now())
		both := p.Evaluate(t.Context(), found(r, randomRecord(random, 0)), now())
		for _, finding := range alone {
			kept := slices.ContainsFunc(both, func(f policy.Finding) bool {
				return f.Check == finding.Check && strings.HasPrefix(f.Message, finding.Message)
			})
			if !kept {
				t.Errorf("beside another record, %q is lost of %+v: %v", finding.Message, r, both)
			}
		}
	})
}

func TestAStricterPolicyAdmitsNoMore(t *testing.T) {
	t.Parallel()
	mild := strict()
	mild.Vulnerabilities, mild.SeverityLevel.Max, mild.UnsafeSettings = nil, v1alpha1.SeverityHigh, nil
	milder, stricter := mustCompile(t, policyOf(mild)), mustCompile(t, policyOf(strict()))
	forRandomRecords(t, func(t *testing.T, _ *rand.Rand, r policy.Record) {
		t.Helper()
		if len(milder.Evaluate(t.Context(), found(r), now())) > 0 && len(stricter.Evaluate(t.Context(), found(r), now())) == 0 {
			t.Errorf("the milder policy refuses, the stricter one doesn't: %+v", r)
		}
	})
}

func TestFindingsAreShortPrintableLinesOfKnownChecks(t *testing.T) {
	t.Parallel()
	require := strict()
	require.Digest = v1alpha1.DigestRequired
	require.Expressions = expressions("image.vulnerabilities == 0", "has(image.scannedAt)").Expressions
	p := policyOf(require)
	p.Spec.When.NotScanned = v1alpha1.ActionWarn
	compiled := mustCompile(t, p)
	forRandomRecords(t, func(t *testing.T, random *rand.Rand, r policy.Record) {
		t.Helper()
		findings := compiled.Evaluate(t.Context(), found(r, randomRecord(random, 1)), now())
		for i, f := range findings {
			if f.Message == "" || len(f.Message) > 1000 || strings.ContainsAny(f.Message, "\n\r\x00") {
				t.Errorf("not a short line: %q", f.Message)
			}
			if (f.Check == policy.CheckNotScanned) != (f.Action == v1alpha1.ActionWarn) {
				t.Errorf("%s has action %s", f.Check, f.Action)
			}
			if slices.Contains(findings[:i], f) {
				t.Errorf("%q is there twice", f.Message)
			}
		}
	})
}
