package gate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
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
		return []*v1alpha1.ImageScanPolicy{strict("p", append(change, pins)...)}
	}
	clean, pinned := swr+"clean:1", swr+"clean:1@"+scannedDigest
	for name, c := range map[string]struct {
		policies []*v1alpha1.ImageScanPolicy
		request  gate.Request
		want     []string
		asked    int
	}{
		"a tag is pinned":                           {one(), pod(clean), []string{pinned}, 1},
		"an implicit tag is written and pinned":     {one(), pod(swr + "clean"), []string{swr + "clean:latest@" + scannedDigest}, 1},
		"a bad image is pinned: another denies it":  {one(), pod(swr + "high:1"), []string{swr + "high:1@" + scannedDigest}, 1},
		"a stale answer pins":                       {one(), pod(swr + "stale:1"), []string{swr + "stale:1@" + scannedDigest}, 1},
		"one image in two places is asked for once": {one(), pod(clean, clean), []string{pinned, pinned}, 1},
		"a digest is left alone, unasked":           {one(), pod(swr + "clean:1@" + otherDigest), nil, 0},
		"so is a digest without a tag":              {one(), pod(swr + "clean@" + otherDigest), nil, 0},
		"an image beside a digest is pinned":        {one(), pod(swr+"high:1@"+otherDigest, clean), []string{pinned}, 1},
		"a policy that warns pins":                  {one(enforcement("Warn")), pod(clean), []string{pinned}, 1},
		"one that audits changes nothing":           {one(enforcement("Audit")), pod(clean), nil, 0},
		"one without pin pins nothing":              {[]*v1alpha1.ImageScanPolicy{strict("p")}, pod(clean), nil, 0},
		"of two policies one is enough":             {append(one(), strict("q")), pod(clean), []string{pinned}, 1},
		"another namespace isn't pinned":            {one(onlyInProd), in("dev", pod(clean)), nil, 0},
		"an exempt namespace isn't":                 {one(), in("kube-system", pod(clean)), nil, 0},
		"another pod isn't":                         {one(onlyLabelled), pod(clean), nil, 0},
		"another image isn't":                       {one(onlyClean), pod(swr+"high:1", clean), []string{pinned}, 1},
		"a template isn't":                          {one(), template(clean), nil, 0},
		"an unknown image is left":                  {one(), pod("evil.example.com/prod/no-such:1"), []string{"notFound: HSS knows no such image"}, 1},
		"one that can't be asked for is left":       {one(), pod(swr + "gone:1"), []string{"unavailable: HSS did not answer in time (2.9s)"}, 1},
		"what can't be read is left":                {one(), pod("App:1"), []string{"reference: invalid image reference: repository name (library/App) must be lowercase"}, 0},
		"no policies, no pins":                      {nil, pod(clean), nil, 0},
		"unknown labels pin nothing, and say so":    {one(onlyInProd), in("lost", pod(clean)), []string{`notice: no image is pinned: labels of namespace "lost" cannot be read`}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, inv := newGate(t, c.policies...)
			digests(inv)
			found := g.Pin(t.Context(), c.request)
			if diff := cmp.Diff(c.want, outcomes(t, c.request, &found), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if len(inv.asked) != c.asked {
				t.Errorf("asked for %v, want %d", inv.asked, c.asked)
			}
		})
	}
}

