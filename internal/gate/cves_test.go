package gate_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	inventorypkg "github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// tenant is an HSS, and a gate whose inventory calls it.
type tenant struct {
	*gate.Gate

	hss       *hsstest.Server
	inventory *inventorypkg.Inventory
	clock     *clocktesting.FakeClock
}

func newTenant(t testing.TB, p *v1alpha1.ImageScanPolicy, images ...hsstest.Image) *tenant {
	t.Helper()
	s := &tenant{clock: clocktesting.NewFakeClock(now), hss: hsstest.NewServer(hsstest.WithoutAuthentication(), hsstest.WithClock(func() time.Time { return now }), hsstest.WithImages(images...))}
	t.Cleanup(s.hss.Close)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("any"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("test.yaml", fmt.Appendf(nil, `
apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects: [{name: main, endpoint: %q, projectID: p1, requestsPerSecond: 1000, credentials: {source: TokenFile, tokenFile: %q}}]
registries: [{name: swr, hosts: [%s]}]
`, s.hss.URL, token, strings.TrimSuffix(swr, "/prod/")))
	if err != nil {
		t.Fatal(err)
	}
	clients, err := inventorypkg.NewClients(c, "hssgate/test")
	if err != nil {
		t.Fatal(err)
	}
	if s.inventory, err = inventorypkg.New(inventorypkg.Options{Config: c, Clients: clients, Clock: s.clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.inventory.Close)
	s.Gate, _ = newGate(t, p)
	s.Facts, s.Clock = s.inventory, s.clock
	return s
}

// requiring is a policy with requirements, and nothing else.
func requiring(change func(*v1alpha1.Requirements)) *v1alpha1.ImageScanPolicy {
	p := &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	change(&p.Spec.Require)
	return p
}

func forbidding(ids ...string) *v1alpha1.ImageScanPolicy {
	return requiring(func(r *v1alpha1.Requirements) { r.ForbiddenVulnerabilities = ids })
}

// vulnerable is an image that was scanned an hour ago.
func vulnerable(name string, found ...hsstest.Vulnerability) hsstest.Image {
	return hsstest.Image{
		Namespace: "prod", ImageName: name, ImageVersion: "1", ImageType: "private_image", RegistryType: "SwrPrivate", ScanStatus: "success",
		ImageID: "id-" + name, ImageDigest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name))), SeverityLevel: "High",
		LatestScanTime: now.Add(-time.Hour), LatestUpdateTime: now.Add(-2 * time.Hour), LatestSyncTime: now.Add(-time.Hour),
		VulNum: hsstest.Count(len(found)), UnsafeSettingNum: hsstest.Count(0), MaliciousFileNum: hsstest.Count(0), Vulnerabilities: found,
	}
}

const log4Shell = "CVE-2021-44228"

// vulnerabilityOf is one by an ID, with CVEs.
func vulnerabilityOf(id string, cves ...hsstest.CVE) hsstest.Vulnerability {
	return hsstest.Vulnerability{VulID: id, RepairNecessity: "immediate_repair", AppName: "log4j", Version: "2.14", Solution: "2.17", CVEs: cves}
}

// advisory has log4Shell and a milder CVE, the older of which was published 60 days ago.
func advisory() hsstest.Vulnerability {
	return vulnerabilityOf("RHSA-2021:5137",
		hsstest.CVE{ID: log4Shell, CVSS: new(10.0), PublishedAt: now.Add(-60 * 24 * time.Hour)}, hsstest.CVE{ID: "CVE-2021-45046", CVSS: new(3.7), PublishedAt: now.Add(-24 * time.Hour)})
}

func mild() hsstest.Vulnerability {
	return vulnerabilityOf("CVE-2020-1", hsstest.CVE{ID: "CVE-2020-1", CVSS: new(5.0), PublishedAt: now.Add(-24 * time.Hour)})
}

