package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestWhenDecidesWithoutAResult(t *testing.T) {
	t.Parallel()
	const none = "unavailable: no scan result available from HSS"
	unknown := func(reason string) *policy.Facts { return &policy.Facts{State: policy.StateNotFound, Reason: reason} }
	down := &policy.Facts{State: policy.StateUnavailable, Reason: "down"}
	never, stale := with(status(v1alpha1.ScanStatusUnscan)), found(cleanRecord())
	stale.Stale, stale.StaleReason = true, "HSS is down"
	type testCase struct {
		when  v1alpha1.When
		facts *policy.Facts
		want  string
	}
	each(t, map[string]testCase{
		"not found is denied by default":   {v1alpha1.When{}, unknown("unclaimed"), "notFound: unclaimed"},
		"not found without a reason":       {v1alpha1.When{}, unknown(""), "notFound: HSS has no such image"},
		"a reason is one printable line":   {v1alpha1.When{}, unknown("a\nb\x07"), "notFound: a b"},
		"not found can be a warning":       {v1alpha1.When{NotFound: v1alpha1.ActionWarn}, unknown("gone"), "notFound: gone [Warn]"},
		"not found can be allowed":         {v1alpha1.When{NotFound: v1alpha1.ActionAllow}, unknown(""), ""},
		"an outage is denied by default":   {v1alpha1.When{NotFound: v1alpha1.ActionAllow}, down, "unavailable: down"},
		"unavailable can be audited":       {v1alpha1.When{Unavailable: v1alpha1.ActionAudit}, down, "unavailable: down [Audit]"},
		"unavailable can be allowed":       {v1alpha1.When{Unavailable: v1alpha1.ActionAllow}, down, ""},
		"no facts are unavailable":         {v1alpha1.When{}, &policy.Facts{}, none},
		"no records are unavailable":       {v1alpha1.When{}, found(), none},
		"an unknown state is unavailable":  {v1alpha1.When{}, &policy.Facts{State: 99, Reason: "what"}, "unavailable: what"},
		"not scanned is denied by default": {v1alpha1.When{NotFound: v1alpha1.ActionAllow}, found(never), "notScanned: never scanned"},
		"not scanned can be a warning":     {v1alpha1.When{NotScanned: v1alpha1.ActionWarn}, found(never), "notScanned: never scanned [Warn]"},
		"not scanned can be audited":       {v1alpha1.When{NotScanned: v1alpha1.ActionAudit}, found(never), "notScanned: never scanned [Audit]"},
		"not scanned can be allowed":       {v1alpha1.When{NotScanned: v1alpha1.ActionAllow}, found(never), ""},
		"allowing what is not scanned allows nothing else": {v1alpha1.When{NotScanned: v1alpha1.ActionAllow}, found(never, record("2", "private_image", "", "", 3)),
			"vulnerabilities: 3 vulnerabilities, allowed 0 (private_image record, id 2)"},
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
	facts := func() *policy.Facts { return found(with(status("scanning"), architectures(pending(), pending()))) }
	f := facts()
	evaluate(t, policyOf(strict()), f)
	wantEqual(t, "evaluation changed the facts", facts(), f)
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
	all := func(r ...policy.Record) []policy.Record { return r }
	private := func(n int) policy.Record { return record("1", "private_image", "", "", n) }
	shared := func(n int) policy.Record { return record("2", "shared_image", "", "", n) }
	harbor := func(registry string) policy.Record { return record("1", "harbor", registry, "", 3) }
	other := record("2", "harbor", "b", "", 0)
	type testCase struct {
		records []policy.Record
		want    string
	}
	each(t, map[string]testCase{
		"all pass":               {all(private(0), shared(0)), ""},
		"one fails and is named": {all(private(0), shared(3)), three + " (shared_image record)"},
		"both fail alike":        {all(private(3), shared(3)), three},
		"both fail differently": {all(private(5), shared(3)),
			three + " (shared_image record)\nvulnerabilities: 5 vulnerabilities, allowed 0 (private_image record)"},
		"two of three fail alike": {all(record("1", "harbor", "", "", 3), record("2", "jfrog", "", "", 0), shared(3)),
			three + " (harbor record; shared_image record)"},
		"distinguished by the registry": {all(harbor("a"), other), three + " (harbor record of a, id 1)"},
		"distinguished by the instance": {all(record("1", "instance_image", "", "x", 3), record("2", "instance_image", "", "y", 0)),
			three + " (instance_image record of x, id 1)"},
		"distinguished by the id":             {all(harbor("b"), other), three + " (harbor record of b, id 1)"},
		"a registry's name is made printable": {all(harbor("a\n\x1b[0m"), other), three + " (harbor record of a [0m, id 1)"},
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

// forRandomRecords checks what holds for every record, however odd. The seed is fixed, to repeat a failure.
func forRandomRecords(check func(random *rand.Rand, r policy.Record)) {
	random := rand.New(rand.NewPCG(4, 7))
	for range 4_000 {
		check(random, randomRecord(random, 1))
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
	forRandomRecords(func(_ *rand.Rand, r policy.Record) {
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
	forRandomRecords(func(random *rand.Rand, r policy.Record) {
		both := p.Evaluate(t.Context(), found(r, randomRecord(random, 0)), now())
		for _, alone := range p.Evaluate(t.Context(), found(r), now()) {
			same := func(f policy.Finding) bool {
				return f.Check == alone.Check && strings.HasPrefix(f.Message, alone.Message)
			}
			if !slices.ContainsFunc(both, same) {
				t.Errorf("beside another record, %q is lost of %+v: %v", alone.Message, r, both)
			}
		}
	})
}

func TestAStricterPolicyAdmitsNoMore(t *testing.T) {
	t.Parallel()
	mild := strict()
	mild.Vulnerabilities, mild.SeverityLevel.Max, mild.UnsafeSettings = nil, v1alpha1.SeverityHigh, nil
	milder, stricter := mustCompile(t, policyOf(mild)), mustCompile(t, policyOf(strict()))
	forRandomRecords(func(_ *rand.Rand, r policy.Record) {
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
	forRandomRecords(func(random *rand.Rand, r policy.Record) {
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

// rescanned is a record that is being scanned again, and shows nothing of its last scan.
func rescanned(changes ...func(*policy.Record)) policy.Record {
	nothing := func(r *policy.Record) { r.Severity, r.ScannedAt, r.Scan = "", time.Time{}, pending() }
	return with(append([]func(*policy.Record){nothing}, changes...)...)
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

// never is what is found if there is no result to go by while an image is scanned.
const never = "notScanned: being scanned, and no completed scan is known"

func TestScansThatHaveNotBeenCompleted(t *testing.T) {
	t.Parallel()
	const without, unaged = "notScanned: the time of its scan is unknown", "\nscanAge: time of scan unknown, allowed 7 days"
	old := func(r *policy.Record) { r.ScannedAt, r.UpdatedAt = ago(30*day), ago(40*day) }
	runRequirement(t, strict(), map[string]requirementCase{
		"the first scan of an image":                      {rescanned(), never},
		"a scan that waits":                               {rescanned(status("waiting_for_scan")), "notScanned: waiting to be scanned, and no completed scan is known"},
		"unscan never has a result":                       {with(status("unscan"), before()), "notScanned: never scanned"},
		"the last completed scan decides well":            {rescanned(before()), ""},
		"the last completed scan decides while waiting":   {rescanned(status("waiting_for_scan"), before()), ""},
		"the last completed scan decides ill":             {rescanned(before(vulnerable(7))), "vulnerabilities: 7 vulnerabilities, allowed 0"},
		"the last completed scan can be too old":          {rescanned(old, unscannedTime, before(old)), "scanAge: scanned 30 days ago, allowed 7 days"},
		"another digest's scan says nothing":              {rescanned(before(digestOf(otherDigest))), never},
		"a missing digest proves nothing":                 {rescanned(digestOf(""), before(digestOf(""))), never},
		"a last scan that failed is none":                 {rescanned(before(status("failed"))), never},
		"an update of the same digest":                    {rescanned(before(), updated), ""},
		"an update of the same digest, with what was bad": {rescanned(before(vulnerable(7)), updated), "vulnerabilities: 7 vulnerabilities, allowed 0"},
		"an update since the scan of another digest":      {rescanned(before(digestOf(otherDigest)), updated), never},
		"a last scan of before an update is none":         {rescanned(before(updated)), never},
		"a last scan of an unknown time is none":          {rescanned(before(unscannedTime)), never},
		"a bad result without a time counts too":          {with(unscannedTime, vulnerable(7)), without + "\nvulnerabilities: 7 vulnerabilities, allowed 0" + unaged},
		"a good result without a time is none":            {with(unscannedTime, before()), without + unaged},
		"several architectures without a time":            {with(unscannedTime, architectures(scan(0, 0, 0), scan(0, 0, 0))), without + unaged},
		"a pinned one without a time":                     {with(unscannedTime, pinned(scan(0, 0, 0))), without + unaged},
		"a scan that failed without a time":               {with(unscannedTime, status("failed")), "scanStatus: scan failed, allowed success"},
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
	times := func(scanned, updated time.Duration) func(*policy.Record) {
		return func(r *policy.Record) { r.ScannedAt, r.UpdatedAt = ago(scanned), ago(updated) }
	}
	multi := architectures(scan(0, 0, 0), scan(0, 0, 0))
	runRequirement(t, strict(), map[string]requirementCase{
		"no earlier result is known":                {with(updated), late},
		"days are written as days":                  {with(times(5*day, time.Hour)), "notScanned: updated 4 days after its last scan"},
		"milliseconds count":                        {with(times(day, day-time.Millisecond)), "notScanned: updated 1ms after its last scan"},
		"an update at the time of the scan is fine": {with(times(day, day)), ""},
		"an unknown time of update is fine":         {with(func(r *policy.Record) { r.UpdatedAt = time.Time{} }), ""},
		"nothing else is evaluated":                 {with(updated, bad), late},
		"the same digest":                           {with(updated, before()), ""},
		"the same digest, and the result is bad":    {with(bad, updated, before(bad)), "vulnerabilities: 7 vulnerabilities, allowed 0"},
		"the same digest, and only the earlier result is bad": {with(updated, before(bad)),
			"vulnerabilities: 7 vulnerabilities, allowed 0 in its last completed scan"},
		"the same digest, and only the later result is bad": {with(bad, updated, before()), "vulnerabilities: 7 vulnerabilities, allowed 0"},
		"another digest":                      {with(updated, before(digestOf(otherDigest))), late},
		"no digest":                           {with(updated, digestOf(""), before(digestOf(""))), late},
		"an earlier scan that failed":         {with(updated, before(status("failed"))), late},
		"an earlier scan of before an update": {with(updated, before(updated)), late},
		"a scan that failed since":            {with(updated, status("failed"), before()), late + "\nscanStatus: scan failed, allowed success"},
		"several architectures":               {with(updated, multi, before(multi)), ""},
		"one pinned":                          {with(updated, pinned(scan(0, 0, 0)), before(multi)), ""},
		"one pinned that was bad": {with(updated, pinned(scan(0, 0, 0)), before(architectures(scan(0, 0, 0), scan(2, 0, 0)))),
			"vulnerabilities: 2 vulnerabilities, allowed 0 in its last completed scan"},
	})
}

func TestRowsThatStillShowTheirLastScan(t *testing.T) {
	t.Parallel()
	const three = "vulnerabilities: 3 vulnerabilities, allowed 0"
	const two = "vulnerabilities: 2 vulnerabilities, allowed 0 in its last completed scan"
	good, bad := showing(scan(0, 0, 0)), showing(scan(3, 0, 0))
	waiting, secure := status("waiting_for_scan"), func(r *policy.Record) { r.Severity = v1alpha1.SeveritySecurity }
	withoutNumber := showing(policy.Scan{Vulnerabilities: new(0), MaliciousFiles: new(0)})
	runRequirement(t, strict(), map[string]requirementCase{
		"a good result before the scan passes":              {rescanned(good, waiting), ""},
		"a bad result before the scan fails":                {rescanned(bad, waiting), three},
		"a result that lacks a number fails":                {rescanned(withoutNumber, waiting), "unsafeSettings: number of unsafe settings unknown, allowed 10"},
		"a good result during the scan may be a part":       {rescanned(good), never},
		"a bad one during the scan fails, too":              {rescanned(bad), never + "\n" + three},
		"no findings before the scan may be no result":      {rescanned(good, waiting, secure), "notScanned: waiting to be scanned, and no completed scan is known"},
		"no findings, and an earlier result of that digest": {rescanned(good, waiting, secure, before()), ""},
		"no severity level, no result":                      {rescanned(good, func(r *policy.Record) { r.Severity = "" }), never},
		"updated since":                                     {rescanned(good, updated), "notScanned: updated 23h after its last scan"},
		"both results good":                                 {rescanned(good, before()), ""},
		"only the older one bad":                            {rescanned(good, before(vulnerable(2))), two},
		"only the shown one bad":                            {rescanned(bad, before()), three},
		"both alike bad are reported once":                  {rescanned(bad, before(vulnerable(3))), three},
		"both bad differently are both reported": {rescanned(showing(scan(1, 0, 0)), before(vulnerable(2))),
			"vulnerabilities: 1 vulnerability, allowed 0\n" + two},
	})
}

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

// pinned makes a record one of which only the second architecture counts.
func pinned(arm64 policy.Scan) func(*policy.Record) {
	return func(r *policy.Record) {
		architectures(policy.Scan{}, arm64)(r)
		r.Architectures, r.PinnedArchitecture = r.Architectures[1:], true
	}
}

func TestEveryArchitectureMustPass(t *testing.T) {
	t.Parallel()
	const amd64, arm64 = "architecture sha256:aaaaaaaaaaaa…: ", "architecture sha256:bbbbbbbbbbbb…: "
	const noResult = "being scanned, and no completed scan is known"
	vulnerabilities := func(architecture string, n int) string {
		return fmt.Sprintf("vulnerabilities: %s%d vulnerabilities, allowed 0", architecture, n)
	}
	clean, first, failed, unscanned := scan(0, 0, 0), pending(), policy.Scan{Status: "failed"}, policy.Scan{Status: "unscan"}
	withoutNumber := policy.Scan{Status: "success", Vulnerabilities: new(0), MaliciousFiles: new(0)}
	// second is a record whose second architecture was scanned so.
	second := func(s policy.Scan, change ...func(*policy.Record)) policy.Record {
		return with(append(change, architectures(clean, s))...)
	}
	uncalled, unlisted := func(r *policy.Record) { r.MultiArch = false }, func(r *policy.Record) { r.MultiArch = true }
	uncounted := func(r *policy.Record) { r.Scan.MaliciousFiles = nil }
	again := func(n int) policy.Scan { return scanOf("waiting_for_scan", n) }
	runRequirement(t, strict(), map[string]requirementCase{
		"all clean": {second(clean), ""},
		"one of them vulnerable": {second(scan(7, 0, 1)),
			vulnerabilities(arm64, 7) + "\nmaliciousFiles: " + arm64 + "1 malicious file, allowed 0"},
		"both vulnerable":                                 {with(architectures(scan(3, 0, 0), scan(7, 0, 0))), vulnerabilities(amd64, 3) + "\n" + vulnerabilities(arm64, 7)},
		"the row itself vulnerable":                       {second(clean, vulnerable(2)), "vulnerabilities: 2 vulnerabilities, allowed 0"},
		"the row leaves the numbers to its architectures": {multiArch(clean, clean), ""},
		"an architecture without numbers":                 {second(withoutNumber), "unsafeSettings: " + arm64 + "number of unsafe settings unknown, allowed 10"},
		"a failed one is reported once":                   {second(failed), "scanStatus: " + arm64 + "scan failed, allowed success"},
		"an unknown status":                               {second(policy.Scan{Status: "odd"}), "scanStatus: " + arm64 + `unknown scan status "odd", allowed success`},
		"one never scanned":                               {second(unscanned), "notScanned: " + arm64 + "never scanned"},
		"one being scanned for the first time":            {second(first), "notScanned: " + arm64 + noResult},
		"one being scanned again":                         {second(pending(), before(architectures(clean, clean))), ""},
		"one being scanned again after a bad result":      {second(pending(), before(architectures(clean, scan(8, 0, 0)))), vulnerabilities(arm64, 8)},
		"two of one digest, scanned again after the second was bad": {with(twins(pending()), before(twins(scan(8, 0, 0)))),
			vulnerabilities(amd64, 8)},
		"two of one digest, scanned again after the second failed": {with(twins(pending()), before(twins(failed))),
			"notScanned: " + amd64 + noResult},
		"one of them vulnerable in a row that is not called one of several": {with(architectures(clean, scan(7, 0, 0)), uncalled),
			vulnerabilities(arm64, 7)},
		"numbers that such a row lacks": {with(architectures(clean, clean), uncalled, uncounted),
			"maliciousFiles: number of malicious files unknown, allowed 0"},
		"none listed": {with(unlisted), "notScanned: HSS lists none of its architectures"},
		"scanned again, what the row still shows may be a part": {rescanned(showing(clean), architectures(again(0), again(0))), never},
		"scanned again, what it shows of one fails": {rescanned(showing(clean), architectures(again(0), again(1))),
			never + "\nvulnerabilities: " + arm64 + "1 vulnerability, allowed 0"},
		"a new architecture has no earlier result": {rescanned(showing(clean), architectures(again(0), unscanned)),
			"notScanned: " + arm64 + "never scanned\n" + never},
		"the last completed scan of all": {rescanned(architectures(first, first), before(architectures(clean, scan(2, 0, 0)))),
			vulnerabilities(arm64, 2)},
		"a last scan that lists none of them is none": {rescanned(architectures(first, first), before(unlisted)), never},
	})
}

func TestOneArchitectureIsPinned(t *testing.T) {
	t.Parallel()
	clean := pinned(scan(0, 0, 0))
	high := func(r *policy.Record) { r.Severity = v1alpha1.SeverityHigh }
	old := func(r *policy.Record) { r.ScannedAt, r.UpdatedAt = ago(30*day), time.Time{} }
	another := func(r *policy.Record) { r.Architectures[0].Digest = amd64Digest }
	runRequirement(t, strict(), map[string]requirementCase{
		"its scan passes, whatever the row's":      {with(vulnerable(9), clean), ""},
		"its scan fails":                           {with(pinned(scan(9, 0, 0))), "vulnerabilities: 9 vulnerabilities, allowed 0"},
		"the row's severity counts":                {with(high, clean), "severityLevel: severity High, allowed Medium"},
		"the row's times count":                    {with(old, clean), "scanAge: scanned 30 days ago, allowed 7 days"},
		"the row's failed scan doesn't count":      {with(status("failed"), clean), ""},
		"its own failed scan counts":               {with(pinned(policy.Scan{Status: "failed"})), "scanStatus: scan failed, allowed success"},
		"its first scan":                           {with(pinned(pending())), never},
		"its last completed scan":                  {with(pinned(pending()), before(pinned(scan(3, 0, 0)))), "vulnerabilities: 3 vulnerabilities, allowed 0"},
		"its last completed scan among others":     {with(pinned(pending()), before(architectures(scan(9, 0, 0), scan(0, 0, 0)))), ""},
		"another architecture's scan says nothing": {with(pinned(pending()), before(clean, another)), never},
		"the row is scanned again and shows its result": {rescanned(showing(scan(0, 0, 0)), pinned(pending())),
			never + "\nvulnerabilities: number of vulnerabilities unknown, allowed 0\n" +
				"maliciousFiles: number of malicious files unknown, allowed 0\n" +
				"unsafeSettings: number of unsafe settings unknown, allowed 10"},
		"pinned, but not listed": {with(func(r *policy.Record) { r.PinnedArchitecture = true }),
			"notScanned: HSS lists none of its architectures"},
	})
}

func TestArchitecturesWithoutADigest(t *testing.T) {
	t.Parallel()
	nameless := func(id, digest string) policy.Record {
		return with(pinned(scan(1, 0, 0)), func(r *policy.Record) {
			r.PinnedArchitecture, r.Architectures[0].ID, r.Architectures[0].Digest = false, id, digest
		})
	}
	runRequirement(t, strict(), map[string]requirementCase{
		"are named by their id":   {nameless("77", ""), "vulnerabilities: architecture 77: 1 vulnerability, allowed 0"},
		"or by nothing":           {nameless("", ""), "vulnerabilities: architecture without digest: 1 vulnerability, allowed 0"},
		"a short digest is whole": {nameless("", "sha256:12"), "vulnerabilities: architecture sha256:12: 1 vulnerability, allowed 0"},
	})
}

func TestScannedDigest(t *testing.T) {
	t.Parallel()
	clean := scan(0, 0, 0)
	neverScanned := func(r *policy.Record) { r.ScannedAt, r.Severity = time.Time{}, "" }
	pushedSince := func(r *policy.Record) { r.UpdatedAt = ago(time.Hour) }
	type testCase struct {
		facts *policy.Facts
		want  policy.PinObstacle
		says  string
	}
	each(t, map[string]testCase{
		"a scanned image has one":                                 {found(cleanRecord()), "", ""},
		"a bad image has one too":                                 {found(with(vulnerable(9))), "", ""},
		"a stale answer has one":                                  {&policy.Facts{State: policy.StateFound, Stale: true, Records: []policy.Record{cleanRecord()}}, "", ""},
		"two records of one digest agree":                         {found(cleanRecord(), cleanRecord()), "", ""},
		"one of two records of one digest was scanned":            {found(with(status("unscan"), neverScanned), cleanRecord()), "", ""},
		"a multi-architecture image has that of the whole":        {found(with(architectures(clean, clean))), "", ""},
		"a record that will be scanned again has the scanned one": {found(with(status("waiting_for_scan"))), "", ""},
		"an architecture that is scanned again was scanned":       {found(with(architectures(clean, pending()), before(architectures(clean, clean)))), "", ""},
		"an unknown image has none":                               {&policy.Facts{State: policy.StateNotFound, Reason: "HSS knows no such image"}, policy.PinNotFound, "HSS knows no such image"},
		"an unavailable one has none":                             {&policy.Facts{State: policy.StateUnavailable, Reason: "HSS did not answer"}, policy.PinUnavailable, "HSS did not answer"},
		"found without a record is no digest":                     {&policy.Facts{State: policy.StateFound}, policy.PinUnavailable, "no scan result available"},
		"an image that was never scanned has none":                {found(with(status("unscan"), neverScanned)), policy.PinNotScanned, "never scanned"},
		"nor one whose scan failed":                               {found(failed()), policy.PinNotScanned, "its scan ended with failed"},
		"nor one that was pushed after its scan":                  {found(with(pushedSince)), policy.PinNotScanned, "after its last scan"},
		"a row without a digest has none":                         {found(with(digestOf(""))), policy.PinNoDigest, "HSS reports no digest"},
		"a row whose digest is a tag has none":                    {found(with(digestOf("latest"))), policy.PinNoDigest, "HSS reports an invalid digest: latest"},
		"a cut digest is none":                                    {found(with(digestOf(digest[:70]))), policy.PinNoDigest, "an invalid digest: sha256:111"},
		"one of another algorithm is none":                        {found(with(digestOf("sha512:" + strings.Repeat("1", 128)))), policy.PinNoDigest, "invalid digest"},
		"one in capitals is none":                                 {found(with(digestOf("sha256:" + strings.Repeat("A", 64)))), policy.PinNoDigest, "invalid digest"},
		"one with a line break is none, and stays on one line":    {found(with(digestOf(digest[:70] + "\n"))), policy.PinNoDigest, "an invalid digest: sha256:" + strings.Repeat("1", 63)},
		"two records of two digests are ambiguous":                {found(cleanRecord(), with(digestOf(otherDigest))), policy.PinAmbiguous, digest + " and " + otherDigest},
		"even if only one of them was scanned":                    {found(cleanRecord(), with(digestOf(otherDigest), status("unscan"), neverScanned)), policy.PinAmbiguous, "several digests"},
		"a record without a digest may be another image":          {found(cleanRecord(), with(digestOf(""))), policy.PinNoDigest, "HSS reports no digest"},
		"an architecture's digest is not the image's":             {found(with(architectures(clean, clean), digestOf(amd64Digest))), policy.PinArchitecture, "one architecture: " + amd64Digest},
		"nor is it in a row that isn't called one of several":     {found(with(architectures(clean, clean), digestOf(arm64Digest), func(r *policy.Record) { r.MultiArch = false })), policy.PinArchitecture, "one architecture"},
		"nor that of another record's architecture":               {found(with(digestOf(arm64Digest)), with(architectures(clean, clean), digestOf(arm64Digest))), policy.PinArchitecture, "one architecture"},
		"every architecture must have been scanned":               {found(with(architectures(clean, pending()))), policy.PinNotScanned, "architecture sha256:bbbbbbbbbbbb…: being scanned, and no completed scan is known"},
		"and its scan must have succeeded":                        {found(with(architectures(clean, policy.Scan{Status: "failed"}))), policy.PinNotScanned, "architecture sha256:bbbbbbbbbbbb…: its scan ended with failed"},
	}, func(t *testing.T, c testCase) {
		got := policy.ScannedDigest(c.facts, language.English)
		if got.Obstacle != c.want || !strings.Contains(got.Message, c.says) || strings.Contains(got.Message, "\n") {
			t.Errorf("got obstacle %q: %s\nwant %q: …%s…", got.Obstacle, got.Message, c.want, c.says)
		}
		if want := (got.Obstacle == ""); (got.Digest == digest) != want || (got.Digest == "") == want {
			t.Errorf("got digest %q with obstacle %q", got.Digest, got.Obstacle)
		}
	})
}
