package gate_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

var (
	scannedDigest = "sha256:" + strings.Repeat("1", 64)
	otherDigest   = "sha256:" + strings.Repeat("2", 64)
)

func pins(s *v1alpha1.ImageScanPolicySpec)         { s.Pin = true }
func needsDigest(s *v1alpha1.ImageScanPolicySpec)  { s.Require.Digest = v1alpha1.DigestRequired }
func onlyClean(s *v1alpha1.ImageScanPolicySpec)    { s.Match.Images = []string{swr + "clean"} }
func onlyLabelled(s *v1alpha1.ImageScanPolicySpec) { s.Match.ObjectSelector = labelled("app", "web") }

func labelled(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

// digests gives every record that is known a digest.
func digests(inv *inventory) {
	for path, f := range inv.facts {
		for i := range f.Records {
			f.Records[i].Digest = scannedDigest
		}
		inv.facts[path] = f
	}
}

func TestPin(t *testing.T) {
	t.Parallel()
	one := func(change ...func(*v1alpha1.ImageScanPolicySpec)) []*v1alpha1.ImageScanPolicy {
		return all(strict("p", append(change, pins)...))
	}
	clean, pinned := swr+"clean:1", swr+"clean:1@"+scannedDigest
	for name, c := range map[string]struct {
		policies []*v1alpha1.ImageScanPolicy
		request  gate.Request
		want     []string
		lookedUp int
	}{
		"a tag is pinned":                           {one(), pod(clean), []string{pinned}, 1},
		"an implicit tag is written and pinned":     {one(), pod(swr + "clean"), []string{swr + "clean:latest@" + scannedDigest}, 1},
		"a bad image is pinned: another denies it":  {one(), pod(swr + "high:1"), []string{swr + "high:1@" + scannedDigest}, 1},
		"a stale answer pins":                       {one(), pod(swr + "stale:1"), []string{swr + "stale:1@" + scannedDigest}, 1},
		"one image in two places is looked up once": {one(), pod(clean, clean), []string{pinned, pinned}, 1},
		"a digest stays, and is not looked up":      {one(), pod(swr + "clean:1@" + otherDigest), nil, 0},
		"so is a digest without a tag":              {one(), pod(swr + "clean@" + otherDigest), nil, 0},
		"an image beside a digest is pinned":        {one(), pod(swr+"high:1@"+otherDigest, clean), []string{pinned}, 1},
		"a policy that warns pins":                  {one(enforcement("Warn")), pod(clean), []string{pinned}, 1},
		"one that audits changes nothing":           {one(enforcement("Audit")), pod(clean), nil, 0},
		"one without pin pins nothing":              {all(strict("p")), pod(clean), nil, 0},
		"of two policies one is enough":             {append(one(), strict("q")), pod(clean), []string{pinned}, 1},
		"another namespace isn't pinned":            {one(onlyInProd), in("dev", pod(clean)), nil, 0},
		"an exempt namespace isn't":                 {one(), in("kube-system", pod(clean)), nil, 0},
		"another pod isn't":                         {one(onlyLabelled), pod(clean), nil, 0},
		"another image isn't":                       {one(onlyClean), pod(swr+"high:1", clean), []string{pinned}, 1},
		"a template isn't":                          {one(), template(clean), nil, 0},
		"an unknown image is left":                  {one(), pod("evil.example.com/prod/no-such:1"), []string{"notFound: HSS knows no such image"}, 1},
		"an unavailable image stays":                {one(), pod(swr + "gone:1"), []string{"unavailable: HSS did not answer in time (2.9s)"}, 1},
		"what can't be read is left":                {one(), pod("App:1"), []string{"reference: invalid image reference: repository name (library/App) must be lowercase"}, 0},
		"no policies, no pins":                      {nil, pod(clean), nil, 0},
		"unknown labels pin nothing, and say so":    {one(onlyInProd), in("lost", pod(clean)), []string{`notice: no image is pinned: labels of namespace "lost" cannot be read`}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, inv := newGate(t, c.policies...)
			digests(inv)
			found := g.Pin(t.Context(), c.request)
			wantEqual(t, "images", c.want, outcomes(t, c.request, &found))
			wantEqual(t, "look-ups", c.lookedUp, len(inv.lookedUp))
		})
	}
}