func (s *tenant) wantOutcome(t testing.TB, name string, want gate.Outcome, says string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d := s.Decide(ctx, pod(swr+name+":1"))
	if lines := strings.Join(d.Lines(), "\n"); d.Outcome != want || !strings.Contains(lines, says) {
		t.Errorf("%s: %s, want %s; lines:\n%s\nwant: %s", name, d.Outcome, want, lines, says)
	}
}

// calls is how many requests HSS has had but for those by which images are found.
func (s *tenant) calls() int {
	stats := s.hss.Stats()
	return stats.Requests - stats.Endpoints[hsstest.EndpointImages].Requests
}

func TestDecisionsByCVEs(t *testing.T) {
	t.Parallel()
	const worst = "CVE-2021-44228 and 1 more (RHSA-2021:5137, CVSS 10.0) log4j 2.14 → 2.17"
	unscored := vulnerabilityOf("CVE-2020-2", hsstest.CVE{ID: "CVE-2020-2"})
	vulnerabilities := func(v v1alpha1.VulnerabilityRequirement, ids ...string) *v1alpha1.ImageScanPolicy {
		return requiring(func(r *v1alpha1.Requirements) {
			r.Vulnerabilities, r.IgnoreVulnerabilities = &v, ignored(time.Hour, ids...)
		})
	}
	expression := func(source string) *v1alpha1.ImageScanPolicy {
		return requiring(func(r *v1alpha1.Requirements) { r.Expressions = []v1alpha1.Expression{{Expression: source}} })
	}
	old := v1alpha1.VulnerabilityRequirement{OlderThan: metav1.Duration{Duration: 30 * 24 * time.Hour}}
	tests := map[string]struct {
		policy *v1alpha1.ImageScanPolicy
		found  []hsstest.Vulnerability
		want   gate.Outcome
		says   string
	}{
		"scores that are lower pass":        {vulnerabilities(v1alpha1.VulnerabilityRequirement{MinCVSS: 7}), []hsstest.Vulnerability{mild()}, gate.Admitted, ""},
		"an advisory's highest score":       {vulnerabilities(v1alpha1.VulnerabilityRequirement{MinCVSS: 7}), []hsstest.Vulnerability{mild(), advisory()}, gate.Denied, "1 vulnerability, allowed 0 (of CVSS 7.0 or more; 2 in all; worst: " + worst},
		"an unknown score":                  {vulnerabilities(v1alpha1.VulnerabilityRequirement{MinCVSS: 7}), []hsstest.Vulnerability{mild(), unscored}, gate.Denied, "of unknown score: 1; worst: CVE-2020-2 log4j"},
		"new ones pass":                     {vulnerabilities(old), []hsstest.Vulnerability{mild()}, gate.Admitted, ""},
		"an advisory's oldest":              {vulnerabilities(old), []hsstest.Vulnerability{mild(), advisory()}, gate.Denied, "1 vulnerability, allowed 0 (published more than 30 days ago; 2 in all; worst: " + worst},
		"an unknown time":                   {vulnerabilities(old), []hsstest.Vulnerability{mild(), unscored}, gate.Denied, "worst: CVE-2020-2"},
		"a CVE of an advisory is forbidden": {forbidding(log4Shell), []hsstest.Vulnerability{mild(), advisory()}, gate.Denied, "has forbidden CVE-2021-44228 (listed by HSS as RHSA-2021:5137)"},
		"others are not":                    {forbidding(log4Shell), []hsstest.Vulnerability{mild()}, gate.Admitted, ""},
		"an advisory is forbidden":          {forbidding("RHSA-2021:5137"), []hsstest.Vulnerability{advisory()}, gate.Denied, "has forbidden RHSA-2021:5137"},
		"one of two CVEs is ignored":        {vulnerabilities(v1alpha1.VulnerabilityRequirement{}, log4Shell), []hsstest.Vulnerability{advisory()}, gate.Denied, worst},
		"both are":                          {vulnerabilities(v1alpha1.VulnerabilityRequirement{}, log4Shell, "CVE-2021-45046"), []hsstest.Vulnerability{advisory()}, gate.Admitted, ""},
		"an expression that is true":        {expression("!image.findings.exists(f, f.cvss >= 9.0 && f.fixed)"), []hsstest.Vulnerability{mild()}, gate.Admitted, ""},
		"an expression that is false":       {expression("!image.findings.exists(f, f.cvss >= 9.0 && f.fixed)"), []hsstest.Vulnerability{mild(), advisory()}, gate.Denied, "is not true"},
		"an expression over times":          {expression("image.findings.all(f, now - f.publishedAt < duration('720h'))"), []hsstest.Vulnerability{mild()}, gate.Admitted, ""},
		"one that passes without a list":    {expression("!has(image.findings) || image.findings.size() == 0"), []hsstest.Vulnerability{mild()}, gate.Denied, "is not true"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTenant(t, tt.policy, vulnerable("app", tt.found...), vulnerable("elsewhere", advisory()))
			s.wantOutcome(t, "app", tt.want, tt.says)
			calls := s.calls()
			s.wantOutcome(t, "app", tt.want, tt.says)
			if more := s.calls() - calls; more > 0 {
				t.Errorf("%d more calls for a known image", more)
			}
		})
	}
}

