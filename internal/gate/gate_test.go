package gate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const swr = "swr.cn-north-4.myhuaweicloud.com/prod/"

// namespaces are labels by namespace; any other can't be read.
type namespaces map[string]map[string]string

func (n namespaces) NamespaceLabels(_ context.Context, name string) (map[string]string, error) {
	labels, ok := n[name]
	if !ok {
		return nil, errors.New("connection refused")
	}
	return labels, nil
}

// inventory is what HSS knows, by repository, and what was looked up.
type inventory struct {
	facts map[string]policy.Facts
	// before, if set, is called before each look-up; known and list, if set, answer Known and WithDetails, for vulnerabilities.
	before func(ctx context.Context, ref image.Reference)
	known  func(ref image.Reference) (policy.Facts, bool)
	list   func(ctx context.Context, ref image.Reference, f policy.Facts, needed bool) policy.Facts

	mu       sync.Mutex
	lookedUp []string
}

func (i *inventory) Facts(ctx context.Context, ref image.Reference) policy.Facts {
	if i.before != nil {
		i.before(ctx, ref)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lookedUp = append(i.lookedUp, ref.String())
	f, ok := i.facts[ref.Path]
	if !ok {
		f = policy.Facts{State: policy.StateNotFound, Reason: "HSS knows no such image"}
	}
	f.Image = ref
	return f
}

func (i *inventory) WithDetails(ctx context.Context, ref image.Reference, f policy.Facts, wanted policy.Details) policy.Facts {
	w, ok := wanted[policy.DetailVulnerabilities]
	if i.list == nil || !ok {
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, w.Wait)
	defer cancel()
	return i.list(ctx, ref, f, w.Needed)
}

func (*inventory) KnownAffected(image.Reference, []string) []*policy.Affected { return nil }

func (*inventory) Affected(context.Context, image.Reference, []string) []*policy.Affected { return nil }

func (*inventory) WithCVEs(_ context.Context, _ image.Reference, f policy.Facts, _ policy.CVENeeds) policy.Facts {
	return f
}

func (i *inventory) Known(ref image.Reference) (policy.Facts, bool) {
	if i.known == nil {
		return policy.Facts{}, false // tests look everything up
	}
	return i.known(ref)
}

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

func newGate(t testing.TB, all ...*v1alpha1.ImageScanPolicy) (*gate.Gate, *inventory) {
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
		Policies: func() []*policy.Policy { return inForce }, Facts: inv, Clock: clocktesting.NewFakePassiveClock(now),
		NamespaceLabels:  namespaces{"prod": {"env": "prod"}, "dev": {"env": "dev"}}.NamespaceLabels,
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

func denyTemplates(s *v1alpha1.ImageScanPolicySpec) { s.Templates = v1alpha1.TemplateDeny }

func template(images ...string) gate.Request {
	r := pod(images...)
	r.Workload.Kind, r.Workload.Template = "Deployment", true
	return r
}

func in(namespace string, r gate.Request) gate.Request {
	r.Namespace = namespace
	return r
}

// wantEqual compares what a test got with what it wants; nothing is equal to empty.
func wantEqual[T any](t *testing.T, what string, want, got T, options ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, append(options, cmpopts.EquateEmpty())...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// wantOutcome decides a request, and returns the decision.
func wantOutcome(t *testing.T, g *gate.Gate, r gate.Request, want gate.Outcome) *gate.Decision {
	t.Helper()
	d := g.Decide(t.Context(), r)
	wantEqual(t, "outcome: "+d.Message(), want, d.Outcome)
	return &d
}

func TestDecide(t *testing.T) {
	t.Parallel()
	ignoreTemplates := func(s *v1alpha1.ImageScanPolicySpec) { s.Templates = v1alpha1.TemplateIgnore }
	warnUnknown := func(s *v1alpha1.ImageScanPolicySpec) { s.When.NotFound = v1alpha1.ActionWarn }
	admitUnknown := func(s *v1alpha1.ImageScanPolicySpec) { s.When.NotFound = v1alpha1.ActionAllow }
	decide(t, map[string]decision{
		"a clean image is admitted":                          {all(strict("p")), nil, nil, pod(swr + "clean:1"), gate.Admitted, nil},
		"a bad image is denied":                              {all(strict("p")), nil, nil, pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"without a policy all is admitted":                   {nil, nil, nil, pod(swr + "high:1"), gate.Admitted, nil},
		"without images there is nothing to deny":            {all(strict("p")), nil, nil, pod(), gate.Admitted, nil},
		"a Warn policy admits":                               {all(strict("p", enforcement("Warn"))), nil, nil, pod(swr + "high:1"), gate.Admitted, effects("Warn")},
		"an Audit policy admits":                             {all(strict("p", enforcement("Audit"))), nil, nil, pod(swr + "high:1"), gate.Admitted, effects("Audit")},
		"the strictest of several policies decides":          {all(strict("a", enforcement("Audit")), strict("b")), nil, nil, pod(swr + "high:1"), gate.Denied, effects("Audit", "Deny")},
		"an unknown image is denied":                         {all(strict("p")), nil, nil, pod(swr + "unknown:1"), gate.Denied, effects("Deny")},
		"an unknown image is warned of if the policy says":   {all(strict("p", warnUnknown)), nil, nil, pod(swr + "unknown:1"), gate.Admitted, effects("Warn")},
		"an unknown image is admitted if the policy says":    {all(strict("p", admitUnknown)), nil, nil, pod(swr + "unknown:1"), gate.Admitted, nil},
		"when never goes beyond the enforcement":             {all(strict("p", enforcement("Audit"))), nil, nil, pod(swr + "unknown:1"), gate.Admitted, effects("Audit")},
		"an unreachable HSS is an outcome of its own":        {all(strict("p")), nil, nil, pod(swr + "gone:1"), gate.Unavailable, effects("Deny")},
		"a bad image outweighs an unreachable HSS":           {all(strict("p")), nil, nil, pod(swr+"gone:1", swr+"high:1"), gate.Denied, effects("Deny", "Deny")},
		"a reference that can't be read is denied":           {all(strict("p", onlyClean)), nil, nil, pod("Not/An:Image"), gate.Denied, effects("Deny")},
		"an image that no glob selects is admitted":          {all(strict("p", onlyClean)), nil, nil, pod(swr + "high:1"), gate.Admitted, nil},
		"a namespace that isn't selected is left alone":      {all(strict("p", onlyInProd)), nil, nil, in("dev", pod(swr+"high:1")), gate.Admitted, nil},
		"a namespace that can't be read counts as selected":  {all(strict("p", onlyInProd)), nil, nil, in("secret", pod(swr+"high:1")), gate.Denied, effects("Deny")},
		"a pod without the selected label is left alone":     {all(strict("p", onlyLabelled)), nil, nil, pod(swr + "high:1"), gate.Admitted, nil},
		"an image is looked up once":                         {all(strict("a"), strict("b")), nil, nil, pod("nginx", "docker.io/library/nginx:latest", "nginx"), gate.Denied, effects("Deny", "Deny", "Deny", "Deny", "Deny", "Deny")},
		"an exempt namespace is left alone":                  {all(strict("p")), nil, nil, in("kube-system", pod(swr+"high:1")), gate.Admitted, nil},
		"a template is warned of":                            {all(strict("p")), nil, nil, template(swr + "high:1"), gate.Admitted, effects("Warn")},
		"a template is denied if the policy says so":         {all(strict("p", denyTemplates)), nil, nil, template(swr + "high:1"), gate.Denied, effects("Deny")},
		"a template is left alone if the policy says so":     {all(strict("p", ignoreTemplates)), nil, nil, template(swr + "high:1"), gate.Admitted, nil},
		"a template's denial never goes beyond the policy's": {all(strict("p", denyTemplates, enforcement("Audit"))), nil, nil, template(swr + "high:1"), gate.Admitted, effects("Audit")},
	})
}

// decision is a case of a decision by policies, and an exception in their namespace.
type decision struct {
	policies  []*v1alpha1.ImageScanPolicy
	exception *v1alpha1.ImageScanException
	// change changes what HSS knows.
	change  func(*inventory)
	request gate.Request
	want    gate.Outcome
	effects []v1alpha1.Enforcement
}

func decide(t *testing.T, tests map[string]decision) {
	t.Helper()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, inv := newGate(t, tt.policies...)
			if tt.change != nil {
				tt.change(inv)
			}
			if tt.exception != nil {
				withExceptions(t, g, tt.exception)
			}
			d := g.Decide(t.Context(), tt.request)
			named := texts(g.References(t.Context(), tt.request))
			wantEqual(t, "what is looked up, as References names it", named, inv.lookedUp, cmpopts.SortSlices(strings.Compare))
			wantEqual(t, "outcome of "+strings.Join(d.Lines(), "\n"), tt.want, d.Outcome)
			var got []v1alpha1.Enforcement
			for _, v := range d.Violations {
				got = append(got, v.Effect)
				if v.UnderGrace() != (v.Exception != nil && v.Effect == v1alpha1.EnforcementWarn) {
					t.Errorf("%s: under grace is %t", v.Effect, v.UnderGrace())
				}
			}
			wantEqual(t, "effects", tt.effects, got)
		})
	}
}

func all(p ...*v1alpha1.ImageScanPolicy) []*v1alpha1.ImageScanPolicy { return p }

func effects(e ...v1alpha1.Enforcement) []v1alpha1.Enforcement { return e }

func TestMessages(t *testing.T) {
	t.Parallel()
	many := make([]string, 30)
	for i := range many {
		many[i] = fmt.Sprintf("%shigh:%d", swr, i)
	}
	wordy := func(e *v1alpha1.ImageScanException) { e.Spec.Reason = strings.Repeat("very ", 100) + "long" }
	for name, tt := range map[string]struct {
		policies  []*v1alpha1.ImageScanPolicy
		request   gate.Request
		exception *v1alpha1.ImageScanException
	}{
		"denied":           {all(strict("production")), pod(swr + "high:1.4"), nil},
		"two-policies":     {all(strict("a", needsDigest), strict("b")), pod(swr+"high:1.4", swr+"clean:1", swr+"unknown:1"), nil},
		"unavailable":      {all(strict("production")), pod(swr + "gone:1"), nil},
		"invalid":          {all(strict("production")), pod("Prod/App:1", strings.Repeat("x", 500)+" "), nil},
		"stale":            {all(strict("production")), pod(swr + "stale:1"), nil},
		"template":         {all(strict("production")), template(swr + "high:1.4"), nil},
		"many":             {all(strict("production")), pod(many...), nil},
		"many-warnings":    {all(strict("production", enforcement("Warn"))), pod(many...), nil},
		"no-labels":        {all(strict("production", onlyInProd)), in("secret", pod(swr+"clean:1")), nil},
		"mixed-enforced":   {all(strict("a", enforcement("Warn")), strict("b", enforcement("Audit")), strict("c")), pod(swr + "high:1"), nil},
		"excepted":         {all(strict("p")), pod(swr + "high:1.4"), exception()},
		"excepted-wordy":   {all(strict("p")), pod(swr + "high:1.4"), exception(wordy)},
		"excepted-audited": {all(strict("p", enforcement("Audit"))), pod(swr + "high:1.4"), exception()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := newGate(t, tt.policies...)
			if tt.exception != nil {
				withExceptions(t, g, tt.exception)
			}
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
	wantEqual(t, path, string(want), got)
}

func TestImagesAreLookedUpInParallel(t *testing.T) {
	t.Parallel()
	g, inv := newGate(t, strict("p"))
	var all sync.WaitGroup
	all.Add(3)
	inv.before = func(context.Context, image.Reference) {
		all.Done()
		all.Wait()
	}
	wantOutcome(t, g, pod(swr+"clean:1", swr+"clean:2", swr+"clean:3"), gate.Admitted)
}

func TestExpressionsAreEvaluatedThoughHSSTakesAllTheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, inv := newGate(t, strict("a", func(s *v1alpha1.ImageScanPolicySpec) {
			s.Require.Expressions = []v1alpha1.Expression{{Expression: "image.scanStatus == 'success'"}}
			s.When.Unavailable = v1alpha1.ActionWarn
		}))
		inv.before = func(ctx context.Context, ref image.Reference) {
			if ref.Path == "prod/gone" {
				<-ctx.Done()
			}
		}
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
	images := make([]string, 60)
	for i := range images {
		images[i] = fmt.Sprintf("%slarge:%d", swr, i)
	}
	// All of it would take seconds.
	d := g.Decide(ctx, pod(images...))
	if d.Outcome != gate.Denied || !strings.Contains(d.Violations[len(d.Violations)-1].Description(language.English), "interrupted, as the time for the review is up") {
		t.Errorf("Outcome = %q, message %q; want a denial for lack of time", d.Outcome, d.Message())
	}
}

func TestAPanicDoesNotSpread(t *testing.T) {
	t.Parallel()
	g, inv := newGate(t, strict("p", pins))
	inv.list = func(context.Context, image.Reference, policy.Facts, bool) policy.Facts { panic("a bug") }
	listed := wantOutcome(t, g, pod(swr+"high:1", swr+"high:2"), gate.Unavailable).Message()
	inv.before = func(context.Context, image.Reference) { panic("a bug") }
	lookedUp := wantOutcome(t, g, pod(swr+"clean:1", swr+"clean:2"), gate.Unavailable).Message()
	if !strings.Contains(listed, "internal error: a bug") || !strings.Contains(lookedUp, "internal error: a bug") {
		t.Errorf("while listing vulnerabilities: %q, while looking up: %q", listed, lookedUp)
	}
	if found := g.Pin(t.Context(), pod(swr+"clean:1")); len(found.Pins) != 1 || found.Pins[0].Obstacle != policy.PinUnavailable {
		t.Errorf("while pinning: got %+v", found)
	}
}

func TestDenies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		policies  []*v1alpha1.ImageScanPolicy
		namespace string
		want      bool
	}{
		"without policies nothing is denied":         {nil, "prod", false},
		"with only milder ones neither":              {all(strict("a", enforcement("Warn"))), "prod", false},
		"one that denies is enough":                  {all(strict("a", enforcement("Warn")), strict("b")), "prod", true},
		"nothing is denied in an exempt namespace":   {all(strict("a")), "kube-system", false},
		"a namespace that isn't known may be denied": {all(strict("a")), "", true},
	} {
		g, _ := newGate(t, tt.policies...)
		if got := g.Denies(tt.namespace); got != tt.want || g.Exempts(tt.namespace) != (tt.namespace == "kube-system") {
			t.Errorf("%s: Denies(%q) = %t, want %t", name, tt.namespace, got, tt.want)
		}
	}
}