// outcomes are what became of each image: its new text, or why it's left.
func outcomes(t *testing.T, r gate.Request, found *gate.Pinning) []string {
	t.Helper()
	var all []string
	for _, p := range found.Pins {
		wantEqual(t, "the place of the pin", r.Workload.Uses[p.Index], p.Use)
		if (p.Pinned == "") != (p.Obstacle != "") || p.Policy != "p" {
			t.Errorf("got %+v", p)
		}
		if p.Pinned != "" {
			all = append(all, p.Pinned)
			continue
		}
		all = append(all, string(p.Obstacle)+": "+p.Message)
	}
	for _, notice := range found.Notices {
		all = append(all, "notice: "+notice)
	}
	return all
}

// Objects that have not been pinned yet are evaluated as they will be pinned.
func TestTemplatesAreEvaluatedAsTheirPodsWillBePinned(t *testing.T) {
	t.Parallel()
	denies := denyTemplates
	reads := func(s *v1alpha1.ImageScanPolicySpec) {
		s.Require.Expressions = []v1alpha1.Expression{{Expression: "image.digest == '" + scannedDigest + "'"}}
	}
	before := pod(swr + "clean:1")
	before.BeforePinning = true
	forDigest := exception(excepting(scannedDigest))
	decide(t, map[string]decision{
		"a template whose pods will have the digest":      {all(strict("p", pins, needsDigest, denies, reads)), nil, digests, template(swr + "clean:1"), gate.Admitted, nil},
		"a pod before it is pinned":                       {all(strict("p", pins, needsDigest, reads)), nil, digests, before, gate.Admitted, nil},
		"a pod that has come past it":                     {all(strict("p", pins, needsDigest)), nil, digests, pod(swr + "clean:1"), gate.Denied, effects("Deny")},
		"the policy that pins need not be the one":        {all(strict("p", needsDigest, denies), strict("q", pins)), nil, digests, template(swr + "clean:1"), gate.Admitted, nil},
		"one that pins other images pins nothing here":    {all(strict("p", needsDigest, denies), strict("q", pins, onlyClean)), nil, digests, template(swr + "stale:1"), gate.Denied, effects("Deny")},
		"one that audits pins nothing":                    {all(strict("p", needsDigest, denies), strict("q", pins, enforcement("Audit"))), nil, digests, template(swr + "clean:1"), gate.Denied, effects("Deny")},
		"no policy pins":                                  {all(strict("p", needsDigest, denies)), nil, digests, template(swr + "clean:1"), gate.Denied, effects("Deny")},
		"an image with nothing to pin has no digest then": {all(strict("p", pins, needsDigest, denies, func(s *v1alpha1.ImageScanPolicySpec) { s.When.NotFound = "Allow" })), nil, digests, template(swr + "no-such:1"), gate.Denied, effects("Deny")},
		"a bad image is bad":                              {all(strict("p", pins, needsDigest, denies)), nil, digests, template(swr + "high:1"), gate.Denied, effects("Deny")},
		"an exception for the digest covers a template":   {all(strict("p", pins, denies)), forDigest, digests, template(swr + "high:1"), gate.Admitted, effects("Excepted")},
		"an exception for a digest must not cover a tag":  {all(strict("p", pins, denies)), forDigest, digests, pod(swr + "high:1"), gate.Denied, effects("Deny")},
	})
}

func TestAnExceptionForVulnerabilitiesCoversATemplateThatWillBePinned(t *testing.T) {
	t.Parallel()
	g, l := listing(t, strict("p", pins, denyTemplates, func(s *v1alpha1.ImageScanPolicySpec) {
		s.Require.Vulnerabilities, s.Require.SeverityLevel = nil, nil
		s.Require.Expressions = []v1alpha1.Expression{{Expression: "image.digest != '' && image.vulnerabilities == 0"}}
	}))
	l.facts["prod/two"].Records[0].Digest = scannedDigest
	withExceptions(t, g, exception(excepting(swr+"two"), naming("CVE-2024-1111", "CVE-2024-2222")))
	wantOutcome(t, g, template(swr+"two:1"), gate.Admitted)
}