func TestExceptionsByCVEs(t *testing.T) {
	t.Parallel()
	for ids, want := range map[[2]string]gate.Outcome{{log4Shell, "CVE-2021-45046"}: gate.Admitted, {log4Shell, "CVE-2020-1"}: gate.Denied} {
		s := newTenant(t, strict("p"), vulnerable("app", advisory()))
		withExceptions(t, s.Gate, exception(excepting(swr+"**"), naming(ids[:]...)))
		s.wantOutcome(t, "app", want, "")
	}
}

func TestWithoutDetailsTheStricterReadingDecides(t *testing.T) {
	t.Parallel()
	scores := requiring(func(r *v1alpha1.Requirements) { r.Vulnerabilities = &v1alpha1.VulnerabilityRequirement{MinCVSS: 7} })
	details := []hsstest.Endpoint{hsstest.EndpointCVEs, hsstest.EndpointImageVulnerabilities, hsstest.EndpointAffectedImages}
	other := vulnerabilityOf("RHSA-2020:1", hsstest.CVE{ID: "CVE-2020-9", CVSS: new(2.0)})
	tests := map[string]struct {
		policy *v1alpha1.ImageScanPolicy
		found  hsstest.Vulnerability
		down   []hsstest.Endpoint
		want   gate.Outcome
		says   string
	}{
		"scores":                              {scores, mild(), details, gate.Denied, "of unknown score: 1; worst: CVE-2020-1 log4j"},
		"scores by the vulnerability alone":   {scores, mild(), details[1:], gate.Admitted, ""},
		"scores by the list of all":           {scores, mild(), details[:1], gate.Admitted, ""},
		"an advisory that may be forbidden":   {forbidding(log4Shell), other, details, gate.Denied, "may have forbidden CVE-2021-44228: CVEs are unknown: worst: RHSA-2020:1"},
		"one that is not, by its CVEs":        {forbidding(log4Shell), other, details[2:], gate.Admitted, ""},
		"a CVE that is not the forbidden":     {forbidding(log4Shell), mild(), details, gate.Admitted, ""},
		"no list, and no index":               {forbidding(log4Shell), mild(), append(details, hsstest.EndpointVulnerabilities), gate.Denied, "may have forbidden CVE-2021-44228: its vulnerabilities are not known one by one: "},
		"no list, and an index of the others": {forbidding(log4Shell), mild(), []hsstest.Endpoint{hsstest.EndpointVulnerabilities}, gate.Admitted, ""},
		"no list, and the image has it":       {forbidding(log4Shell), advisory(), []hsstest.Endpoint{hsstest.EndpointVulnerabilities}, gate.Denied, "has forbidden CVE-2021-44228 (listed by HSS as RHSA-2021:5137)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTenant(t, tt.policy, vulnerable("app", tt.found), vulnerable("elsewhere", advisory()))
			for _, e := range tt.down {
				s.hss.Inject(hsstest.StatusFault(http.StatusForbidden).ForEndpoint(e).Times(1000))
			}
			s.wantOutcome(t, "app", tt.want, tt.says)
		})
	}
}

