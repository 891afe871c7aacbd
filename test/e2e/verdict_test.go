package e2e_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// verdict is what becomes of a pod with one image.
type verdict struct {
	// rows are what HSS has under the image's name.
	rows []hsstest.Image
	// image is the reference, in which NAME stands for a name of the case's
	// own; empty: main.example.com/prod/NAME:1.
	image string
	// want are the findings; empty: the pod is admitted.
	want, advice string
	// shown is the reference as the message shows it, if not as written.
	shown string
}

// testVerdicts creates a pod for every state in which HSS can have an image.
func testVerdicts(t *testing.T, f *gate) {
	s := f.enforced(t, func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Require.Expressions = []v1alpha1.Expression{
			{Expression: "image.registryType != 'Other'", Message: "only known registries"},
		}
	})
	all := tests[*space]{"what is no reference is denied by every policy": func(t *testing.T, s *space) {
		const image = "main.example.com/Prod/app:1"
		says(t, s.run(t, newPod("invalid", image)), `pod "invalid" denied by 2 policies:`,
			fmt.Sprintf(`container "app": %q — invalid image reference: repository name (Prod/app) must be lowercase [policies `, image), s.name+"-p",
			"\nto do: correct the image's name")
	}}
	for name, test := range verdicts() {
		pod := fmt.Sprintf("pod-%d", len(all))
		all[name] = func(t *testing.T, s *space) { checkVerdict(t, s, pod, test) }
	}
	s.inParallel(t, all)
}

// testChinese has a gate of its own write everything in Chinese: its policies, what it knows of images, and the rest.
func testChinese(t *testing.T, c *cluster) {
	g := c.newGate(t, setup{name: "chinese", hss: mainHSS(t, row("chinese", high)), language: "zh-CN"})
	s := g.enforced(t)
	const image = "main.example.com/prod/chinese:1"
	line := fmt.Sprintf(`容器 "app"：%s — 风险等级为高危（High），最高允许中危（Medium）；漏洞 111 个，允许 0 个 [策略 %s-p]`, image, s.name)
	says(t, s.run(t, newPod("web", image)), `pod "web" 被 1 个策略拒绝：`+line+"\n处理办法：用已修复的软件包重新构建镜像，推送后由 HSS 扫描\n说明：")
	must(t, s.createWorkload(t, "Deployment", "web", image))
	s.warned(t, "其 Pod 将被拒绝："+line, "处理办法：用已修复的软件包重新构建镜像，推送后由 HSS 扫描")
	says(t, s.run(t, newPod("other", "other.example.com/prod/app:1")), `没有配置镜像仓库 "other.example.com"`)
	says(t, s.run(t, newPod("absent", "main.example.com/prod/absent:1")), `HSS 项目 "main" 的镜像仓库 "main" 中没有镜像 `)
}

// testImageIDs names images by their IDs on the node, which a runtime takes for
// docker.io/library/sha256 only if it has no such image.
func testImageIDs(t *testing.T, f *gate) {
	s := f.enforced(t, func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Match.Images, spec.Match.ExcludeImages = []string{"main.example.com/**"}, []string{"docker.io/**"}
	})
	id := "sha256:" + strings.Repeat("7c", 32)
	refused := fmt.Sprintf("%q — invalid image reference: it names an image on the node by its ID, not one in a registry [policies ", id)
	says(t, s.run(t, newPod("id", id)), `container "app": `+refused, "\nto do: correct the image's name")
	says(t, s.run(t, newPod("short", id[:15])), "it names an image on the node by its ID")
	says(t, s.run(t, newPod("volume", "docker.io/library/nginx", imageVolume(id))), `image volume "data": `+refused)
	must(t, s.createWorkload(t, "Deployment", "web", id))
	if got := strings.Join(s.warnings.take(), "\n"); !strings.Contains(got, `its pods will be denied: container "app": `+refused) {
		t.Errorf("got warnings of the Deployment: %s", got)
	}
	s.admitted(t, s.run(t, newPod("named", "docker.io/library/sha256:"+id[7:])))
}

