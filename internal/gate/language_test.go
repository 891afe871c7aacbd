package gate_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// What stays as it is in Chinese: what is quoted, of the cluster or from outside; terms and values.
var (
	keptParts = regexp.MustCompile(`"[^"]*"|\x60[^\x60]*\x60|image:tag@sha256:…|(sha256:|swr\.)[\w./:@-]+|\[策略 [^]]*\]|base-image|waits for the base image, PLAT-217|repository name \(prod/Upper\) must be lowercase|CVE-[\d-]+[^；，）]*|\d{4}-\d\d-\d\dT[\d:]+Z|(?m)^(Deny|Warn|Audit|Excepted): `)
	keptWords = regexp.MustCompile(`\b(HSS|CVSS|hssgate|pod|deployment|Pod|Init|ID|ImageScanException|requestsPerSecond|HSSReachable|private_image|` +
		`Security|Low|Medium|High|failed|success|weird|[\d.]+[hms]+)\b`)
)

// inChinese has a gate decide in Chinese.
func inChinese(t *testing.T, g *gate.Gate) *gate.Gate {
	t.Helper()
	var translated []*policy.Policy
	for _, p := range g.Policies() {
		translated = append(translated, p.In(language.Chinese))
	}
	g.Policies, g.Language = func() []*policy.Policy { return translated }, language.Chinese
	return g
}

func strictest(s *v1alpha1.ImageScanPolicySpec) {
	s.Require = v1alpha1.Requirements{
		SeverityLevel: &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityLow}, Vulnerabilities: &v1alpha1.VulnerabilityRequirement{MinSeverity: v1alpha1.SeverityMedium, FixableOnly: true},
		MaliciousFiles: &v1alpha1.CountRequirement{}, UnsafeSettings: &v1alpha1.CountRequirement{Max: 1}, Digest: v1alpha1.DigestRequired,
		ScanAge: &v1alpha1.ScanAgeRequirement{Max: metav1.Duration{Duration: 90 * time.Minute}}, Expressions: []v1alpha1.Expression{{Expression: "image.multiArch"}},
	}
}

// records are what every kind of finding comes from.
func records() map[string]func(*policy.Record) {
	return map[string]func(*policy.Record){
		"everything": func(r *policy.Record) {
			r.Scan.MaliciousFiles, r.Scan.UnsafeSettings, r.ScannedAt = new(1), new(3), now.Add(-2*week)
			r.Scan.Vulnerabilities, r.Scan.Found = new(5), []policy.Vulnerability{{ID: "CVE-2026-1", Severity: "High", Package: "openssl", Fix: "3.0"}, {ID: "CVE-2026-2", Severity: "Low"}}
			r.UpdatedAt = now.Add(-3 * week)
		},
		"numbers":  func(r *policy.Record) { r.Severity, r.Scan = "", policy.Scan{Status: "success"} },
		"severity": func(r *policy.Record) { r.Severity, r.Scan.Unlisted = "weird", "HSS 未及时应答" },
		"failed":   func(r *policy.Record) { r.Scan.Status, r.Scan.FailedDescription = "failed", "认证失败" },
		"status":   func(r *policy.Record) { r.Scan.Status = "weird" },
		"never":    func(r *policy.Record) { r.Scan.Status = "unscan" },
		"waiting":  func(r *policy.Record) { r.Scan.Status, r.ScannedAt = "waiting_for_scan", time.Time{} },
		"scanning": func(r *policy.Record) { r.Scan.Status, r.ScannedAt = "scanning", time.Time{} },
		"updated":  func(r *policy.Record) { r.UpdatedAt = now },
		"timeless": func(r *policy.Record) { r.ScannedAt = time.Time{} },
		"future":   func(r *policy.Record) { r.ScannedAt = now.Add(3 * time.Hour) },
		"none":     func(r *policy.Record) { r.MultiArch = true },
		"several": func(r *policy.Record) {
			r.MultiArch, r.Architectures = true, []policy.Architecture{{Digest: ranDigest, Scan: policy.Scan{Status: "scanning"}}, {Scan: policy.Scan{Status: "failed"}}}
		},
	}
}