// A new entry is in force for 10,000 known images with 2,000 vulnerabilities at a few calls, not at one for each image, nor
// for each that has it.
func TestANewForbiddenVulnerabilityCostsFewCalls(t *testing.T) {
	t.Parallel()
	const images, vulnerabilities, affected, others = 10_000, 2_000, 100, 100
	all := make([]hsstest.Image, images)
	for i := range all {
		one := vulnerabilityOf(fmt.Sprintf("CVE-2020-%d", 1000+i%vulnerabilities), hsstest.CVE{ID: fmt.Sprintf("CVE-2020-%d", 1000+i%vulnerabilities), CVSS: new(5.0)})
		all[i] = vulnerable(fmt.Sprintf("app-%05d", i), one)
		if i%(images/affected) == 0 {
			all[i].Vulnerabilities = append(all[i].Vulnerabilities, advisory())
		}
	}
	for name, background := range map[string]bool{"admissions": false, "the audit": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTenant(t, forbidding(log4Shell), all...)
			if background {
				s.Facts, s.Patient = s.inventory.Background(), true
			}
			wrong, asked := 0, 0
			for i := range all {
				if i%(images/affected) != 0 && i%(images/others) != 1 { // what the fake answers takes long, not what is decided
					continue
				}
				asked++
				want := gate.Admitted
				if i%(images/affected) == 0 {
					want = gate.Denied
				}
				if d := s.Decide(t.Context(), pod(fmt.Sprintf("%sapp-%05d:1", swr, i))); d.Outcome != want {
					wrong++
				}
			}
			if calls := s.calls(); wrong > 0 || asked != affected+others || calls > 10 {
				t.Errorf("%d of %d decisions are wrong, by %d calls: want at most 10", wrong, asked, calls)
			}
		})
	}
}

// A list that is in memory names the package. An exception is for what the index shows, too.
func TestADenialByTheIndexNamesWhatIsKnown(t *testing.T) {
	t.Parallel()
	s := newTenant(t, requiring(func(r *v1alpha1.Requirements) {
		r.ForbiddenVulnerabilities, r.Vulnerabilities = []string{log4Shell}, &v1alpha1.VulnerabilityRequirement{Max: 1}
	}), vulnerable("one", advisory()), vulnerable("two", advisory(), mild()))
	s.wantOutcome(t, "two", gate.Denied, "has forbidden CVE-2021-44228 (worst: RHSA-2021:5137 log4j 2.14 → 2.17)")
	s.wantOutcome(t, "one", gate.Denied, "has forbidden CVE-2021-44228 (listed by HSS as RHSA-2021:5137)")
	calls := s.calls()
	s.wantOutcome(t, "one", gate.Denied, "has forbidden CVE-2021-44228 (listed by HSS as RHSA-2021:5137)")
	withExceptions(t, s.Gate, exception(excepting(swr+"**"), naming(log4Shell)))
	s.wantOutcome(t, "one", gate.Denied, "has forbidden CVE-2021-44228 (listed by HSS as RHSA-2021:5137)")
	withExceptions(t, s.Gate, exception(excepting(swr+"**"), naming(log4Shell, "CVE-2021-45046")))
	s.wantOutcome(t, "one", gate.Admitted, "Excepted: ")
	if more := s.calls() - calls; more > 0 {
		t.Errorf("%d more calls", more)
	}
}

func TestAKnownImageDoesNotWaitForAnIndexThatIsOld(t *testing.T) {
	t.Parallel()
	s := newTenant(t, forbidding(log4Shell), vulnerable("app", mild()), vulnerable("elsewhere", advisory()))
	s.wantOutcome(t, "app", gate.Admitted, "")
	ref, err := image.Parse(swr + "app:1")
	if err != nil {
		t.Fatal(err)
	}
	s.clock.Step(6 * time.Minute)
	s.hss.Inject(hsstest.HangFault().Times(1000))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := s.inventory.Affected(ended, ref, []string{log4Shell}); len(got) != 1 {
		t.Errorf("%d indexes are known at once, want 1", len(got))
	}
	if got := s.inventory.Affected(ended, ref, []string{"CVE-2020-1"}); len(got) != 0 {
		t.Errorf("%d indexes of a vulnerability that no policy has forbidden, want none", len(got))
	}
}

