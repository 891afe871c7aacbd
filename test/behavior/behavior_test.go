// Package behavior_test decides about images of which it is known what they contain, for every pair of readings of HSS's
// documentation and for many random combinations: the real client, inventory and gate, and the fake HSS of package hsstest
// with the switches of its Behavior. Nothing bad or unknown may be admitted, and nothing good denied, but for the cells that
// documented lists, which docs/reference/hss.md explains.
package behavior_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// content is what really runs: what a scan of it finds.
type content struct {
	scanned bool
	level   v1alpha1.Severity
	vulns   []hsstest.Vulnerability
	unsafe  int
	malware int
}

// rule is a policy with what it allows.
type rule struct {
	name    string
	require v1alpha1.Requirements
	allows  func(c *content) bool
}

func rules() []rule {
	none := &v1alpha1.CountRequirement{}
	severity := func(most v1alpha1.Severity, allowed ...v1alpha1.Severity) rule {
		return rule{"severity-" + string(most), v1alpha1.Requirements{SeverityLevel: &v1alpha1.SeverityRequirement{Max: most}},
			func(c *content) bool { return slices.Contains(append(allowed, most, "Security"), c.level) }}
	}
	return []rule{
		severity("High", "Medium", "Low"), severity("Medium", "Low"), severity("Low"), severity("Security"),
		{"vulnerabilities", v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{}}, func(c *content) bool { return len(c.vulns) == 0 }},
		{"vulnerabilities-High", v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{MinSeverity: "High"}},
			func(c *content) bool {
				return !slices.ContainsFunc(c.vulns, func(v hsstest.Vulnerability) bool { return v.RepairNecessity == "immediate_repair" })
			}},
		{"ignored", v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{}, IgnoreVulnerabilities: []v1alpha1.IgnoredVulnerability{
			{ID: "CVE-2026-1", Reason: "not reachable", ExpiresAt: metav1.NewTime(time.Now().AddDate(1, 0, 0))},
		}},
			func(c *content) bool {
				return !slices.ContainsFunc(c.vulns, func(v hsstest.Vulnerability) bool { return v.VulID != "CVE-2026-1" })
			}},
		{"forbidden", v1alpha1.Requirements{ForbiddenVulnerabilities: []string{"CVE-2026-3"}},
			func(c *content) bool {
				return !slices.ContainsFunc(c.vulns, func(v hsstest.Vulnerability) bool { return v.VulID == "CVE-2026-3" })
			}},
		{"malware", v1alpha1.Requirements{MaliciousFiles: none}, func(c *content) bool { return c.malware == 0 }},
		{"settings", v1alpha1.Requirements{UnsafeSettings: none}, func(c *content) bool { return c.unsafe == 0 }},
		{"scanned", v1alpha1.Requirements{ScanStatus: &v1alpha1.ScanStatusRequirement{In: []v1alpha1.ScanStatus{"success"}}}, func(*content) bool { return true }},
		{"recent", v1alpha1.Requirements{ScanAge: &v1alpha1.ScanAgeRequirement{Max: metav1.Duration{Duration: 7 * day}}}, func(*content) bool { return true }},
	}
}

const (
	day = 24 * time.Hour
	// pause is the time between two decisions about an image.
	pause = time.Hour
)

func found(level v1alpha1.Severity, unsafe, malware int, vulns ...string) *content {
	c := &content{scanned: true, level: level, unsafe: unsafe, malware: malware}
	for _, v := range vulns {
		id, necessity, _ := strings.Cut(v, " ")
		c.vulns = append(c.vulns, hsstest.Vulnerability{VulID: id, RepairNecessity: necessity, AppName: fmt.Sprint("package-", len(c.vulns))})
	}
	return c
}

// What images contain.
func clean() *content { return found("Security", 0, 0) }
func low() *content {
	return found("Low", 0, 0, "CVE-2026-1 not_needed_repair", "CVE-2026-1 not_needed_repair")
}
func medium() *content {
	return found("Medium", 1, 0, "CVE-2026-1 delay_repair", "CVE-2026-2 delay_repair")
}
func high() *content {
	return found("High", 0, 0, "CVE-2026-1 delay_repair", "CVE-2026-3 immediate_repair")
}
func malicious() *content {
	return found("High", 0, 1)
}
func unknown() *content { return &content{} }

