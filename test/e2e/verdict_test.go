package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

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
	// want are the findings; none: the pod is admitted.
	want   []string
	advice []string
	// shown is the reference as the message shows it, if not as written.
	shown string
}

// testVerdicts creates a pod for every state in which HSS can have an image.
func testVerdicts(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Require.Expressions = []v1alpha1.Expression{
			{Expression: "image.registryType != 'Other'", Message: "only known registries"},
		}
	})
	n := 0
	for name, test := range verdicts() {
		n++
		pod := fmt.Sprintf("pod-%d", n)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkVerdict(t, f, s.with(t), pod, test)
		})
	}
	t.Run("what is no reference is denied by every policy", func(t *testing.T) {
		t.Parallel()
		const image = "main.example.com/Prod/app:1"
		says(t, s.with(t).run(t, newPod("invalid", image)), `pod "invalid" denied by 2 policies:`,
			fmt.Sprintf(`container "app": %q — invalid image reference: repository name (Prod/app) must be lowercase [policy %s-p]`, image, s.name),
			"\nto do: correct the image's name")
	})
}

// testImageIDs names images by their IDs on the node, which a runtime takes for
// docker.io/library/sha256 only if it has no such image.
func testImageIDs(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Match.Images, spec.Match.ExcludeImages = []string{"main.example.com/**"}, []string{"docker.io/**"}
	})
	id := "sha256:" + strings.Repeat("7c", 32)
	refused := fmt.Sprintf("%q — invalid image reference: it names an image on the node by its ID, not one in a registry [policy %s-p]", id, s.name)
	says(t, s.run(t, newPod("id", id)), `container "app": `+refused, "\nto do: correct the image's name")
	says(t, s.run(t, newPod("short", id[:15])), "it names an image on the node by its ID")
	says(t, s.run(t, newPod("volume", "docker.io/library/nginx", imageVolume(id))), `image volume "data": `+refused)
	err := s.createWorkload(t, "Deployment", "web", id)
	if err != nil {
		t.Error(err)
	}
	if got := strings.Join(s.warnings.take(), "\n"); !strings.Contains(got, `its pods will be denied: container "app": `+refused) {
		t.Errorf("got warnings of the Deployment: %s", got)
	}
	s.admitted(t, s.run(t, newPod("named", "docker.io/library/sha256:"+id[7:])))
}

func checkVerdict(t *testing.T, f *fixture, s *space, pod string, test verdict) {
	t.Helper()
	for i := range test.rows {
		test.rows[i].ImageName = strings.ReplaceAll(test.rows[i].ImageName, "NAME", pod)
	}
	add(f.hss["main"], test.rows...)
	named := func(text string) string { return strings.ReplaceAll(text, "NAME", pod) }
	if test.image == "" {
		test.image = "main.example.com/prod/NAME:1"
	}
	if test.shown == "" {
		test.shown = test.image
	}
	err := s.run(t, newPod(pod, named(test.image)))
	if len(test.want) == 0 {
		s.admitted(t, err)
		return
	}
	line := fmt.Sprintf(`container "app": %s — %s [policy %s-p]`, named(test.shown), named(strings.Join(test.want, "; ")), s.name)
	s.denied(t, err, fmt.Sprintf("pod %q", pod), []string{line}, test.advice...)
	s.warned(t)
}