// outcomes are what became of each image: its new text, or why it's left.
func outcomes(t *testing.T, r gate.Request, found *gate.Pinning) []string {
	t.Helper()
	var all []string
	for _, p := range found.Pins {
		if diff := cmp.Diff(r.Workload.Uses[p.Index], p.Use); diff != "" {
			t.Errorf("the pin is of another place: %s", diff)
		}
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

func TestAPinIsWhatTheVerdictIsOf(t *testing.T) {
	t.Parallel()
	g, inv := newGate(t, strict("p", pins, needsDigest))
	digests(inv)
	r := pod(swr + "clean:1")
	if d := g.Decide(t.Context(), r); d.Outcome != gate.Denied {
		t.Errorf("a tag is %s by a policy that requires digests, want Denied", d.Outcome)
	}
	r.Workload.Uses[0].Image = g.Pin(t.Context(), r).Pins[0].Pinned
	if d := g.Decide(t.Context(), r); d.Outcome != gate.Admitted {
		t.Errorf("the pinned pod is %s: %s", d.Outcome, d.Message())
	}
	if again := g.Pin(t.Context(), r); len(again.Pins) != 0 {
		t.Errorf("the pinned pod is pinned again: %+v", again)
	}
}

// What has not come to where images are pinned is judged as it will come from
// there.
func TestTemplatesAreJudgedAsTheirPodsWillBePinned(t *testing.T) {
	t.Parallel()
	denies := func(s *v1alpha1.ImageScanPolicySpec) { s.Templates = v1alpha1.TemplateDeny }
	reads := func(s *v1alpha1.ImageScanPolicySpec) {
		s.Require.Expressions = []v1alpha1.Expression{{Expression: "image.digest == '" + scannedDigest + "'"}}
	}
	before := pod(swr + "clean:1")
	before.BeforePinning = true
	for name, c := range map[string]struct {
		policies []*v1alpha1.ImageScanPolicy
		request  gate.Request
		want     gate.Outcome
	}{
		"a template whose pods will have the digest":      {[]*v1alpha1.ImageScanPolicy{strict("p", pins, needsDigest, denies, reads)}, template(swr + "clean:1"), gate.Admitted},
		"a pod before it is pinned":                       {[]*v1alpha1.ImageScanPolicy{strict("p", pins, needsDigest, reads)}, before, gate.Admitted},
		"a pod that has come past it":                     {[]*v1alpha1.ImageScanPolicy{strict("p", pins, needsDigest)}, pod(swr + "clean:1"), gate.Denied},
		"the policy that pins need not be the one":        {[]*v1alpha1.ImageScanPolicy{strict("p", needsDigest, denies), strict("q", pins)}, template(swr + "clean:1"), gate.Admitted},
		"one that pins other images pins nothing here":    {[]*v1alpha1.ImageScanPolicy{strict("p", needsDigest, denies), strict("q", pins, onlyClean)}, template(swr + "stale:1"), gate.Denied},
		"one that audits pins nothing":                    {[]*v1alpha1.ImageScanPolicy{strict("p", needsDigest, denies), strict("q", pins, enforcement("Audit"))}, template(swr + "clean:1"), gate.Denied},
		"no policy pins":                                  {[]*v1alpha1.ImageScanPolicy{strict("p", needsDigest, denies)}, template(swr + "clean:1"), gate.Denied},
		"an image with nothing to pin has no digest then": {[]*v1alpha1.ImageScanPolicy{strict("p", pins, needsDigest, denies, func(s *v1alpha1.ImageScanPolicySpec) { s.When.NotFound = "Allow" })}, template(swr + "no-such:1"), gate.Denied},
		"a bad image is bad":                              {[]*v1alpha1.ImageScanPolicy{strict("p", pins, needsDigest, denies)}, template(swr + "high:1"), gate.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, inv := newGate(t, c.policies...)
			digests(inv)
			d := g.Decide(t.Context(), c.request)
			if d.Outcome != c.want || strings.Contains(d.Message(), scannedDigest) {
				t.Errorf("got %s, want %s: %s", d.Outcome, c.want, d.Message())
			}
		})
	}
}

func TestAnExceptionForTheDigestCoversATemplateThatWillBePinned(t *testing.T) {
	t.Parallel()
	g, inv := newGate(t, strict("p", pins, func(s *v1alpha1.ImageScanPolicySpec) { s.Templates = v1alpha1.TemplateDeny }))
	digests(inv)
	withExceptions(t, g, exception(named("e", time.Hour), func(e *v1alpha1.ImageScanException) { e.Spec.Images = []string{scannedDigest} }))
	if d := g.Decide(t.Context(), template(swr+"high:1")); d.Outcome != gate.Admitted {
		t.Errorf("got %s: %s", d.Outcome, d.Message())
	}
	if d := g.Decide(t.Context(), pod(swr+"high:1")); d.Outcome != gate.Denied {
		t.Error("an exception for a digest must not cover a tag")
	}
}

func TestAnExceptionForVulnerabilitiesCoversATemplateThatWillBePinned(t *testing.T) {
	t.Parallel()
	g, _ := listing(t, strict("p", pins, func(s *v1alpha1.ImageScanPolicySpec) {
		s.Templates = v1alpha1.TemplateDeny
		s.Require.Vulnerabilities, s.Require.SeverityLevel = nil, nil
		s.Require.Expressions = []v1alpha1.Expression{{Expression: "image.digest != '' && image.vulnerabilities == 0"}}
	}))
	facts := g.Facts.(*inventory).facts["prod/two"]
	facts.Records[0].Digest = scannedDigest
	withExceptions(t, g, exception(func(e *v1alpha1.ImageScanException) {
		e.Spec.Images, e.Spec.Vulnerabilities = []string{swr + "two"}, []string{"CVE-2024-1111", "CVE-2024-2222"}
	}))
	if d := g.Decide(t.Context(), template(swr+"two:1")); d.Outcome != gate.Admitted {
		t.Errorf("got %s: %s", d.Outcome, d.Message())
	}
}

func TestAPanicWhileLookingUpPinsNothing(t *testing.T) {
	t.Parallel()
	g, _ := newGate(t, strict("p", pins))
	g.Facts = panicking{}
	found := g.Pin(t.Context(), pod(swr+"clean:1"))
	if len(found.Pins) != 1 || found.Pins[0].Obstacle != policy.PinUnavailable {
		t.Errorf("got %+v", found)
	}
}

func TestLinesOfPins(t *testing.T) {
	t.Parallel()
	use := image.Use{Place: image.PlaceVolume, Name: "model", Image: "m:1"}
	found := gate.Pinning{Pins: []gate.Pin{
		{Use: use, Policy: "p", Pinned: "m:1@" + scannedDigest},
		{Use: use, Policy: "p", Obstacle: policy.PinNoDigest, Message: "HSS tells no digest"},
	}}
	for pinned, want := range map[bool]string{
		true:  `image volume "model": m:1@` + scannedDigest,
		false: `image volume "model": "m:1" is not pinned: HSS tells no digest [policy p]`,
	} {
		if diff := cmp.Diff([]string{want}, found.Lines(pinned)); diff != "" {
			t.Error(diff)
		}
	}
	for range 100 {
		found.Pins = append(found.Pins, found.Pins[0])
	}
	if lines := found.Lines(true); len(lines) != 21 || lines[20] != "and 81 more" {
		t.Errorf("got %d lines, the last: %s", len(lines), lines[len(lines)-1])
	}
}
