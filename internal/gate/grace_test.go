package gate_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	ranDigest    = "sha256:7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa"
	week         = 7 * 24 * time.Hour
	underGrace   = "until 2026-11-28T12:00:00Z: it ran here and passed before"
	highFindings = "severity High, allowed Medium; 111 vulnerabilities, allowed 0"
	rebuild      = "to do: rebuild the image with fixed packages, push it, and have HSS scan it"
)

func forgiving(s *v1alpha1.ImageScanPolicySpec) {
	s.Grace = &v1alpha1.Grace{Period: metav1.Duration{Duration: week}}
}

// granted is the grace of an image that turned bad two days ago.
func granted(e *v1alpha1.ImageScanException) {
	turned := now.Add(-48 * time.Hour)
	e.Name, e.Labels, e.CreationTimestamp = "grace-p-7cc4", map[string]string{v1alpha1.GraceLabel: "p"}, metav1.NewTime(turned)
	e.Spec.Images, e.Spec.Reason, e.Spec.ExpiresAt = []string{ranDigest}, "grace", metav1.NewTime(turned.Add(week))
}

// newGraceGate knows a bad prod/high with a digest, which has grace by policy p.
func newGraceGate(t *testing.T, p ...*v1alpha1.ImageScanPolicy) (*gate.Gate, *inventory) {
	t.Helper()
	g, inv := newGate(t, p...)
	withDigest(inv)
	withExceptions(t, g, exception(granted))
	return g, inv
}

func withDigest(inv *inventory) {
	for path, facts := range inv.facts {
		if len(facts.Records) > 0 && path != "prod/clean" {
			facts.Records[0].Digest = ranDigest
		}
	}
}