// probe is a reference, and what really runs if it is admitted.
type probe struct {
	ref  string
	runs []*content
	// traits are those of the image that matter for what documented lists.
	traits string
	// rows are those that HSS has of the image, by what the documentation suggests. before are those that HSS had when
	// another pod of the image was admitted or denied; nil: there was none.
	rows, before []hsstest.Image
}

func (p *probe) has(trait string) bool { return slices.Contains(strings.Fields(p.traits), trait) }

// passes reports whether what runs is known and allowed.
func (p *probe) passes(r *rule) bool {
	return !slices.ContainsFunc(p.runs, func(c *content) bool { return !c.scanned || !r.allows(c) })
}

func digest(name string) string { return hsstest.DigestBefore(name) }

// row is the row of swr.example.com/prod/NAME:1 after a scan.
func row(now time.Time, name string, c *content, changes ...func(*hsstest.Image)) hsstest.Image {
	r := hsstest.Image{
		Namespace: "prod", ImageName: name, ImageVersion: "1", ImageDigest: digest(name), ImageID: digest(name)[7:], ImageType: "private_image",
		RegistryName: "swr", RegistryType: "SwrPrivate", ScanStatus: "success", SeverityLevel: string(c.level), ImageSize: 1000,
		VulNum: hsstest.Count(len(c.vulns)), UnsafeSettingNum: hsstest.Count(c.unsafe), MaliciousFileNum: hsstest.Count(c.malware), Vulnerabilities: c.vulns,
		LatestUpdateTime: now.Add(-5 * day), LatestScanTime: now.Add(-3 * day), LatestSyncTime: now.Add(-day),
	}
	for _, change := range changes {
		change(&r)
	}
	r.ID = idOf(fmt.Sprint(r.Namespace, r.ImageName, r.ImageVersion, r.RegistryName))
	return r
}

// idOf returns an ID that stays the same, whatever other rows there are.
func idOf(name string) int64 {
	h := fnv.New32()
	_, _ = h.Write([]byte(name)) // never fails
	return int64(h.Sum32())
}

// never makes a row one that has no scan yet.
func never(status string) func(*hsstest.Image) {
	return func(r *hsstest.Image) {
		r.ScanStatus, r.SeverityLevel, r.LatestScanTime, r.VulNum, r.UnsafeSettingNum, r.MaliciousFileNum = status, "", time.Time{}, nil, nil, nil
	}
}

func status(s string) func(*hsstest.Image) { return func(r *hsstest.Image) { r.ScanStatus = s } }

// parts gives a row architectures. The row's level is that of the worst.
func parts(all ...*content) func(*hsstest.Image) {
	return func(r *hsstest.Image) {
		r.MultiArch, r.VulNum, r.UnsafeSettingNum, r.MaliciousFileNum = true, nil, nil, nil
		for n, c := range all {
			d := digest(fmt.Sprint(r.ImageName, n))
			a := hsstest.Architecture{Namespace: r.Namespace, ImageName: r.ImageName, ImageVersion: r.ImageVersion, ImageType: r.ImageType,
				ImageDigest: d, ImageID: d[7:], ScanStatus: "unscan"}
			if c.scanned {
				a.ScanStatus, a.Vulnerabilities = "success", c.vulns
				a.VulNum, a.UnsafeSettingNum, a.MaliciousFileNum = hsstest.Count(len(c.vulns)), hsstest.Count(c.unsafe), hsstest.Count(c.malware)
			}
			r.AssociationImages = append(r.AssociationImages, a)
		}
	}
}

// registry puts a row into another registry.
func registry(imageType, name, registryType string) func(*hsstest.Image) {
	return func(r *hsstest.Image) { r.ImageType, r.RegistryName, r.RegistryType = imageType, name, registryType }
}