func TestCVEsThatAreLearnedLaterCountForAKnownList(t *testing.T) {
	t.Parallel()
	s := newTenant(t, requiring(func(r *v1alpha1.Requirements) { r.Vulnerabilities = &v1alpha1.VulnerabilityRequirement{MinCVSS: 7} }), vulnerable("app", mild()))
	for _, e := range []hsstest.Endpoint{hsstest.EndpointCVEs, hsstest.EndpointImageVulnerabilities} {
		s.hss.Inject(hsstest.StatusFault(http.StatusForbidden).ForEndpoint(e).Times(1000))
	}
	s.wantOutcome(t, "app", gate.Denied, "of unknown score: 1")
	s.wantOutcome(t, "app", gate.Denied, "of unknown score: 1")
	s.hss.ClearFaults()
	s.clock.Step(11 * time.Minute) // denied permission is tried again after ten
	s.wantOutcome(t, "app", gate.Admitted, "")
	calls := s.calls()
	s.wantOutcome(t, "app", gate.Admitted, "")
	if more := s.calls() - calls; more > 0 {
		t.Errorf("%d more calls", more)
	}
}

// TestListsOfSeveralKindsOfOneImage finds races between the look-ups of its architectures' lists.
func TestListsOfSeveralKindsOfOneImage(t *testing.T) {
	t.Parallel()
	i := vulnerable("app", mild())
	for _, arch := range []string{"amd64", "arm64"} {
		i.AssociationImages = append(i.AssociationImages, hsstest.Architecture{
			Namespace: i.Namespace, ImageName: i.ImageName, ImageVersion: i.ImageVersion, ImageType: i.ImageType, ScanStatus: i.ScanStatus, ImageID: "id-" + arch,
			ImageDigest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(arch))), VulNum: hsstest.Count(1), UnsafeSettingNum: hsstest.Count(0), MaliciousFileNum: hsstest.Count(0),
			Vulnerabilities: i.Vulnerabilities,
		})
	}
	s := newTenant(t, requiring(func(r *v1alpha1.Requirements) {
		r.Vulnerabilities, r.Secrets = &v1alpha1.VulnerabilityRequirement{MinCVSS: 7}, &v1alpha1.SecretRequirement{}
	}), i)
	for range 20 {
		s.wantOutcome(t, "app", gate.Admitted, "")
	}
}

func TestAScoreThatRisesCountsADayLater(t *testing.T) {
	t.Parallel()
	s := newTenant(t, requiring(func(r *v1alpha1.Requirements) { r.Vulnerabilities = &v1alpha1.VulnerabilityRequirement{MinCVSS: 7} }), vulnerable("app", mild()))
	s.wantOutcome(t, "app", gate.Admitted, "")
	worse := mild()
	worse.CVEs = []hsstest.CVE{{ID: "CVE-2020-1", CVSS: new(9.0), PublishedAt: now.Add(-24 * time.Hour)}}
	s.hss.SetImages(vulnerable("app", worse))
	s.clock.Step(25 * time.Hour)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) { // it is read in the background
		d := s.Decide(t.Context(), pod(swr+"app:1"))
		s.clock.Step(time.Minute)
		if d.Outcome == gate.Denied {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("got %s, want %s", d.Outcome, gate.Denied)
		}
	}
}

