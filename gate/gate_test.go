package gate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const swr = "swr.cn-north-4.myhuaweicloud.com/prod/"

// policies are those that a test puts in force.
type policies struct{ index *gate.Index }

func (p policies) Index() *gate.Index { return p.index }

// namespaces are labels by namespace; any other can't be read.
type namespaces map[string]map[string]string

func (n namespaces) NamespaceLabels(_ context.Context, name string) (map[string]string, error) {
	labels, ok := n[name]
	if !ok {
		return nil, errors.New("connection refused")
	}
	return labels, nil
}

// inventory is what HSS knows, by repository, and what was asked of it.
type inventory struct {
	facts map[string]policy.Facts
	mu    sync.Mutex
	asked []string
}

func (i *inventory) Facts(_ context.Context, ref image.Reference) policy.Facts {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, ref.String())
	f, ok := i.facts[ref.Path]
	if !ok {
		f = policy.Facts{State: policy.StateNotFound, Reason: "HSS knows no such image"}
	}
	f.Image = policy.Image{Reference: ref.String(), Host: ref.Host, Path: ref.Path, Tag: ref.Tag, Digest: ref.Digest}
	return f
}

// Known knows nothing: what is fresh is told by Facts too.
func (i *inventory) Known(image.Reference) (policy.Facts, bool) { return policy.Facts{}, false }

func scanned(severity v1alpha1.Severity, vulnerabilities int) policy.Facts {
	return policy.Facts{State: policy.StateFound, AsOf: now, Records: []policy.Record{{
		ID: "1", ImageType: "private_image", Severity: severity, ScannedAt: now.Add(-time.Hour), UpdatedAt: now.Add(-2 * time.Hour),
		Scan: policy.Scan{Status: v1alpha1.ScanStatusSuccess, Vulnerabilities: &vulnerabilities, UnsafeSettings: new(0), MaliciousFiles: new(0)},
	}}}
}

func known() map[string]policy.Facts {
	stale := scanned("Low", 0)
	stale.Stale, stale.StaleReason, stale.AsOf = true, "HSS did not answer in time (2.9s)", now.Add(-7*time.Minute)
	return map[string]policy.Facts{
		"prod/clean": scanned("Low", 0),
		"prod/high":  scanned("High", 111),
		"prod/stale": stale,
		"prod/gone":  {State: policy.StateUnavailable, Reason: "HSS did not answer in time (2.9s)"},
	}
}

func strict(name string, change ...func(*v1alpha1.ImageScanPolicySpec)) *v1alpha1.ImageScanPolicy {
	p := &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Spec.Require.SeverityLevel = &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium}
	p.Spec.Require.Vulnerabilities = &v1alpha1.VulnerabilityRequirement{Max: 0}
	for _, c := range change {
		c(&p.Spec)
	}
	return p
}

func enforcement(e v1alpha1.Enforcement) func(*v1alpha1.ImageScanPolicySpec) {
	return func(s *v1alpha1.ImageScanPolicySpec) { s.Enforcement = e }
}

func onlyInProd(s *v1alpha1.ImageScanPolicySpec) {
	s.Match.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}
}

func newGate(t *testing.T, all ...*v1alpha1.ImageScanPolicy) (*gate.Gate, *inventory) {
	t.Helper()
	var inForce []*policy.Policy
	for _, p := range all {
		compiled, err := policy.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		inForce = append(inForce, compiled)
	}
	inv := &inventory{facts: known()}
	return &gate.Gate{
		Policies: policies{gate.NewIndex(inForce)}, Facts: inv, Clock: clocktesting.NewFakePassiveClock(now),
		Namespaces:       namespaces{"prod": {"env": "prod"}, "dev": {"env": "dev"}},
		ExemptNamespaces: []string{"kube-system"},
	}, inv
}

func pod(images ...string) gate.Request {
	r := gate.Request{Namespace: "prod", Name: "web-7d4", Workload: image.Workload{Kind: "Pod"}}
	for i, img := range images {
		r.Workload.Uses = append(r.Workload.Uses, image.Use{Place: image.PlaceContainer, Name: fmt.Sprintf("c%d", i), Image: img})
	}
	return r
}