// probes are all images, each by its references.
func probes(now time.Time) (all []*probe) {
	add := func(p probe, refs ...string) {
		for _, ref := range refs {
			one := p
			one.ref = ref
			all = append(all, &one)
		}
	}
	const swr = "swr.example.com/prod/"
	// image adds one by tag, by tag and digest, and by digest.
	image := func(name, traits string, runs *content, rows, before []hsstest.Image) {
		p := probe{runs: []*content{runs}, rows: rows, before: before}
		p.traits = traits + " tag"
		add(p, swr+name+":1")
		p.traits = traits + " digest"
		add(p, swr+name+":1@"+digest(name))
		p.traits = traits + " digest untagged"
		add(p, swr+name+"@"+digest(name))
	}
	one := func(name string, c *content, changes ...func(*hsstest.Image)) []hsstest.Image {
		return []hsstest.Image{row(now, name, c, changes...)}
	}
	for name, c := range map[string]*content{"clean": clean(), "low": low(), "medium": medium(), "high": high(), "malicious": malicious()} {
		image(name, "", c, one(name, c), nil)
	}
	for name, c := range map[string]*content{"clean": clean(), "low": low(), "high": high()} {
		image("again-"+name, "rescan scanning", c, one("again-"+name, c, status("scanning")), one("again-"+name, c))
		image("waiting-"+name, "rescan waiting "+name, c, one("waiting-"+name, c, status("waiting_for_scan")), one("waiting-"+name, c))
	}
	image("team/clean", "nested", clean(), one("team/clean", clean()), nil)
	image("team/high", "nested", high(), one("team/high", high()), nil)
	for _, s := range []string{"unscan", "waiting_for_scan", "scanning"} {
		image("never-"+strings.ReplaceAll(s, "_", "-"), "", unknown(), one("never-"+strings.ReplaceAll(s, "_", "-"), clean(), never(s)), nil)
	}
	for _, s := range []string{"failed", "download_failed", "image_oversized"} {
		name := strings.ReplaceAll(s, "_", "-")
		image(name, "", unknown(), one(name, clean(), never(s)), nil)
		image(name+"-shows-clean", "", unknown(), one(name+"-shows-clean", clean(), status(s)), nil)
	}
	image("missing", "", unknown(), nil, nil)
	image("hidden", "", unknown(), one("hidden", clean(), func(r *hsstest.Image) { r.Hidden = true }), nil)

	// A tag that was pushed again after the scan: what runs was not scanned. Who names the old digest runs what was.
	pushed := func(r *hsstest.Image) { r.LatestUpdateTime = now.Add(pause / 2) }
	was := one("pushed", clean(), func(r *hsstest.Image) { r.ImageDigest = digest(digest("pushed")) })
	image("pushed", "pushed", unknown(), one("pushed", clean(), pushed), was)
	add(probe{runs: []*content{clean()}, traits: "old digest", rows: one("pushed", clean(), pushed), before: was}, swr+"pushed:1@"+digest(digest("pushed")))

	several := func(name string, contents ...*content) {
		row, nested := one(name, found(worst(contents), 0, 0), parts(contents...)), ""
		if strings.Contains(name, "/") {
			nested = "nested "
		}
		add(probe{runs: contents, traits: nested + "multi tag", rows: row}, swr+name+":1")
		add(probe{runs: contents, traits: nested + "multi index digest", rows: row}, swr+name+":1@"+digest(name), swr+name+"@"+digest(name))
		for n, c := range contents {
			traits := nested + "multi digest child"
			if n == 0 {
				traits += " first"
			}
			add(probe{runs: []*content{c}, traits: traits, rows: row}, swr+name+":1@"+digest(fmt.Sprint(name, n)), swr+name+"@"+digest(fmt.Sprint(name, n)))
		}
	}
	several("multi-clean", clean(), clean())
	several("multi-low", low(), low())
	several("multi-high", clean(), high())
	several("multi-malicious", malicious(), clean())
	several("multi-mixed", clean(), low())
	several("multi-unscanned", clean(), unknown())
	several("team/multi", clean(), medium())

	// Names that contain each other, with other results: filters may match loosely.
	alike := append(one("app", clean()), one("my-app", high())...)
	for _, version := range []string{"11", "1-debug"} {
		alike = append(alike, one("app", high(), func(r *hsstest.Image) { r.ImageVersion, r.ImageDigest = version, digest(version) })...)
	}
	alike = append(alike, one("app", high(), func(r *hsstest.Image) { r.Namespace, r.ImageDigest = "prod-dev", digest("dev") })...)
	add(probe{runs: []*content{clean()}, traits: "tag", rows: alike}, swr+"app:1")
	add(probe{runs: []*content{high()}, traits: "tag", rows: alike}, swr+"app:11", "swr.example.com/prod-dev/app:1", swr+"my-app:1")
	add(probe{runs: []*content{unknown()}, traits: "tag"}, swr+"ap:1", swr+"app:", "evil.example.com/prod/clean:1")

	// Many tags, which fill pages; the digest of one is found behind them.
	var many []hsstest.Image
	for n := range 23 {
		c := clean()
		if n%2 == 1 {
			c = high()
		}
		many = append(many, one("many", c, func(r *hsstest.Image) {
			r.ImageVersion, r.ImageDigest = fmt.Sprint(n), digest(fmt.Sprint("many", n))
		})...)
	}
	add(probe{runs: []*content{clean()}, traits: "many digest", rows: many}, swr+"many@"+digest("many22"), swr+"many@"+digest("many0"))
	add(probe{runs: []*content{high()}, traits: "many digest", rows: many}, swr+"many@"+digest("many21"))
	add(probe{runs: []*content{unknown()}, traits: "many digest", rows: many}, swr+"many@"+digest("many99"))

	// The same names in several registries.
	var twins []hsstest.Image
	for n, c := range []*content{clean(), high()} {
		name := []string{"a", "b"}[n]
		twins = append(twins, one("twin", c, registry("harbor", name, "Harbor"), func(r *hsstest.Image) {
			r.ImageDigest, r.ImageID = digest("twin-"+name), digest("twin-" + name)[7:] // other content has another digest
		})...)
	}
	twins = append(twins, one("twin", medium())...)
	jfrog := one("team/jfrog", clean(), registry("jfrog", "j", "Jfrog"))
	add(probe{runs: []*content{clean()}, traits: "third tag", rows: twins}, "a.example.com/prod/twin:1")
	add(probe{runs: []*content{high()}, traits: "third tag", rows: twins}, "b.example.com/prod/twin:1")
	add(probe{runs: []*content{medium()}, traits: "tag", rows: twins}, swr+"twin:1")
	add(probe{runs: []*content{clean()}, traits: "third nested tag", rows: jfrog}, "j.example.com/prod/team/jfrog:1")
	add(probe{runs: []*content{unknown()}, traits: "third tag", rows: jfrog}, swr+"team/jfrog:1", "a.example.com/prod/team/jfrog:1")

	// Images of another enterprise project.
	elsewhere := func(r *hsstest.Image) { r.EnterpriseProjectID = "e" }
	image("elsewhere", "elsewhere", clean(), one("elsewhere", clean(), elsewhere), nil)
	image("elsewhere-high", "elsewhere", high(), one("elsewhere-high", high(), elsewhere), nil)
	return all
}

