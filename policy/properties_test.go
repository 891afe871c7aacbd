package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

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

// cleanResult tells, in the plainest words, whether a record's own scan is one
// that strict lets past.
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

func TestASecondRecordForgivesNothing(t *testing.T) {
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

func TestAStricterPolicyForgivesNothing(t *testing.T) {
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
				t.Errorf("%q is told twice", f.Message)
			}
		}
	})
}

func TestAFailedScanIsToldOnce(t *testing.T) {
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