func TestLabelsAndPoliciesThatChangeCountAtOnce(t *testing.T) {
	t.Parallel()
	g, _ := newGate(t, strict("p", onlyInProd))
	milder, _ := newGate(t, strict("q", onlyInProd, enforcement("Warn")))
	strict, mild := g.Policies, milder.Policies
	for _, step := range []struct {
		env      string
		policies func() []*policy.Policy
		want     gate.Outcome
	}{
		{"prod", strict, gate.Denied}, {"prod", strict, gate.Denied}, {"dev", strict, gate.Admitted}, {"prod", strict, gate.Denied},
		{"prod", mild, gate.Admitted}, {"prod", strict, gate.Denied},
	} {
		g.NamespaceLabels, g.Policies = namespaces{"prod": {"env": step.env}}.NamespaceLabels, step.policies
		wantOutcome(t, g, pod(swr+"high:1.4"), step.want)
	}
}

func TestFreshFactsAreNotLookedUp(t *testing.T) {
	t.Parallel()
	g, inv := newGate(t, strict("p"))
	inv.known = func(ref image.Reference) (policy.Facts, bool) { return scanned("Low", 0), ref.Path == "prod/clean" }
	d := wantOutcome(t, g, pod(swr+"clean:1", swr+"high:1", swr+"clean:1"), gate.Denied)
	wantEqual(t, "violations", 1, len(d.Violations))
	wantEqual(t, "looked up", []string{swr + "high:1"}, inv.lookedUp)
}