// worst is the worst level of contents.
func worst(contents []*content) v1alpha1.Severity {
	levels := []v1alpha1.Severity{"Security", "Low", "Medium", "High"}
	at := 0
	for _, c := range contents {
		at = max(at, slices.Index(levels, c.level))
	}
	return levels[at]
}

// serving is a transport that calls a handler.
type serving struct{ http.Handler }

func (s serving) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result(), nil
}

// suite is what all combinations share.
type suite struct {
	rules    []rule
	policies []*policy.Policy
	config   *config.Configuration
	cells    []cell
}

func newSuite(t *testing.T) *suite {
	t.Helper()
	s := &suite{rules: rules(), cells: documented()}
	for _, r := range s.rules {
		p, problems := policy.Compile(&v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: r.name}, Spec: v1alpha1.ImageScanPolicySpec{Require: r.require}})
		must(t, problems.ToAggregate())
		s.policies = append(s.policies, p)
	}
	c, err := config.Parse("config.yaml", []byte(`apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects:
- {name: main, region: cn-north-4, projectID: p1, requestsPerSecond: 1000}
registries:
- {name: swr, hosts: [swr.example.com]}
- {name: a, hosts: [a.example.com], imageTypes: [harbor], registryName: a}
- {name: b, hosts: [b.example.com], imageTypes: [harbor], registryName: b}
- {name: j, hosts: [j.example.com], imageTypes: [jfrog], registryName: j}
`))
	must(t, err)
	s.config = c
	return s
}