// TestEveryFindingIsInChinese denies, warns of and excepts an image for each reason that there is.
func TestEveryFindingIsInChinese(t *testing.T) {
	t.Parallel()
	g, inv := newGate(t, strict("p", strictest), strict("q", strictest, forgiving), strict("w", strictest, enforcement("Warn")))
	inChinese(t, g)
	withExceptions(t, g, exception(), exception(granted))
	paths := []string{"high", "clean", "stale", "absent", "Upper", "outage", "configuration", "overload", "size"}
	for cause, path := range paths[5:] {
		inv.facts["prod/"+path] = policy.Facts{State: policy.StateUnavailable, Cause: policy.Cause(cause)}
	}
	stale := inv.facts["prod/stale"]
	stale.StaleReason = "HSS 未及时应答"
	inv.facts["prod/stale"], inv.facts["prod/absent"] = stale, policy.Facts{State: policy.StateNotFound}
	for path, change := range records() {
		facts := scanned("High", 111)
		facts.Records = append(facts.Records, facts.Records[0])
		facts.Records[1].ID = "2"
		change(&facts.Records[0])
		inv.facts["prod/"+path], paths = facts, append(paths, path)
	}
	found := map[policy.Check]bool{}
	for _, path := range paths {
		for _, r := range []gate.Request{pod(swr+path, swr+"stale"), template(swr + path), in("secret", pod(swr+path))} {
			d := g.Decide(t.Context(), r)
			d.Scans = []string{"HSS"}
			for _, v := range d.Violations {
				for _, f := range v.Findings {
					found[f.Check] = true
				}
			}
			said := strings.Join(slices.Concat([]string{d.Message()}, d.Warnings(), d.DryWarnings(), d.Lines(), d.Notices), "\n")
			left := keptWords.ReplaceAllString(keptParts.ReplaceAllString(said, ""), "")
			if words := regexp.MustCompile(`[A-Za-z]{2,}.*`).FindString(left); words != "" || said == "" {
				t.Errorf("%s: %.80q is left in\n%.800s", path, words, said)
			}
		}
	}
	wantEqual(t, "kinds of findings", 12, len(found))
}

// TestTheGuideShowsADenialInChinese compares docs/zh-CN/install.md with what is said.
func TestTheGuideShowsADenialInChinese(t *testing.T) {
	t.Parallel()
	g, inv := newGate(t, strict("hssgate-default", func(s *v1alpha1.ImageScanPolicySpec) { s.Require.Vulnerabilities = nil }))
	inv.facts["prod/app"] = scanned("High", 0)
	r := pod(swr + "app:1.4")
	r.Name, r.Workload.Uses[0].Name = "try", "try"
	page, err := os.ReadFile("../../docs/zh-CN/install.md")
	if err != nil {
		t.Fatal(err)
	}
	d := inChinese(t, g).Decide(t.Context(), r)
	for _, want := range []string{"denied the request: " + d.Message() + "\n", "\nWarning: " + d.DryWarnings()[0] + "\n"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks\n%s", want)
		}
	}
}

func TestPoliciesThatFindTheSameShareALine(t *testing.T) {
	t.Parallel()
	milder := func(s *v1alpha1.ImageScanPolicySpec) { s.Require.Vulnerabilities.Max = 100 }
	g, _ := newGate(t, strict("baseline", milder), strict("production"), strict("z", milder, needsDigest))
	image := `container "c0": ` + swr + "high:1 — "
	want := `pod "web-7d4" denied by 3 policies: ` + image + "severity High, allowed Medium [policies baseline, production, z]\n- " +
		image + "111 vulnerabilities, allowed 100 [policies baseline, z]\n- " + image + "111 vulnerabilities, allowed 0 [policy production]\n- " +
		image + "image must be pinned by digest [policy z]\nto do: "
	d := g.Decide(t.Context(), pod(swr+"high:1"))
	if got := d.Message(); !strings.HasPrefix(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	r := pod(swr+"high:1", swr+"high:1")
	r.Workload.Uses[1].Name = "c0" // the API server refuses it later
	if again := g.Decide(t.Context(), r); again.Message() != d.Message() {
		t.Errorf("a container that is there twice: %s", again.Message())
	}
	var many []*v1alpha1.ImageScanPolicy
	for n := range 30 {
		many = append(many, strict(fmt.Sprintf("p%02d", n)))
	}
	g, _ = newGate(t, many...)
	d = g.Decide(t.Context(), pod(swr+"high:1"))
	if got := d.Message(); !strings.Contains(got, "p18, p19, and 10 more]\n") || strings.Count(got, swr) != 1 {
		t.Errorf("30 policies: %s", got)
	}
}