func TestIndexesOfSeveralPolicies(t *testing.T) {
	t.Parallel()
	s := newTenant(t, forbidding(log4Shell), vulnerable("app", advisory()), vulnerable("elsewhere", mild()))
	s.wantOutcome(t, "app", gate.Denied, "has forbidden CVE-2021-44228 (listed by HSS as RHSA-2021:5137) [policy p]")
	known := s.Policies()
	others, _ := newGate(t, forbidding("CVE-2020-1"), forbidding(log4Shell, "CVE-2020-1"))
	s.Policies = func() []*policy.Policy { return append(known, others.Policies()...) }
	for range 2 { // with an index that is not known, and with one that is
		s.wantOutcome(t, "app", gate.Denied, "has forbidden CVE-2021-44228 (listed by HSS as RHSA-2021:5137) [policy p]")
		s.wantOutcome(t, "elsewhere", gate.Denied, "has forbidden CVE-2020-1 [policy p]")
	}
	if lists := s.hss.Stats().Endpoints[hsstest.EndpointVulnerabilities].Requests; lists > 0 {
		t.Errorf("%d lists of images' own vulnerabilities, want none", lists)
	}
}

// byCVEs returns a function that decides about a random one of 200 known images with 20 vulnerabilities each, by a policy of
// numbers, or one that also reads CVEs. Unless the number is allowed, each image's list decides.
func byCVEs(t testing.TB, reads, allowed bool) (decide func()) {
	t.Helper()
	const images, each = 200, 20
	p := requiring(func(r *v1alpha1.Requirements) {
		r.SeverityLevel, r.Vulnerabilities = &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityHigh}, &v1alpha1.VulnerabilityRequirement{Max: each}
		if !allowed {
			r.Vulnerabilities.Max = 0
		}
		if reads {
			r.Vulnerabilities.MinCVSS, r.Vulnerabilities.OlderThan = 7, metav1.Duration{Duration: 30 * 24 * time.Hour}
			r.ForbiddenVulnerabilities = []string{log4Shell}
		}
	})
	all := []hsstest.Image{vulnerable("other", advisory())}
	for i := range images {
		var found []hsstest.Vulnerability
		for n := range each {
			id := fmt.Sprintf("CVE-2020-%d", 1000+(i*7+n)%500)
			found = append(found, vulnerabilityOf(id, hsstest.CVE{ID: id, CVSS: new(5.0), PublishedAt: now.Add(-24 * time.Hour)}))
		}
		all = append(all, vulnerable(fmt.Sprint("app-", i), found...))
	}
	s, want := newTenant(t, p, all...), gate.Admitted
	if !reads && !allowed {
		want = gate.Denied
	}
	requests := make([]gate.Request, images)
	for i := range requests {
		requests[i] = pod(fmt.Sprintf("%sapp-%d:1", swr, i))
		s.wantOutcome(t, fmt.Sprint("app-", i), want, "")
	}
	random, ctx := rand.New(rand.NewPCG(1, 2)), t.Context()
	return func() {
		if d := s.Decide(ctx, requests[random.IntN(images)]); d.Outcome != want {
			t.Fatal(d.Lines())
		}
	}
}

func TestADecisionByCVEsAllocatesLittle(t *testing.T) {
	if got := testing.AllocsPerRun(100, byCVEs(t, true, true)); got > 8 {
		t.Errorf("a decision by numbers, scores, ages and a forbidden vulnerability allocates %v times, want at most 8", got)
	}
	if got := testing.AllocsPerRun(100, byCVEs(t, true, false)); got > 45 { // 98 with a query and a copy of the list for each use
		t.Errorf("one that an image's list decides, which is in memory, allocates %v times, want at most 45", got)
	}
}

// BenchmarkDecideByCVEs compares decisions about known images by a policy of numbers with those by one that reads CVEs.
func BenchmarkDecideByCVEs(b *testing.B) {
	for _, c := range []struct{ reads, allowed bool }{{false, true}, {true, true}, {false, false}, {true, false}} {
		b.Run(fmt.Sprintf("CVEs=%t/lists=%t", c.reads, !c.allowed), func(b *testing.B) {
			decide := byCVEs(b, c.reads, c.allowed)
			took := make([]time.Duration, 0, 1<<20)
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				decide()
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
		})
	}
}