func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct{ images, policies, others int }{{1, 1, 0}, {3, 10, 0}, {50, 10, 0}, {3, 1, 1000}} {
		b.Run(fmt.Sprintf("images=%d/policies=%d/others=%d", c.images, c.policies, c.others), func(b *testing.B) {
			g, r := cleanImages(b, c.images, c.policies, c.others)
			b.ReportAllocs()
			for b.Loop() {
				g.Decide(b.Context(), r)
			}
		})
	}
}

// cleanImages returns a pod of clean images, and a gate with policies that match it and others that don't.
func cleanImages(t testing.TB, images, matching, others int) (*gate.Gate, gate.Request) {
	t.Helper()
	var policies []*v1alpha1.ImageScanPolicy
	for i := range matching + others {
		policies = append(policies, strict(fmt.Sprintf("p%d", i), onlyInProd))
		if i >= matching {
			policies[i].Spec.Match.NamespaceSelector.MatchLabels["env"] = "dev"
		}
	}
	g, inv := newGate(t, policies...)
	clean := scanned("Low", 0)
	inv.known = func(image.Reference) (policy.Facts, bool) { return clean, true }
	r := pod()
	for i := range images {
		r.Workload.Uses = append(r.Workload.Uses, image.Use{Place: image.PlaceContainer, Name: "app", Image: fmt.Sprintf("%sclean:%d", swr, i)})
	}
	if d := g.Decide(t.Context(), r); d.Outcome != gate.Admitted || len(d.Policies) != matching {
		t.Fatalf("%+v", d)
	}
	return g, r
}