// refused is a probe that a policy denied, and why.
type refused map[string]map[string]string // by reference and policy

// decide has a new hssgate decide about every probe by every policy. If earlier is set, it has seen the images as they were.
func (s *suite) decide(t *testing.T, b hsstest.Behavior, all []*probe, earlier bool) refused {
	t.Helper()
	h := hsstest.NewHandler(hsstest.WithBehavior(b), hsstest.WithoutAuthentication(), hsstest.WithClock(time.Now))
	defer h.Close()
	client, err := hss.NewClient(hss.Config{Endpoint: "https://hss.example.com", ProjectID: "p1", Transport: serving{h},
		Credentials: hss.StaticCredentials(hss.Credentials{AccessKey: "any", SecretKey: hss.NewSecret("any")})})
	must(t, err)
	images, err := inventory.New(inventory.Options{Config: s.config, Clients: map[string]inventory.Lister{"main": client}})
	must(t, err)
	defer images.Close()
	g := &gate.Gate{
		Policies:        func() []*policy.Policy { return s.policies },
		NamespaceLabels: func(context.Context, string) (map[string]string, error) { return nil, nil },
		Facts:           images, Clock: clock.RealClock{},
	}
	if earlier {
		h.SetImages(rowsOf(all, func(p *probe) []hsstest.Image { return p.before })...)
		s.pods(t, g, all)
	}
	time.Sleep(pause)
	h.SetImages(rowsOf(all, func(p *probe) []hsstest.Image { return p.rows })...)
	return s.pods(t, g, all)
}

// rowsOf returns the rows of probes, each once.
func rowsOf(all []*probe, of func(*probe) []hsstest.Image) (rows []hsstest.Image) {
	type name struct{ namespace, name, version, registry string }
	seen := map[name]bool{}
	for _, p := range all {
		for _, r := range of(p) {
			if n := (name{r.Namespace, r.ImageName, r.ImageVersion, r.RegistryName}); !seen[n] {
				seen[n] = true
				rows = append(rows, r)
			}
		}
	}
	return rows
}

// pods has pods of all probes decided.
func (s *suite) pods(t *testing.T, g *gate.Gate, all []*probe) refused {
	t.Helper()
	denied := refused{}
	for some := range slices.Chunk(all, gate.MaxImages) {
		w := image.Workload{Kind: "Pod"}
		for _, p := range some {
			denied[p.ref] = map[string]string{}
			w.Uses = append(w.Uses, image.Use{Place: "container", Name: p.ref, Image: p.ref})
		}
		d := g.Decide(t.Context(), gate.Request{Namespace: "prod", Name: "pod", Workload: w})
		for _, v := range d.WithEffect(v1alpha1.EnforcementDeny) {
			denied[v.Use.Name][v.Policy] = v.Findings[0].Message
		}
	}
	return denied
}

// cell is a part of the table in docs/reference/hss.md: where a decision is another than what really runs deserves.
type cell struct {
	// admits says that something bad or unknown is admitted; else something good is denied.
	admits bool
	// reading is the value of a switch that it is about; empty: any.
	reading string
	applies func(b *hsstest.Behavior, p *probe, r *rule) bool
}

func always(*hsstest.Behavior, *probe, *rule) bool { return true }

func trait(all ...string) func(*hsstest.Behavior, *probe, *rule) bool {
	return func(_ *hsstest.Behavior, p *probe, _ *rule) bool {
		return !slices.ContainsFunc(all, func(one string) bool { return !p.has(one) })
	}
}

// longList reports whether the list of an image may have more rows than HSS shows at once, or more pages than one.
func longList(b *hsstest.Behavior, p *probe, _ *rule) bool {
	return p.has("many") || b.Filters != "" || b.Total == "zero" || b.Total == "missing" || b.PageSize != ""
}

func severityRule(level string, runs v1alpha1.Severity) func(*hsstest.Behavior, *probe, *rule) bool {
	return func(_ *hsstest.Behavior, p *probe, r *rule) bool {
		return r.name == "severity-"+level && worst(p.runs) == runs
	}
}