func verdicts() map[string]verdict {
	one := func(changes ...func(*hsstest.Image)) []hsstest.Image { return []hsstest.Image{row("NAME", changes...)} }
	all := map[string]verdict{
		"a clean image is admitted":           {rows: one()},
		"a High severity is denied":           {rows: one(func(i *hsstest.Image) { i.SeverityLevel = "High" }), want: []string{"severity High, allowed Medium"}, advice: []string{adviseRebuild}},
		"an unknown severity is denied":       {rows: one(func(i *hsstest.Image) { i.SeverityLevel = "Critical" }), want: []string{`unknown severity "Critical", allowed Medium`}, advice: []string{adviseRebuild}},
		"a vulnerable image is denied":        {rows: one(func(i *hsstest.Image) { i.VulNum = hsstest.Count(111) }), want: []string{"111 vulnerabilities, allowed 0"}, advice: []string{adviseRebuild}},
		"every finding is told":               {rows: one(high), want: []string{"severity High, allowed Medium", "111 vulnerabilities, allowed 0"}, advice: []string{adviseRebuild}},
		"a malicious file is denied":          {rows: one(func(i *hsstest.Image) { i.MaliciousFileNum = hsstest.Count(1) }), want: []string{"1 malicious file, allowed 0"}, advice: []string{"do not run this image; find out how the files came into it"}},
		"too many unsafe settings are denied": {rows: one(func(i *hsstest.Image) { i.UnsafeSettingNum = hsstest.Count(11) }), want: []string{"11 unsafe settings, allowed 10"}, advice: []string{"fix the settings that HSS lists for the image, push it, and have HSS scan it"}},
		"an expression decides": {
			rows: one(func(i *hsstest.Image) { i.RegistryType = "Other" }), want: []string{"only known registries"},
		},
		"an unknown image is denied": {
			want: []string{`HSS project "main" has no image prod/NAME:1 in registry "main"`}, advice: []string{adviseName},
		},
		"another version is another image": {
			rows: one(func(i *hsstest.Image) { i.ImageVersion = "10" }), want: []string{`HSS project "main" has no image prod/NAME:1 in registry "main"`}, advice: []string{adviseName},
		},
		"an unknown registry host is denied": {
			rows: one(), image: "evil.example.com/prod/NAME:1", want: []string{`no configured registry claims host "evil.example.com"`}, advice: []string{adviseName},
		},
		"a nested name is found":           {rows: []hsstest.Image{row("a$NAME")}, image: "main.example.com/prod/a/NAME:1"},
		"a host in capitals is the same":   {rows: one(high), image: "MAIN.example.com:443/prod/NAME:1", shown: "main.example.com/prod/NAME:1", want: []string{"severity High, allowed Medium", "111 vulnerabilities, allowed 0"}, advice: []string{adviseRebuild}},
		"of two records the worst decides": {rows: append(one(), row("NAME", high, func(i *hsstest.Image) { i.ImageType = "shared_image" })), want: []string{"severity High, allowed Medium (shared_image record)", "111 vulnerabilities, allowed 0 (shared_image record)"}, advice: []string{adviseRebuild}},
	}
	maps.Copy(all, scanVerdicts(one))
	maps.Copy(all, digestVerdicts(one))
	return all
}

// scanVerdicts are those about whether and when an image was scanned.
func scanVerdicts(one func(...func(*hsstest.Image)) []hsstest.Image) map[string]verdict {
	never := func(status string) func(*hsstest.Image) {
		return func(i *hsstest.Image) {
			i.ScanStatus, i.SeverityLevel, i.VulNum, i.UnsafeSettingNum, i.MaliciousFileNum = status, "", nil, nil, nil
			i.LatestScanTime = time.Time{}
		}
	}
	return map[string]verdict{
		"an unscanned image is denied":                {rows: one(never("unscan")), want: []string{"never scanned"}, advice: []string{adviseScan}},
		"an image in its first scan is denied":        {rows: one(never("scanning")), want: []string{"being scanned, and no completed scan is known"}, advice: []string{adviseScan}},
		"an image that waits for a scan is denied":    {rows: one(never("waiting_for_scan")), want: []string{"waiting to be scanned, and no completed scan is known"}, advice: []string{adviseScan}},
		"a good image in a further scan is admitted":  {rows: one(func(i *hsstest.Image) { i.ScanStatus = "scanning" })},
		"a bad image in a further scan is denied":     {rows: one(high, func(i *hsstest.Image) { i.ScanStatus = "scanning" }), want: []string{"severity High, allowed Medium", "111 vulnerabilities, allowed 0"}, advice: []string{adviseRebuild}},
		"a tag updated after its last scan is denied": {rows: one(func(i *hsstest.Image) { i.LatestUpdateTime = i.LatestScanTime.Add(30 * time.Minute) }), want: []string{"updated 30m after its last scan"}, advice: []string{adviseScan}},
		"an old scan is denied": {
			rows: one(func(i *hsstest.Image) {
				i.LatestScanTime, i.LatestUpdateTime = time.Now().AddDate(0, 0, -60), time.Now().AddDate(0, 0, -90)
			}),
			want: []string{"scanned 60 days ago, allowed 7 days"}, advice: []string{"have HSS scan the image again"},
		},
		"a failed scan is denied with HSS's reason": {
			rows: one(func(i *hsstest.Image) {
				i.ScanStatus, i.ScanFailedCode, i.ScanFailedDesc = "failed", "authentication_failed", "认证失败"
			}),
			want:   []string{"scan failed (authentication_failed: 认证失败), allowed success"},
			advice: []string{"see in HSS why the scan did not succeed, and scan the image again"},
		},
		"an unknown scan status is denied": {
			rows: one(func(i *hsstest.Image) { i.ScanStatus = "paused" }), want: []string{`unknown scan status "paused", allowed success`},
			advice: []string{"see in HSS why the scan did not succeed, and scan the image again"},
		},
	}
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
	const image = "main.example.com/prod/NAME:1@"
	badArchitecture := []string{"architecture sha256:cccccccccccc…: 7 vulnerabilities, allowed 0"}
	return map[string]verdict{
		"a digest that matches is admitted": {rows: one(), image: image + digest("a")},
		"a digest without a tag is found":   {rows: one(), image: "main.example.com/prod/NAME@" + digest("a")},
		"a digest that doesn't match is denied": {
			rows: one(), image: image + digest("d"),
			want:   []string{"HSS knows prod/NAME:1 with digest " + digest("a") + " only, not with " + digest("d")},
			advice: []string{adviseName},
		},
		"good architectures are admitted":                    {rows: several(0)},
		"one bad architecture of many is denied":             {rows: several(7), want: badArchitecture, advice: []string{adviseRebuild}},
		"the digest of a good architecture is admitted":      {rows: several(7), image: image + digest("b")},
		"the digest of the bad architecture is denied":       {rows: several(7), image: image + digest("c"), want: []string{"7 vulnerabilities, allowed 0"}, advice: []string{adviseRebuild}},
		"the digest of the index evaluates all of its parts": {rows: several(7), image: image + digest("a"), want: badArchitecture, advice: []string{adviseRebuild}},
	}
}