func TestADecisionAllocatesLittle(t *testing.T) {
	g, r := cleanImages(t, 3, 10, 0)
	ctx := t.Context()
	if got := testing.AllocsPerRun(100, func() { g.Decide(ctx, r) }); got > 8 {
		t.Errorf("a decision about 3 clean images by 10 policies allocates %v times, want at most 8", got)
	}
}

func TestWhatADecisionLacks(t *testing.T) {
	t.Parallel()
	allow := func(s *v1alpha1.ImageScanPolicySpec) {
		s.When.NotFound, s.When.Unavailable = v1alpha1.ActionAllow, v1alpha1.ActionAllow
	}
	unknown, high := swr+"unknown:1", swr+"high:1.4"
	var tooMany []string
	for n := range gate.MaxImages + 1 {
		tooMany = append(tooMany, fmt.Sprint(swr, "clean:", n))
	}
	for name, tt := range map[string]struct {
		policies []*v1alpha1.ImageScanPolicy
		request  gate.Request
		// Policies by which an image could not be evaluated, and images that a scan would help.
		unknown, unscanned []string
	}{
		"denied, and by two policies":    {all(strict("a"), strict("b")), pod(unknown, high, unknown), nil, []string{unknown}},
		"warned":                         {all(strict("a", enforcement("Warn"))), pod(unknown), nil, []string{unknown}},
		"only audited":                   {all(strict("a", enforcement("Audit"))), pod(unknown), nil, nil},
		"allowed":                        {all(strict("a", allow)), pod(unknown), nil, nil},
		"no policy evaluates it":         {nil, pod(unknown), nil, nil},
		"a reference that can't be read": {all(strict("a")), pod("Prod/App:1"), nil, nil},
		"HSS is unreachable, though one policy allows that": {all(strict("a"), strict("b", allow), strict("c", onlyClean)), pod(swr+"clean:1", swr+"gone:1"), []string{"a", "b"}, nil},
		"bad as it is":    {all(strict("a")), pod(high), nil, nil},
		"too many images": {all(strict("a")), pod(tooMany...), nil, nil}, // the audit counts a violation, as the webhook denies
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := newGate(t, tt.policies...)
			d := g.Decide(t.Context(), tt.request)
			wantEqual(t, "unknown", tt.unknown, d.Unknown)
			wantEqual(t, "unscanned", tt.unscanned, texts(d.Unscanned()))
		})
	}
}

func texts(refs []image.Reference) (all []string) {
	for _, ref := range refs {
		all = append(all, ref.String())
	}
	return all
}