// documented are the cells of the table.
func documented() []cell {
	return []cell{
		// The row's level is that of all architectures.
		{false, "", func(b *hsstest.Behavior, p *probe, r *rule) bool {
			return p.has("child") && strings.HasPrefix(r.name, "severity-")
		}},
		{false, "", trait("old")},
		{false, "", trait("cold", "rescan", "scanning")},
		{false, "", trait("cold", "rescan", "clean")},
		{false, "", func(_ *hsstest.Behavior, p *probe, r *rule) bool {
			return p.has("cold") && p.has("low") && r.name == "ignored"
		}},

		{false, "statuses=capitalised", always},
		{false, "times=seconds", func(_ *hsstest.Behavior, _ *probe, r *rule) bool { return r.name == "recent" }},
		{false, "nested-names=escaped", trait("nested")},
		{false, "third-party=path", trait("third")},
		{false, "enterprise-projects=default", trait("elsewhere")},
		{false, "architectures=rows", trait("multi", "tag")},
		{false, "architectures=rows", trait("multi", "index")},
		{false, "architectures=only", trait("multi", "index")},
		{false, "parent-digest=first", trait("multi", "index")},
		{false, "parent-digest=first", trait("multi", "first")},
		{false, "parent-digest=empty", trait("multi", "index")},
		{false, "parent-level=first", func(_ *hsstest.Behavior, p *probe, r *rule) bool {
			return p.has("multi") && strings.HasPrefix(r.name, "severity-")
		}},
		{false, "update-time=touched", always},
		{false, "rescan=dropped", trait("cold", "rescan")},
		{false, "rescan=reset", trait("cold", "rescan")},
		{false, "severity-scale=seven", severityRule("Medium", "Medium")},
		{false, "severity-scale=critical", severityRule("High", "High")},
		{false, "paging=repeated", longList},
		{false, "paging=shuffled", longList},
		{false, "past-end=last", longList},
		{false, "past-end=null", func(b *hsstest.Behavior, _ *probe, _ *rule) bool { return b.Total == "missing" }},

		{true, "pushed-again=unnoticed", trait("pushed", "tag")},
		{true, "update-time=build", func(b *hsstest.Behavior, p *probe, _ *rule) bool {
			return b.PushedAgain == "" && p.has("pushed") && (p.has("cold") || p.has("untagged"))
		}},
	}
}

// check compares the decisions with what really runs. Cells that occur are added to used.
func (s *suite) check(t *testing.T, b hsstest.Behavior, earlier bool, used map[string]bool) {
	t.Helper()
	all := probes(time.Now())
	if earlier {
		all = slices.DeleteFunc(all, func(p *probe) bool { return p.before == nil })
	}
	denied, readings := s.decide(t, b, all, earlier), ","+b.String()+","
	for _, p := range all {
		if !earlier {
			p.traits += " cold"
		}
		for n := range s.rules {
			r := &s.rules[n]
			why, isDenied := denied[p.ref][r.name]
			if isDenied != p.passes(r) {
				continue
			}
			at := slices.IndexFunc(s.cells, func(c cell) bool {
				return c.admits != isDenied && (c.reading == "" || strings.Contains(readings, ","+c.reading+",")) && c.applies(&b, p, r)
			})
			if at < 0 {
				t.Errorf("%s (%s): denied by %s: %t %s\n--behavior %s", p.ref, p.traits, r.name, isDenied, why, b)
				continue
			}
			used[fmt.Sprint(at, " ", s.cells[at].reading)] = true
		}
	}
}

// run checks behaviors, side by side, in virtual time.
func (s *suite) run(t *testing.T, behaviors []hsstest.Behavior) (used map[string]bool) {
	t.Helper()
	used = map[string]bool{}
	var mu sync.Mutex
	t.Run("all", func(t *testing.T) {
		for some := range slices.Chunk(behaviors, len(behaviors)/8+1) {
			t.Run("some", func(t *testing.T) {
				t.Parallel()
				own := map[string]bool{}
				for _, b := range some {
					for _, earlier := range []bool{false, true} {
						synctest.Test(t, func(t *testing.T) { s.check(t, b, earlier, own) })
					}
					if t.Failed() {
						return // the first is enough to read
					}
				}
				mu.Lock()
				defer mu.Unlock()
				maps.Copy(used, own)
			})
		}
	})
	return used
}