// testRescans follows images while HSS scans them again.
func testRescans(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	server := f.hss["rescan"]
	add(server, row("nightly"), row("moved"), row("first", unscanned))
	t.Run("a result that HSS hides during the next scan is remembered", func(t *testing.T) {
		t.Parallel()
		s := s.with(t)
		const image = "rescan.example.com/prod/nightly:1"
		s.admitted(t, s.run(t, newPod("nightly", image)))
		change(server, "nightly", func(i *hsstest.Image) {
			i.ScanStatus, i.SeverityLevel, i.VulNum, i.MaliciousFileNum, i.UnsafeSettingNum = "scanning", "", nil, nil, nil
		})
		// Several times, as what is pending is soon asked for again.
		asked := server.Stats().CountImage("prod", "nightly")
		eventually(t, func() error {
			s.admitted(t, s.try(t, newPod("again", image)))
			if server.Stats().CountImage("prod", "nightly") < asked+3 {
				return errNotYet
			}
			return nil
		})
		change(server, "nightly", func(i *hsstest.Image) { i.ScanStatus = "success"; high(i) })
		s.awaitDenial(t, image, "severity High")
	})
	t.Run("a tag that was pushed again isn't evaluated by the old scan", func(t *testing.T) {
		t.Parallel()
		s := s.with(t)
		const image = "rescan.example.com/prod/moved:1"
		s.admitted(t, s.run(t, newPod("moved", image)))
		change(server, "moved", func(i *hsstest.Image) {
			i.ImageDigest, i.LatestUpdateTime, i.ScanStatus, i.SeverityLevel = digest("e"), time.Now(), "waiting_for_scan", ""
		})
		s.awaitDenial(t, image, "after its last scan")
	})
	t.Run("an image is let in once its first scan is done", func(t *testing.T) {
		t.Parallel()
		s := s.with(t)
		const image = "rescan.example.com/prod/first:1"
		says(t, s.run(t, newPod("first", image)), "never scanned")
		change(server, "first", func(i *hsstest.Image) { *i = row("first") })
		s.awaitVerdict(t, image, true)
	})
}

func unscanned(i *hsstest.Image) {
	i.ScanStatus, i.SeverityLevel, i.VulNum, i.UnsafeSettingNum, i.MaliciousFileNum = "unscan", "", nil, nil, nil
	i.LatestScanTime = time.Time{}
}