func checkVerdict(t *testing.T, s *space, pod string, test verdict) {
	t.Helper()
	for i := range test.rows {
		test.rows[i].ImageName = strings.ReplaceAll(test.rows[i].ImageName, "NAME", pod)
	}
	add(s.hss["main"], test.rows...)
	named := func(text string) string { return strings.ReplaceAll(text, "NAME", pod) }
	image := cmp.Or(test.image, "main.example.com/prod/NAME:1")
	err := s.run(t, newPod(pod, named(image)))
	if test.want == "" {
		s.admitted(t, err)
		return
	}
	line := fmt.Sprintf(`container "app": %s — %s [policy %s-p]`, named(cmp.Or(test.shown, image)), named(test.want), s.name)
	var advice []string
	if test.advice != "" {
		advice = []string{test.advice}
	}
	s.denied(t, err, fmt.Sprintf("pod %q", pod), []string{line}, advice...)
	s.warned(t)
}

func verdicts() map[string]verdict {
	one := func(changes ...func(*hsstest.Image)) []hsstest.Image { return []hsstest.Image{row("NAME", changes...)} }
	const highFindings, unknown = "severity High, allowed Medium; 111 vulnerabilities, allowed 0", `HSS project "main" has no image prod/NAME:1 in registry "main"`
	all := map[string]verdict{
		"a clean image is admitted":           {rows: one()},
		"every finding is told":               {rows: one(high), want: highFindings, advice: adviseRebuild},
		"a malicious file is denied":          {rows: one(func(i *hsstest.Image) { i.MaliciousFileNum = hsstest.Count(1) }), want: "1 malicious file, allowed 0", advice: "do not run this image; find out how the files came into it"},
		"too many unsafe settings are denied": {rows: one(func(i *hsstest.Image) { i.UnsafeSettingNum = hsstest.Count(11) }), want: "11 unsafe settings, allowed 10", advice: "fix the settings that HSS lists for the image, push it, and have HSS scan it"},
		"an expression decides":               {rows: one(func(i *hsstest.Image) { i.RegistryType = "Other" }), want: "only known registries"},
		"an unknown image is denied":          {want: unknown, advice: adviseName},
		"an unknown registry host is denied":  {rows: one(), image: "evil.example.com/prod/NAME:1", want: `no configured registry claims host "evil.example.com"`, advice: adviseName},
		"a nested name is found":              {rows: []hsstest.Image{row("a$NAME")}, image: "main.example.com/prod/a/NAME:1"},
		"a host in capitals is the same":      {rows: one(high), image: "MAIN.example.com:443/prod/NAME:1", shown: "main.example.com/prod/NAME:1", want: highFindings, advice: adviseRebuild},
		"of two records the worst decides":    {rows: append(one(), row("NAME", high, func(i *hsstest.Image) { i.ImageType = "shared_image" })), want: "severity High, allowed Medium (shared_image record); 111 vulnerabilities, allowed 0 (shared_image record)", advice: adviseRebuild},

		"an unscanned image is denied":                                  {rows: one(unscanned), want: "never scanned", advice: adviseScan},
		"a good image before a further scan is admitted":                {rows: one(inState("waiting_for_scan"))},
		"a bad image before a further scan is denied":                   {rows: one(high, inState("waiting_for_scan")), want: highFindings, advice: adviseRebuild},
		"an image in a scan whose last result was never seen is denied": {rows: one(inState("scanning")), want: "being scanned, and no completed scan is known", advice: adviseScan},
		"a tag updated after its last scan is denied":                   {rows: one(func(i *hsstest.Image) { i.LatestUpdateTime = i.LatestScanTime.Add(30 * time.Minute) }), want: "updated 30m after its last scan", advice: adviseScan},
		"an old scan is denied": {rows: one(func(i *hsstest.Image) {
			i.LatestScanTime, i.LatestUpdateTime = time.Now().AddDate(0, 0, -60), time.Now().AddDate(0, 0, -90)
		}), want: "scanned 60 days ago, allowed 7 days", advice: "have HSS scan the image again"},
		"a failed scan is denied with HSS's reason": {rows: one(inState("failed"), func(i *hsstest.Image) {
			i.ScanFailedCode, i.ScanFailedDesc = "authentication_failed", "认证失败"
		}), want: "scan failed (authentication_failed: 认证失败), allowed success", advice: adviseFailed},
	}
	maps.Copy(all, digestVerdicts(one))
	return all
}