func TestGrace(t *testing.T) {
	t.Parallel()
	noMalware := func(s *v1alpha1.ImageScanPolicySpec) { s.Require.MaliciousFiles = &v1alpha1.CountRequirement{} }
	noDev := func(s *v1alpha1.ImageScanPolicySpec) {
		s.Require.Expressions = []v1alpha1.Expression{{Expression: "image.tag != '1'", Message: "no such tag"}}
	}
	// ran gives the images the digest that ran, and changes prod/high.
	ran := func(change func(*policy.Record)) func(*inventory) {
		return func(inv *inventory) {
			withDigest(inv)
			if change != nil {
				change(&inv.facts["prod/high"].Records[0])
			}
		}
	}
	malware := func(r *policy.Record) { r.Scan.MaliciousFiles = new(1) }
	unknown := func(r *policy.Record) { r.Digest = strings.Replace(ranDigest, "7", "8", 1) }
	unscanned := func(r *policy.Record) { r.Scan.Status, r.Severity = v1alpha1.ScanStatusUnscan, "" }
	failed := func(r *policy.Record) { r.Scan.Status = v1alpha1.ScanStatusFailed }
	decide(t, map[string]decision{
		"an image that ran and passed":                {all(strict("p", forgiving)), exception(granted), ran(nil), pod(swr + "high:1"), gate.Admitted, effects("Warn")},
		"by another tag of the same digest":           {all(strict("p", forgiving)), exception(granted), ran(nil), pod(swr + "high:2"), gate.Admitted, effects("Warn")},
		"in a template that would be denied":          {all(strict("p", forgiving, denyTemplates)), exception(granted), ran(nil), template(swr + "high:1"), gate.Admitted, effects("Warn")},
		"in a template":                               {all(strict("p", forgiving)), exception(granted), ran(nil), template(swr + "high:1"), gate.Admitted, effects("Warn")},
		"whose scan failed":                           {all(strict("p", forgiving)), exception(granted), ran(failed), pod(swr + "high:1"), gate.Admitted, effects("Warn")},
		"by a policy that forbids exceptions":         {all(strict("p", forgiving, forbids)), exception(granted), ran(nil), pod(swr + "high:1"), gate.Admitted, effects("Warn")},
		"but not in another namespace":                {all(strict("p", forgiving)), exception(granted), ran(nil), in("dev", pod(swr+"high:1")), gate.Denied, effects("Deny")},
		"but no other digest":                         {all(strict("p", forgiving)), exception(granted), ran(unknown), pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"but not by a policy that gives none":         {all(strict("p")), exception(granted), ran(nil), pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"but not by a policy that it did not pass":    {all(strict("p", forgiving), strict("q", forgiving)), exception(granted), ran(nil), pod(swr + "high:1"), gate.Denied, effects("Warn", "Deny")},
		"but not with malware":                        {all(strict("p", forgiving, noMalware)), exception(granted), ran(malware), pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"but not without the digest that is required": {all(strict("p", forgiving, needsDigest)), exception(granted), ran(nil), pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"but not by a name that is forbidden":         {all(strict("p", forgiving, noDev)), exception(granted), ran(nil), pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"but not unscanned":                           {all(strict("p", forgiving)), exception(granted), ran(unscanned), pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"and an unreachable HSS stays unavailable":    {all(strict("p", forgiving)), exception(granted), ran(nil), pod(swr + "gone:1"), gate.Unavailable, effects("Deny")},
		"and an audited one needs none":               {all(strict("p", forgiving, enforcement("Audit"))), exception(granted), ran(nil), pod(swr + "high:1"), gate.Admitted, effects("Audit")},
		"and each image of a pod for itself":          {all(strict("p", forgiving)), exception(granted), ran(nil), pod(swr+"high:1", swr+"unknown:1"), gate.Denied, effects("Warn", "Deny")},
	})
}

// Two replicas that read the same history say the same, to the second.
func TestAGraceEndsOnTheSecond(t *testing.T) {
	t.Parallel()
	end := now.Add(-48 * time.Hour).Add(week)
	line := `container "c0": ` + swr + "high:1 — " + highFindings + " [policy p]"
	for at, want := range map[time.Time]string{
		end.Add(-week + time.Second): line + " (grace " + underGrace + ")\n" + rebuild,
		end.Add(-time.Nanosecond):    line + " (grace " + underGrace + ")\n" + rebuild,
		end:                          "",
		end.Add(1000 * time.Hour):    "",
	} {
		g, _ := newGraceGate(t, strict("p", forgiving))
		g.Clock = clocktesting.NewFakePassiveClock(at)
		d := g.Decide(t.Context(), pod(swr+"high:1"))
		wantEqual(t, at.String(), want, strings.Join(d.Warnings(), "\n"))
		denial := line + " (grace ended at 2026-11-28T12:00:00Z)\n"
		if (want == "") != strings.Contains(d.Message(), denial) {
			t.Errorf("%s: got message %q", at, d.Message())
		}
	}
}

func TestExceptionsGoBeforeGraces(t *testing.T) {
	t.Parallel()
	g, _ := newGraceGate(t, strict("p", forgiving))
	withExceptions(t, g, exception(granted), exception())
	r := pod(swr + "high:1")
	r.Sightings = true
	d := g.Decide(t.Context(), r)
	if len(d.Violations) != 1 || d.Violations[0].Effect != gate.EffectExcepted || d.Violations[0].UnderGrace() {
		t.Errorf("got %+v", d.Violations)
	}
	if len(d.Sightings) != 1 || d.Sightings[0].Passed || !d.Sightings[0].Bad {
		t.Errorf("what an exception admits has passed: %+v", d.Sightings)
	}
}

func TestSightings(t *testing.T) {
	t.Parallel()
	g, inv := newGraceGate(t, strict("p", forgiving), strict("q"))
	clean := scanned("Low", 0)
	clean.Records[0].Digest = ranDigest
	inv.facts["prod/clean"] = clean
	malware := scanned("High", 3)
	malware.Records[0].Digest, malware.Records[0].Scan.Status = ranDigest, "failed"
	inv.facts["prod/failed"] = malware
	r := pod(swr+"clean:1", swr+"high:1", swr+"gone:1", swr+"stale:1", swr+"unknown:1", "Not/An:Image", swr+"failed:1")
	wantEqual(t, "sightings that were not requested", nil, g.Decide(t.Context(), r).Sightings)
	r.Sightings = true
	digests := []policy.Digests{{Image: ranDigest}}
	use := func(n int) image.Use { return r.Workload.Uses[n] }
	want := []gate.Sighting{
		{Use: use(0), Policy: "p", Digests: digests, Passed: true, Covered: true},
		{Use: use(1), Policy: "p", Digests: digests, Bad: true, Covered: true},
		{Use: use(6), Policy: "p", Digests: digests, Bad: true, Covered: true},
	}
	wantEqual(t, "sightings", want, g.Decide(t.Context(), r).Sightings)
}

// A policy that counts only some vulnerabilities is passed by an image that has others, once these are known one by one; until then it is unknown.
func TestASightingIsOfTheVulnerabilitiesThatCount(t *testing.T) {
	t.Parallel()
	lesser := narrowed(func(r *v1alpha1.Requirements) {
		r.Vulnerabilities.MinSeverity, r.IgnoreVulnerabilities = v1alpha1.SeverityHigh, ignored(time.Hour, "CVE-2024-1111")
	})
	high := narrowed(func(r *v1alpha1.Requirements) { r.Vulnerabilities.MinSeverity = v1alpha1.SeverityHigh })
	for name, tt := range map[string]struct {
		narrow      func(*v1alpha1.ImageScanPolicySpec)
		image       string
		passed, bad bool
	}{
		"none that counts":    {lesser, "two:1", true, false},
		"one that counts":     {high, "two:1", false, true},
		"they are not listed": {lesser, "unlisted:1", false, false},
	} {
		g, l := listing(t, strict("p", forgiving, tt.narrow))
		withDigest(l.inventory)
		r := pod(swr + tt.image)
		r.Sightings = true
		d := g.Decide(t.Context(), r)
		passed := slices.ContainsFunc(d.Sightings, func(s gate.Sighting) bool { return s.Passed })
		bad := slices.ContainsFunc(d.Sightings, func(s gate.Sighting) bool { return s.Bad })
		wantEqual(t, name+": passed and bad", [2]bool{tt.passed, tt.bad}, [2]bool{passed, bad})
	}
}