// awaitDenial waits until the image is denied, and checks why.
func (s *space) awaitDenial(t *testing.T, image, why string) {
	t.Helper()
	var err error
	eventually(t, func() error {
		if err = s.try(t, newPod("awaited", image)); err == nil {
			return errors.New("still admitted")
		}
		if !strings.Contains(err.Error(), why) {
			return err
		}
		return nil
	})
	says(t, err, `pod "awaited" denied by 1 policy:`, why)
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
func testVulnerabilities(t *testing.T, f *fixture) {
	inParallel(t, f, tests{
		"a policy counts the vulnerabilities that matter":      testNarrowedPolicies,
		"an exception allows what its vulnerabilities explain": testNarrowedExceptions,
		"what cannot be listed counts":                         testUnlisted,
	})
}

func testNarrowedPolicies(t *testing.T, f *fixture) {
	type requirements = v1alpha1.Requirements
	worst := "worst: CVE-2024-1111 openssl 1.1.1k → 1.1.1n"
	for name, test := range map[string]struct {
		listed []hsstest.Vulnerability
		change func(*requirements)
		want   string
	}{
		"what does not count does not deny": {[]hsstest.Vulnerability{highUnfixed, lowFixed}, func(r *requirements) {
			r.Vulnerabilities.FixableOnly, r.IgnoreVulnerabilities = true, []string{"RHSA-2024:3333"}
		}, ""},
		"one that counts does": {
			[]hsstest.Vulnerability{lowFixed, highFixed}, func(r *requirements) { r.Vulnerabilities.MinSeverity = v1alpha1.SeverityHigh },
			"1 vulnerability, allowed 0 (of severity High; 2 in all; " + worst + ")",
		},
		"a denial names the worst": {
			[]hsstest.Vulnerability{lowFixed, highUnfixed, highFixed}, func(*requirements) {},
			"3 vulnerabilities, allowed 0 (" + worst + ", CVE-2024-2222 busybox 1.36.1 (no fix), RHSA-2024:3333 zlib 1.2.11 → upgrade zlib to 1.2.12)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := f.newSpace(t)
			s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) { test.change(&spec.Require) })
			add(f.hss["main"], row(s.name, having(test.listed...)))
			image := "main.example.com/prod/" + s.name + ":1"
			err := s.run(t, newPod("pod", image))
			if test.want == "" {
				s.admitted(t, err)
				return
			}
			eventually(t, func() error { // what only the message needs is not waited for long
				if err = s.run(t, newPod("pod", image)); err == nil || strings.Contains(err.Error(), test.want) {
					return nil
				}
				return err
			})
			s.denied(t, err, `pod "pod"`, []string{fmt.Sprintf(`container "app": %s — %s [policy %s-p]`, image, test.want, s.name)}, adviseRebuild)
		})
	}
}

func testNarrowedExceptions(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	image := "main.example.com/prod/" + s.name
	severe := func(i *hsstest.Image) { i.SeverityLevel, i.UnsafeSettingNum = "High", hsstest.Count(0) }
	add(f.hss["main"], row(s.name, having(highFixed), severe), row(s.name, having(highFixed, highUnfixed), severe, func(i *hsstest.Image) { i.ImageVersion = "2" }))
	s.grant(t, "one-cve", excepting(image), func(e *v1alpha1.ImageScanException) { e.Spec.Vulnerabilities = []string{"CVE-2024-1111"} })
	if err := s.run(t, newPod("explained", image+":1")); err != nil {
		t.Errorf("an image with only the named vulnerability: %v", err)
	}
	if warnings := strings.Join(s.warnings.take(), "\n"); !strings.Contains(warnings, " by ImageScanException one-cve (") {
		t.Errorf("got warnings:\n%s", warnings)
	}
	says(t, s.run(t, newPod("unexplained", image+":2")), "severity High, allowed Medium", "2 vulnerabilities, allowed 0 (worst: CVE-2024-1111", "CVE-2024-2222 busybox 1.36.1 (no fix)")
}

// testUnlisted ruins the server "details": images are known there, but not their
// vulnerabilities.
func testUnlisted(t *testing.T, f *fixture) {
	server, s := f.hss["details"], f.newSpace(t)
	server.Inject(hsstest.StatusFault(http.StatusServiceUnavailable).Times(1 << 30).ForEndpoint(hsstest.EndpointVulnerabilities))
	add(server, row("unlisted", having(lowFixed)), row("clean"))
	s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Require.Vulnerabilities.MinSeverity = v1alpha1.SeverityHigh
	})
	says(t, s.run(t, newPod("unlisted", "details.example.com/prod/unlisted:1")),
		"1 vulnerability, allowed 0 (all count, since they are not known one by one: HSS ")
	s.admitted(t, s.run(t, newPod("clean", "details.example.com/prod/clean:1")))
	server.ClearFaults()
	s.awaitVerdict(t, "details.example.com/prod/unlisted:1", true)
}