func inState(status string) func(*hsstest.Image) {
	return func(i *hsstest.Image) { i.ScanStatus = status }
}

// digestVerdicts are those about references with digests and images of several
// architectures.
func digestVerdicts(one func(...func(*hsstest.Image)) []hsstest.Image) map[string]verdict {
	arch := func(digit string, vulnerabilities int) hsstest.Architecture {
		return hsstest.Architecture{
			ImageDigest: digest(digit), ScanStatus: "success", VulNum: hsstest.Count(vulnerabilities),
			UnsafeSettingNum: hsstest.Count(0), MaliciousFileNum: hsstest.Count(0),
		}
	}
	several := func(bad int) []hsstest.Image {
		return one(func(i *hsstest.Image) {
			i.MultiArch, i.AssociationImages = true, []hsstest.Architecture{arch("b", 0), arch("c", bad)}
		})
	}
	const image, badArchitecture = "main.example.com/prod/NAME:1@", "architecture sha256:cccccccccccc…: 7 vulnerabilities, allowed 0"
	differs := "HSS knows prod/NAME:1 with digest " + digest("a") + " only, not with " + digest("d")
	return map[string]verdict{
		"a digest that matches is admitted":                  {rows: one(), image: image + digest("a")},
		"a digest without a tag is found":                    {rows: one(), image: "main.example.com/prod/NAME@" + digest("a")},
		"a digest that doesn't match is denied":              {rows: one(), image: image + digest("d"), want: differs, advice: adviseName},
		"good architectures are admitted":                    {rows: several(0)},
		"one bad architecture of many is denied":             {rows: several(7), want: badArchitecture, advice: adviseRebuild},
		"the digest of a good architecture is admitted":      {rows: several(7), image: image + digest("b")},
		"the digest of the bad architecture is denied":       {rows: several(7), image: image + digest("c"), want: "7 vulnerabilities, allowed 0", advice: adviseRebuild},
		"the digest of the index evaluates all of its parts": {rows: several(7), image: image + digest("a"), want: badArchitecture, advice: adviseRebuild},
	}
}

// testRescans follows images while HSS scans them again.
func testRescans(t *testing.T, f *gate) {
	shared, server := f.newSpace(t), f.hss["rescan"]
	add(server, row("nightly"), row("moved"), row("first", unscanned))
	shared.enforce(t, "p")
	const nightly, moved, first = "rescan.example.com/prod/nightly:1", "rescan.example.com/prod/moved:1", "rescan.example.com/prod/first:1"
	shared.inParallel(t, tests[*space]{
		"a result that HSS hides during the next scan is remembered": func(t *testing.T, s *space) {
			s.admitted(t, s.run(t, newPod("nightly", nightly)))
			change(server, "nightly", func(i *hsstest.Image) {
				i.ScanStatus, i.SeverityLevel, i.VulNum, i.MaliciousFileNum, i.UnsafeSettingNum = "scanning", "", nil, nil, nil
			})
			// Several times, as what is pending is soon asked for again.
			asked := server.Stats().CountImage("prod", "nightly")
			eventually(t, func() error {
				s.admitted(t, s.try(t, newPod("again", nightly)))
				if server.Stats().CountImage("prod", "nightly") < asked+3 {
					return errNotYet
				}
				return nil
			})
			change(server, "nightly", func(i *hsstest.Image) { i.ScanStatus = "success"; high(i) })
			s.await(t, nightly, "severity High")
		},
		"a tag that was pushed again isn't evaluated by the old scan": func(t *testing.T, s *space) {
			s.admitted(t, s.run(t, newPod("moved", moved)))
			change(server, "moved", func(i *hsstest.Image) {
				i.ImageDigest, i.LatestUpdateTime, i.ScanStatus, i.SeverityLevel = digest("e"), time.Now(), "waiting_for_scan", ""
			})
			s.await(t, moved, "after its last scan")
		},
		"an image is let in once its first scan is done": func(t *testing.T, s *space) {
			says(t, s.run(t, newPod("first", first)), "never scanned")
			change(server, "first", func(i *hsstest.Image) { *i = row("first") })
			s.await(t, first, "")
		},
	})
}