func TestEachReadingOfHSSIsSafe(t *testing.T) {
	t.Parallel()
	s := newSuite(t)
	singles := []hsstest.Behavior{{}}
	for _, sw := range hsstest.Switches() {
		for _, value := range sw.Values[1:] {
			singles = append(singles, with(t, hsstest.Behavior{}, sw.Name, value))
		}
	}
	used := s.run(t, singles)
	inPairs := []string{"past-end=null", "paging=repeated", "paging=shuffled"} // they occur with other values of total and page-size
	failed := t.Failed()
	for n, c := range s.cells {
		if !used[fmt.Sprint(n, " ", c.reading)] && !failed && !slices.Contains(inPairs, c.reading) {
			t.Errorf("cell %d (%s) is documented, and does not occur", n, c.reading)
		}
	}
}

func TestEachReadingIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/reference/hss.md")
	must(t, err)
	var denied []string
	for _, c := range documented() {
		if !c.admits {
			denied = append(denied, c.reading)
		}
	}
	for _, sw := range hsstest.Switches() {
		for _, value := range sw.Values[1:] {
			reading := sw.Name + "=" + value
			_, rest, found := strings.Cut(string(page), "`"+reading+"`")
			row, _, _ := strings.Cut(rest, "\n")
			switch {
			case !found:
				t.Errorf("%s is not in the table", reading)
			case strings.Contains(strings.ToLower(row), "*denied*") != slices.Contains(denied, reading):
				t.Errorf("%s: %s: denied in a cell: %t", reading, row, slices.Contains(denied, reading))
			}
		}
	}
}

func TestAllPairsOfReadingsAreSafe(t *testing.T) {
	t.Parallel()
	type pair struct{ one, other string }
	pairs := func(values []string) (all []pair) {
		for n, one := range values {
			for _, other := range values[n+1:] {
				all = append(all, pair{one, other})
			}
		}
		return all
	}
	var every []string
	for _, sw := range hsstest.Switches() {
		for _, value := range sw.Values {
			every = append(every, sw.Name+"="+value)
		}
	}
	left := map[pair]bool{}
	for _, p := range pairs(every) {
		if one, _, _ := strings.Cut(p.one, "="); !strings.HasPrefix(p.other, one+"=") {
			left[p] = true
		}
	}
	random := rand.New(rand.NewPCG(1, 1))
	var chosen []hsstest.Behavior
	for len(left) > 0 { // the best of some combinations, until every pair is in one
		var best []pair
		var behavior hsstest.Behavior
		for range 50 {
			b, values := combination(t, random)
			covered := slices.DeleteFunc(pairs(values), func(p pair) bool { return !left[p] })
			if len(covered) > len(best) {
				best, behavior = covered, b
			}
		}
		for _, p := range best {
			delete(left, p)
		}
		if len(best) > 0 {
			chosen = append(chosen, behavior)
		}
	}
	newSuite(t).run(t, chosen)
	t.Logf("%d combinations hold every pair", len(chosen))
}

// combination returns a random value of each switch.
func combination(t *testing.T, random *rand.Rand) (b hsstest.Behavior, values []string) {
	t.Helper()
	for _, sw := range hsstest.Switches() {
		value := sw.Values[random.IntN(len(sw.Values))]
		values = append(values, sw.Name+"="+value)
	}
	b, err := hsstest.ParseBehavior(strings.Join(values, ","))
	must(t, err)
	return b, values
}

// combinations are fewer under the race detector, which takes ten times as long: make test runs all without it.
func combinations() int {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 25
	}
	return 500
}

func TestRandomCombinationsOfReadingsAreSafe(t *testing.T) {
	t.Parallel()
	const seed = 15
	random := rand.New(rand.NewPCG(seed, seed))
	all := make([]hsstest.Behavior, combinations())
	for n := range all {
		all[n], _ = combination(t, random)
	}
	newSuite(t).run(t, all)
}

func with(t *testing.T, b hsstest.Behavior, name, value string) hsstest.Behavior {
	t.Helper()
	b, err := b.With(name, value)
	must(t, err)
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