func template(images ...string) gate.Request {
	r := pod(images...)
	r.Workload.Kind, r.Workload.Template = "Deployment", true
	return r
}

func in(namespace string, r gate.Request) gate.Request {
	r.Namespace = namespace
	return r
}

func TestDecide(t *testing.T) {
	t.Parallel()
	ignoreTemplates := func(s *v1alpha1.ImageScanPolicySpec) { s.Templates = v1alpha1.TemplateIgnore }
	denyTemplates := func(s *v1alpha1.ImageScanPolicySpec) { s.Templates = v1alpha1.TemplateDeny }
	warnUnknown := func(s *v1alpha1.ImageScanPolicySpec) { s.When.NotFound = v1alpha1.ActionWarn }
	admitUnknown := func(s *v1alpha1.ImageScanPolicySpec) { s.When.NotFound = v1alpha1.ActionAllow }
	onlyClean := func(s *v1alpha1.ImageScanPolicySpec) { s.Match.Images = []string{swr + "clean"} }
	onlyWeb := func(s *v1alpha1.ImageScanPolicySpec) {
		s.Match.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	}
	tests := map[string]struct {
		policies []*v1alpha1.ImageScanPolicy
		request  gate.Request
		want     gate.Outcome
		effects  []v1alpha1.Enforcement
	}{
		"a clean image is admitted":                          {[]*v1alpha1.ImageScanPolicy{strict("p")}, pod(swr + "clean:1"), gate.Admitted, nil},
		"a bad image is denied":                              {[]*v1alpha1.ImageScanPolicy{strict("p")}, pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"one bad image of two denies":                        {[]*v1alpha1.ImageScanPolicy{strict("p")}, pod(swr+"clean:1", swr+"high:1"), gate.Denied, effects("Deny")},
		"without a policy all is admitted":                   {nil, pod(swr + "high:1"), gate.Admitted, nil},
		"without images there is nothing to deny":            {[]*v1alpha1.ImageScanPolicy{strict("p")}, pod(), gate.Admitted, nil},
		"a Warn policy admits":                               {[]*v1alpha1.ImageScanPolicy{strict("p", enforcement("Warn"))}, pod(swr + "high:1"), gate.Admitted, effects("Warn")},
		"an Audit policy admits":                             {[]*v1alpha1.ImageScanPolicy{strict("p", enforcement("Audit"))}, pod(swr + "high:1"), gate.Admitted, effects("Audit")},
		"the strictest of several policies decides":          {[]*v1alpha1.ImageScanPolicy{strict("a", enforcement("Audit")), strict("b")}, pod(swr + "high:1"), gate.Denied, effects("Audit", "Deny")},
		"an unknown image is denied":                         {[]*v1alpha1.ImageScanPolicy{strict("p")}, pod(swr + "unknown:1"), gate.Denied, effects("Deny")},
		"an unknown image is warned of if the policy says":   {[]*v1alpha1.ImageScanPolicy{strict("p", warnUnknown)}, pod(swr + "unknown:1"), gate.Admitted, effects("Warn")},
		"an unknown image is admitted if the policy says":    {[]*v1alpha1.ImageScanPolicy{strict("p", admitUnknown)}, pod(swr + "unknown:1"), gate.Admitted, nil},
		"when never goes beyond the enforcement":             {[]*v1alpha1.ImageScanPolicy{strict("p", enforcement("Audit"))}, pod(swr + "unknown:1"), gate.Admitted, effects("Audit")},
		"HSS that can't be asked is an answer of its own":    {[]*v1alpha1.ImageScanPolicy{strict("p")}, pod(swr + "gone:1"), gate.Unavailable, effects("Deny")},
		"a bad image outweighs HSS that can't be asked":      {[]*v1alpha1.ImageScanPolicy{strict("p")}, pod(swr+"gone:1", swr+"high:1"), gate.Denied, effects("Deny", "Deny")},
		"a reference that can't be read is denied":           {[]*v1alpha1.ImageScanPolicy{strict("p", onlyClean)}, pod("Not/An:Image"), gate.Denied, effects("Deny")},
		"an image that no glob selects is admitted":          {[]*v1alpha1.ImageScanPolicy{strict("p", onlyClean)}, pod(swr + "high:1"), gate.Admitted, nil},
		"a namespace that isn't selected is left alone":      {[]*v1alpha1.ImageScanPolicy{strict("p", onlyInProd)}, in("dev", pod(swr+"high:1")), gate.Admitted, nil},
		"a namespace that is selected isn't":                 {[]*v1alpha1.ImageScanPolicy{strict("p", onlyInProd)}, pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"a namespace that can't be read counts as selected":  {[]*v1alpha1.ImageScanPolicy{strict("p", onlyInProd)}, in("secret", pod(swr+"high:1")), gate.Denied, effects("Deny")},
		"a pod without the selected label is left alone":     {[]*v1alpha1.ImageScanPolicy{strict("p", onlyWeb)}, pod(swr + "high:1"), gate.Admitted, nil},
		"an exempt namespace is left alone":                  {[]*v1alpha1.ImageScanPolicy{strict("p")}, in("kube-system", pod(swr+"high:1")), gate.Admitted, nil},
		"a template is warned of":                            {[]*v1alpha1.ImageScanPolicy{strict("p")}, template(swr + "high:1"), gate.Admitted, effects("Warn")},
		"a template is denied if the policy says so":         {[]*v1alpha1.ImageScanPolicy{strict("p", denyTemplates)}, template(swr + "high:1"), gate.Denied, effects("Deny")},
		"a template is left alone if the policy says so":     {[]*v1alpha1.ImageScanPolicy{strict("p", ignoreTemplates)}, template(swr + "high:1"), gate.Admitted, nil},
		"a template's denial never goes beyond the policy's": {[]*v1alpha1.ImageScanPolicy{strict("p", denyTemplates, enforcement("Audit"))}, template(swr + "high:1"), gate.Admitted, effects("Audit")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := newGate(t, tt.policies...)
			d := g.Decide(t.Context(), tt.request)
			if d.Outcome != tt.want {
				t.Errorf("Outcome = %q, want %q; lines:\n%s", d.Outcome, tt.want, strings.Join(d.Lines(), "\n"))
			}
			var got []v1alpha1.Enforcement
			for _, v := range d.Violations {
				got = append(got, v.Effect)
			}
			if diff := cmp.Diff(tt.effects, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPoliciesKnowWhichImagesAreUnknown(t *testing.T) {
	t.Parallel()
	allow := func(s *v1alpha1.ImageScanPolicySpec) { s.When.Unavailable = v1alpha1.ActionAllow }
	for name, test := range map[string]struct {
		request gate.Request
		want    []string
	}{
		"no scan result is available, though one policy allows that": {pod(swr+"clean:1", swr+"gone:1"), []string{"a", "b"}},
		"HSS knows nothing of the image":                             {pod(swr + "unknown:1"), nil},
		"HSS scanned the image":                                      {pod(swr + "high:1"), nil},
		"the reference is invalid":                                   {pod("Not/An:Image"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := newGate(t, strict("a"), strict("b", allow), strict("c", onlyClean))
			if diff := cmp.Diff(test.want, g.Decide(t.Context(), test.request).Unknown); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func effects(e ...v1alpha1.Enforcement) []v1alpha1.Enforcement { return e }

func TestMessages(t *testing.T) {
	t.Parallel()
	digestRequired := func(s *v1alpha1.ImageScanPolicySpec) { s.Require.Digest = v1alpha1.DigestRequired }
	many := make([]string, 30)
	for i := range many {
		many[i] = fmt.Sprintf("%shigh:%d", swr, i)
	}
	tests := map[string]struct {
		policies []*v1alpha1.ImageScanPolicy
		request  gate.Request
	}{
		"denied":         {[]*v1alpha1.ImageScanPolicy{strict("production")}, pod(swr + "high:1.4")},
		"two-policies":   {[]*v1alpha1.ImageScanPolicy{strict("a", digestRequired), strict("b")}, pod(swr+"high:1.4", swr+"clean:1", swr+"unknown:1")},
		"unavailable":    {[]*v1alpha1.ImageScanPolicy{strict("production")}, pod(swr + "gone:1")},
		"invalid":        {[]*v1alpha1.ImageScanPolicy{strict("production")}, pod("Prod/App:1", strings.Repeat("x", 500)+" ")},
		"stale":          {[]*v1alpha1.ImageScanPolicy{strict("production")}, pod(swr + "stale:1")},
		"template":       {[]*v1alpha1.ImageScanPolicy{strict("production")}, template(swr + "high:1.4")},
		"many":           {[]*v1alpha1.ImageScanPolicy{strict("production")}, pod(many...)},
		"many-warnings":  {[]*v1alpha1.ImageScanPolicy{strict("production", enforcement("Warn"))}, pod(many...)},
		"no-labels":      {[]*v1alpha1.ImageScanPolicy{strict("production", onlyInProd)}, in("secret", pod(swr+"clean:1"))},
		"mixed-enforced": {[]*v1alpha1.ImageScanPolicy{strict("a", enforcement("Warn")), strict("b", enforcement("Audit")), strict("c")}, pod(swr + "high:1")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := newGate(t, tt.policies...)
			d := g.Decide(t.Context(), tt.request)
			golden(t, name, fmt.Sprintf("message:\n%s\n\nwarnings:\n%s\n\nwarnings of a dry run:\n%s\n\nlines:\n%s\n",
				d.Message(), strings.Join(d.Warnings(), "\n"), strings.Join(d.DryWarnings(), "\n"), strings.Join(d.Lines(), "\n")))
		})
	}
}

// golden compares with testdata/NAME.golden; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestAnImageIsAskedForOnce(t *testing.T) {
	t.Parallel()
	g, inv := newGate(t, strict("a"), strict("b"))
	g.Decide(t.Context(), pod("nginx", "docker.io/library/nginx:latest", "nginx"))
	if diff := cmp.Diff([]string{"docker.io/library/nginx:latest"}, inv.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestAnImageThatNoPolicyMatchesIsNotAskedFor(t *testing.T) {
	t.Parallel()
	g, inv := newGate(t, strict("p", func(s *v1alpha1.ImageScanPolicySpec) { s.Match.ExcludeImages = []string{"docker.io/**"} }))
	g.Decide(t.Context(), pod("nginx", swr+"clean:1"))
	if diff := cmp.Diff([]string{swr + "clean:1"}, inv.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// meeting answers only once all askers are there.
type meeting struct {
	inventory
	all sync.WaitGroup
}

func (m *meeting) Facts(ctx context.Context, ref image.Reference) policy.Facts {
	m.all.Done()
	m.all.Wait()
	return m.inventory.Facts(ctx, ref)
}

func TestImagesAreAskedForSideBySide(t *testing.T) {
	t.Parallel()
	g, _ := newGate(t, strict("p"))
	facts := &meeting{inventory: inventory{facts: known()}}
	facts.all.Add(3)
	g.Facts = facts
	if d := g.Decide(t.Context(), pod(swr+"clean:1", swr+"clean:2", swr+"clean:3")); d.Outcome != gate.Admitted {
		t.Errorf("Outcome = %q, want Admitted", d.Outcome)
	}
}

// panicking is an inventory with a bug.
type panicking struct{}

func (panicking) Known(image.Reference) (policy.Facts, bool) { panic("a bug") }

func (panicking) Facts(context.Context, image.Reference) policy.Facts { panic("a bug") }

// slow answers when ctx ends, and only of what is gone.
type slow struct{ *inventory }

func (s slow) Facts(ctx context.Context, ref image.Reference) policy.Facts {
	if ref.Path == "prod/gone" {
		<-ctx.Done()
	}
	return s.inventory.Facts(ctx, ref)
}

func TestExpressionsAreEvaluatedThoughHSSTakesAllTheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, inv := newGate(t, strict("a", func(s *v1alpha1.ImageScanPolicySpec) {
			s.Require.Expressions = []v1alpha1.Expression{{Expression: "image.scanStatus == 'success'"}}
			s.When.Unavailable = v1alpha1.ActionWarn
		}))
		g.Facts = slow{inv}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d := g.Decide(ctx, pod(swr+"clean:1", swr+"gone:1"))
		if d.Outcome != gate.Admitted || ctx.Err() != nil {
			t.Errorf("Outcome = %q, ctx: %v, message %q", d.Outcome, ctx.Err(), d.Message())
		}
	})
}

func TestManyImagesOfManyExpressionsTakeNoMoreThanTheirTime(t *testing.T) {
	t.Parallel()
	g, inv := newGate(t, strict("a", func(s *v1alpha1.ImageScanPolicySpec) {
		for n := range 16 {
			source := fmt.Sprintf("image.architectures.all(a, a.digest.contains('%d') || a.digest.contains('b') || a.digest.contains('a'))", n)
			s.Require.Expressions = append(s.Require.Expressions, v1alpha1.Expression{Expression: source})
		}
	}))
	large := scanned("Low", 0)
	for range 60 {
		large.Records[0].Architectures = append(large.Records[0].Architectures, policy.Architecture{
			Digest: strings.Repeat("x", 1000) + "a", Scan: large.Records[0].Scan,
		})
	}
	inv.facts["prod/large"] = large
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	// All of it would take seconds.
	d := g.Decide(ctx, pod(slices.Repeat([]string{swr + "large:1"}, 200)...))
	if d.Outcome != gate.Denied || !strings.Contains(d.Violations[len(d.Violations)-1].String(), "interrupted, as the time for the review is up") {
		t.Errorf("Outcome = %q, message %q; want a denial for lack of time", d.Outcome, d.Message())
	}
}

func TestAPanicWhileLookingUpDeniesAndDoesNotSpread(t *testing.T) {
	t.Parallel()
	g, _ := newGate(t, strict("p"))
	g.Facts = panicking{}
	d := g.Decide(t.Context(), pod(swr+"clean:1", swr+"clean:2"))
	if d.Outcome != gate.Unavailable || !strings.Contains(d.Message(), "internal error: a bug") {
		t.Errorf("Outcome = %q, message %q", d.Outcome, d.Message())
	}
}

func TestDenies(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		policies  []*v1alpha1.ImageScanPolicy
		namespace string
		want      bool
	}{
		"without policies nothing is denied":         {nil, "prod", false},
		"with only milder ones neither":              {[]*v1alpha1.ImageScanPolicy{strict("a", enforcement("Warn"))}, "prod", false},
		"one that denies is enough":                  {[]*v1alpha1.ImageScanPolicy{strict("a", enforcement("Warn")), strict("b")}, "prod", true},
		"nothing is denied in an exempt namespace":   {[]*v1alpha1.ImageScanPolicy{strict("a")}, "kube-system", false},
		"a namespace that isn't known may be denied": {[]*v1alpha1.ImageScanPolicy{strict("a")}, "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := newGate(t, tt.policies...)
			if got := g.Denies(tt.namespace); got != tt.want {
				t.Errorf("Denies(%q) = %t, want %t", tt.namespace, got, tt.want)
			}
			if got, want := g.Exempts(tt.namespace), tt.namespace == "kube-system"; got != want {
				t.Errorf("Exempts(%q) = %t, want %t", tt.namespace, got, want)
			}
		})
	}
}

func TestTheZeroDecisionIsNoAdmission(t *testing.T) {
	t.Parallel()
	if d := (gate.Decision{}); d.Outcome == gate.Admitted {
		t.Error("the zero decision admits")
	}
}

func TestWhatIsFreshIsNotAskedFor(t *testing.T) {
	t.Parallel()
	g, inv := newGate(t, strict("p"))
	g.Facts = &fresh{inventory: inv, known: swr + "clean"}
	if d := g.Decide(t.Context(), pod(swr+"clean:1", swr+"high:1", swr+"clean:1")); d.Outcome != gate.Denied || len(d.Violations) != 1 {
		t.Errorf("Outcome = %q with %d violations, want Denied with 1", d.Outcome, len(d.Violations))
	}
	if diff := cmp.Diff([]string{swr + "high:1"}, inv.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// fresh is an inventory that has one repository in memory.
type fresh struct {
	*inventory
	known string
}

func (f *fresh) Known(ref image.Reference) (policy.Facts, bool) {
	return scanned("Low", 0), ref.Repository() == f.known
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 3, 10, 100} {
		for _, matching := range []int{1, 10} {
			for _, others := range []int{0, 1000} {
				b.Run(fmt.Sprintf("images=%d/policies=%d/others=%d", n, matching, others), func(b *testing.B) {
					benchmarkDecide(b, n, matching, others)
				})
			}
		}
	}
}

// benchmarkDecide decides about n clean images by some policies that match
// and others that don't: half by the namespace, the rest by image and by label.
func benchmarkDecide(b *testing.B, n, matching, others int) {
	var all []*policy.Policy
	add := func(p *v1alpha1.ImageScanPolicy) {
		compiled, err := policy.Compile(p)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, compiled)
	}
	for i := range matching {
		add(strict(fmt.Sprintf("p%d", i), onlyInProd))
	}
	for i := range others {
		add(strict(fmt.Sprintf("other%d", i), elsewhere(i)))
	}
	g := &gate.Gate{Policies: policies{gate.NewIndex(all)}, Facts: constant{scanned("Low", 0)},
		Clock: clocktesting.NewFakePassiveClock(now), Namespaces: namespaces{"prod": {"env": "prod"}}}
	images := make([]string, n)
	for i := range images {
		images[i] = fmt.Sprintf("%sclean:%d", swr, i)
	}
	r := pod(images...)
	b.ReportAllocs()
	for b.Loop() {
		if d := g.Decide(b.Context(), r); d.Outcome != gate.Admitted || len(d.Policies) != matching {
			b.Fatalf("%+v", d)
		}
	}
}

func elsewhere(i int) func(*v1alpha1.ImageScanPolicySpec) {
	return func(s *v1alpha1.ImageScanPolicySpec) {
		switch i % 4 {
		case 0:
			s.Match.Images = []string{fmt.Sprintf("swr.cn-north-4.myhuaweicloud.com/team-%d/**", i)}
		case 1:
			s.Match.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": fmt.Sprint(i)}}
		default:
			s.Match.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"env": fmt.Sprint(i)}}
		}
	}
}

// constant knows the same of every image.
type constant struct{ facts policy.Facts }

func (c constant) Known(image.Reference) (policy.Facts, bool) { return c.facts, true }

func (c constant) Facts(context.Context, image.Reference) policy.Facts { return c.facts }

func TestReferencesAreThoseThatADecisionAsksFor(t *testing.T) {
	t.Parallel()
	onlyHigh := func(s *v1alpha1.ImageScanPolicySpec) { s.Match.Images = []string{swr + "high"} }
	tests := map[string]struct {
		policies []*v1alpha1.ImageScanPolicy
		request  gate.Request
		want     []string
	}{
		"all that a policy judges":       {[]*v1alpha1.ImageScanPolicy{strict("p")}, pod(swr+"clean:1", swr+"high:1"), []string{swr + "clean:1", swr + "high:1"}},
		"only those that it judges":      {[]*v1alpha1.ImageScanPolicy{strict("p", onlyHigh)}, pod(swr+"clean:1", swr+"high:1"), []string{swr + "high:1"}},
		"none without a policy":          {nil, pod(swr + "clean:1"), nil},
		"none of an exempt namespace":    {[]*v1alpha1.ImageScanPolicy{strict("p")}, in("kube-system", pod(swr+"clean:1")), nil},
		"none that can't be read":        {[]*v1alpha1.ImageScanPolicy{strict("p")}, pod("UPPER", swr+"high:1"), []string{swr + "high:1"}},
		"all if labels can't be read":    {[]*v1alpha1.ImageScanPolicy{strict("p", onlyInProd)}, in("unknown", pod(swr+"clean:1")), []string{swr + "clean:1"}},
		"none if no namespace is chosen": {[]*v1alpha1.ImageScanPolicy{strict("p", onlyInProd)}, in("dev", pod(swr+"clean:1")), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, inv := newGate(t, tt.policies...)
			var got []string
			for _, ref := range g.References(t.Context(), tt.request) {
				got = append(got, ref.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("references (-want +got):\n%s", diff)
			}
			if len(inv.asked) > 0 {
				t.Errorf("the inventory was asked for %v", inv.asked)
			}
			g.Decide(t.Context(), tt.request)
			if diff := cmp.Diff(tt.want, inv.asked, cmpopts.SortSlices(strings.Compare)); diff != "" {
				t.Errorf("a decision asks for others (-want +got):\n%s", diff)
			}
		})
	}
}