func unscanned(i *hsstest.Image) {
	i.ScanStatus, i.SeverityLevel, i.VulNum, i.UnsafeSettingNum, i.MaliciousFileNum = "unscan", "", nil, nil, nil
	i.LatestScanTime = time.Time{}
}

// Vulnerabilities as HSS lists them.
var (
	highFixed   = hsstest.Vulnerability{VulID: "CVE-2024-1111", RepairNecessity: "immediate_repair", AppName: "openssl", Version: "1.1.1k", Solution: "1.1.1n"}
	highUnfixed = hsstest.Vulnerability{VulID: "CVE-2024-2222", RepairNecessity: "immediate_repair", AppName: "busybox", Version: "1.36.1"}
	lowFixed    = hsstest.Vulnerability{VulID: "RHSA-2024:3333", RepairNecessity: "not_needed_repair", AppName: "zlib", Version: "1.2.11", Solution: "upgrade zlib to 1.2.12"}
)

// having gives a row these vulnerabilities.
func having(listed ...hsstest.Vulnerability) func(*hsstest.Image) {
	return func(i *hsstest.Image) {
		i.ImageID, i.VulNum, i.Vulnerabilities = "img-"+i.ImageName, hsstest.Count(len(listed)), listed
	}
}

// testVulnerabilities has HSS tell the vulnerabilities of images one by one.
func testVulnerabilities(t *testing.T, f *gate) {
	worst := "worst: CVE-2024-1111 openssl 1.1.1k → 1.1.1n"
	for name, test := range map[string]struct {
		listed []hsstest.Vulnerability
		change func(*v1alpha1.Requirements)
		want   string
	}{
		"what does not count does not deny": {[]hsstest.Vulnerability{highUnfixed, lowFixed}, func(r *v1alpha1.Requirements) {
			r.Vulnerabilities.FixableOnly, r.IgnoreVulnerabilities = true, []v1alpha1.IgnoredVulnerability{{ID: "RHSA-2024:3333", Reason: "not reachable", ExpiresAt: metav1.NewTime(time.Now().Add(time.Hour))}}
		}, ""},
		"one that counts does": {
			[]hsstest.Vulnerability{lowFixed, highFixed}, func(r *v1alpha1.Requirements) { r.Vulnerabilities.MinSeverity = v1alpha1.SeverityHigh },
			"1 vulnerability, allowed 0 (of severity High; 2 in all; " + worst + ")",
		},
		"a denial names the worst": {
			[]hsstest.Vulnerability{lowFixed, highUnfixed, highFixed}, func(*v1alpha1.Requirements) {},
			"3 vulnerabilities, allowed 0 (" + worst + ", CVE-2024-2222 busybox 1.36.1 (no fix), RHSA-2024:3333 zlib 1.2.11 → upgrade zlib to 1.2.12)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := f.enforced(t, func(spec *v1alpha1.ImageScanPolicySpec) { test.change(&spec.Require) })
			add(f.hss["main"], row(s.name, having(test.listed...)))
			s.await(t, "main.example.com/prod/"+s.name+":1", test.want) // what only the message needs is not waited for long
		})
	}
	t.Run("what cannot be listed counts", func(t *testing.T) {
		t.Parallel()
		server, s := f.hss["details"], f.newSpace(t)
		server.Inject(hsstest.StatusFault(http.StatusServiceUnavailable).Times(0).ForEndpoint(hsstest.EndpointVulnerabilities))
		add(server, row("unlisted", having(lowFixed)), row("clean"))
		s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) {
			spec.Require.Vulnerabilities.MinSeverity = v1alpha1.SeverityHigh
		})
		const unlisted = "details.example.com/prod/unlisted:1"
		says(t, s.run(t, newPod("unlisted", unlisted)), "1 vulnerability, allowed 0 (all count, since they are not known one by one: HSS ")
		s.admitted(t, s.run(t, newPod("clean", "details.example.com/prod/clean:1")))
		server.ClearFaults()
		s.await(t, unlisted, "")
	})
}
