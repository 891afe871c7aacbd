package gate_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// exception lets prod/high past policy p for an hour, unless it is changed.
func exception(change ...func(*v1alpha1.ImageScanException)) *v1alpha1.ImageScanException {
	e := &v1alpha1.ImageScanException{
		ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "base-image", CreationTimestamp: metav1.NewTime(now.Add(-time.Hour))},
		Spec: v1alpha1.ImageScanExceptionSpec{
			Images: []string{swr + "high"}, Policies: []string{"p"}, Reason: "waits for the base image, PLAT-217", ExpiresAt: metav1.NewTime(now.Add(time.Hour)),
		},
	}
	for _, f := range change {
		f(e)
	}
	return e
}

func clusterWide(e *v1alpha1.ImageScanException) {
	e.Kind, e.Namespace = v1alpha1.ClusterImageScanExceptionKind, ""
}

func named(name string, until time.Duration) func(*v1alpha1.ImageScanException) {
	return func(e *v1alpha1.ImageScanException) {
		e.Name, e.Spec.ExpiresAt = name, metav1.NewTime(now.Add(until))
	}
}

// withExceptions puts exceptions in force, wherever they are looked for: the gate limits each to its own namespace.
func withExceptions(t testing.TB, g *gate.Gate, all ...*v1alpha1.ImageScanException) {
	t.Helper()
	var inForce []*policy.Exception
	for _, e := range all {
		compiled, err := policy.CompileException(e, 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		inForce = append(inForce, compiled)
	}
	g.Exceptions = func(string) []*policy.Exception { return inForce }
}

func forbids(s *v1alpha1.ImageScanPolicySpec) { s.Exceptions = v1alpha1.PermissionForbid }

func TestExceptionsAllow(t *testing.T) {
	t.Parallel()
	elsewhere := func(e *v1alpha1.ImageScanException) { e.Namespace = "dev" }
	expired := func(e *v1alpha1.ImageScanException) { e.Spec.ExpiresAt = metav1.NewTime(now) }
	old := func(e *v1alpha1.ImageScanException) {
		e.CreationTimestamp, e.Spec.ExpiresAt = metav1.NewTime(now.Add(-24*time.Hour)), metav1.NewTime(now.Add(1000*time.Hour))
	}
	everything, onlyDigest := excepting("**"), excepting(ranDigest)
	ofOther := func(e *v1alpha1.ImageScanException) { e.Spec.Policies = []string{"other"} }
	oneCVE := naming("CVE-2024-1234")
	decide(t, map[string]decision{
		"a bad image":                                    {all(strict("p")), exception(), nil, pod(swr + "high:1"), gate.Admitted, effects("Excepted")},
		"a bad image in a template":                      {all(strict("p", denyTemplates)), exception(), nil, template(swr + "high:1"), gate.Admitted, effects("Excepted")},
		"an image that is warned of":                     {all(strict("p", enforcement("Warn"))), exception(), nil, pod(swr + "high:1"), gate.Admitted, effects("Excepted")},
		"an image that HSS doesn't know":                 {all(strict("p")), exception(everything), nil, pod(swr + "unknown:1"), gate.Admitted, effects("Excepted")},
		"an image while HSS is unreachable":              {all(strict("p")), exception(everything), nil, pod(swr + "gone:1"), gate.Admitted, effects("Excepted")},
		"an image by its digest":                         {all(strict("p")), exception(onlyDigest), nil, pod(swr + "high:1@" + ranDigest), gate.Admitted, effects("Excepted")},
		"but no image by tag if it names a digest":       {all(strict("p")), exception(onlyDigest), nil, pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"but no other image of the pod":                  {all(strict("p")), exception(), nil, pod(swr+"high:1", swr+"unknown:1"), gate.Denied, effects("Excepted", "Deny")},
		"but not past another policy":                    {all(strict("p"), strict("q")), exception(), nil, pod(swr + "high:1"), gate.Denied, effects("Excepted", "Deny")},
		"but not past a policy that it doesn't name":     {all(strict("p")), exception(ofOther), nil, pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"but not past a policy that forbids it":          {all(strict("p", forbids)), exception(), nil, pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"but not once it has expired":                    {all(strict("p")), exception(expired), nil, pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"but not for longer than the longest lifetime":   {all(strict("p")), exception(old), nil, pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"but not in another namespace":                   {all(strict("p")), exception(elsewhere), nil, pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"but no reference that can't be read":            {all(strict("p")), exception(everything), nil, pod("Not/An:Image"), gate.Denied, effects("Deny")},
		"but no numbers if it names vulnerabilities":     {all(strict("p")), exception(oneCVE), nil, pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"an image in every namespace":                    {all(strict("p")), exception(clusterWide), nil, pod(swr + "high:1"), gate.Admitted, effects("Excepted")},
		"but not past a policy that forbids any":         {all(strict("p", forbids)), exception(clusterWide), nil, pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"but no namespace by a kind that has one":        {all(strict("p")), exception(func(e *v1alpha1.ImageScanException) { e.Namespace = "" }), nil, pod(swr + "high:1"), gate.Denied, effects("Deny")},
		"and is no use to an image that passes":          {all(strict("p")), exception(everything), nil, pod(swr + "clean:1"), gate.Admitted, nil},
		"and has no effect by a policy that only audits": {all(strict("p", enforcement("Audit"))), exception(), nil, pod(swr + "high:1"), gate.Admitted, effects("Excepted")},
	})
}

func TestExceptionUses(t *testing.T) {
	t.Parallel()
	both := func(e *v1alpha1.ImageScanException) { e.Spec.Policies = []string{"q", "p"} }
	for name, tt := range map[string]struct {
		exceptions []*v1alpha1.ImageScanException
		want       []string
	}{
		"the exception that lasts the longest, once for a policy": {
			[]*v1alpha1.ImageScanException{exception(named("short", time.Minute)), exception(named("long", 2*time.Hour), both), exception(named("a-little-less", time.Hour))},
			[]string{
				"prod/long: policy p until 2026-11-23T14:00:00Z: waits for the base image, PLAT-217",
				"prod/long: policy q until 2026-11-23T14:00:00Z: waits for the base image, PLAT-217",
			},
		},
		"of two that end together, the one of the namespace": {
			[]*v1alpha1.ImageScanException{exception(clusterWide), exception()},
			[]string{"prod/base-image: policy p until 2026-11-23T13:00:00Z: waits for the base image, PLAT-217"},
		},
		"one for the whole cluster": {
			[]*v1alpha1.ImageScanException{exception(named("short", time.Minute)), exception(clusterWide)},
			[]string{"ClusterImageScanException base-image: policy p until 2026-11-23T13:00:00Z: waits for the base image, PLAT-217"},
		},
		"a grace": {[]*v1alpha1.ImageScanException{exception(granted)}, []string{"prod/grace-p-7cc4: policy p until 2026-11-28T12:00:00Z: grace"}},
	} {
		g, inv := newGate(t, strict("p", forgiving), strict("q"))
		withDigest(inv)
		withExceptions(t, g, tt.exceptions...)
		d := g.Decide(t.Context(), pod(swr+"high:1", swr+"high:1", swr+"high:2"))
		var got []string
		for _, use := range d.ExceptionUses() {
			got = append(got, use.String())
		}
		wantEqual(t, name, tt.want, got)
	}
}

// Only what the vulnerability explains is excused; the rest still denies: unsafe settings may explain the severity, too.
func TestAnExceptionForOneVulnerability(t *testing.T) {
	t.Parallel()
	g, inv := newGate(t, strict("p"))
	facts := scanned("High", 1)
	facts.Records[0].Scan.Found = []policy.Vulnerability{{ID: "CVE-2024-1234", Severity: "High"}}
	facts.Records[0].Scan.UnsafeSettings = new(1)
	inv.facts["prod/high"] = facts
	withExceptions(t, g, exception(naming("CVE-2024-1234")))
	d := g.Decide(t.Context(), pod(swr+"high:1"))
	const at = `container "c0": ` + swr + "high:1 — "
	want := []string{
		"Deny: " + at + "severity High, allowed Medium [policy p]",
		"Excepted: " + at + "1 vulnerability, allowed 0 (worst: CVE-2024-1234 (no fix)) [policy p]",
	}
	wantEqual(t, "lines", want, d.Lines())
}

// excepting lets an exception cover other images.
func excepting(images ...string) func(*v1alpha1.ImageScanException) {
	return func(e *v1alpha1.ImageScanException) { e.Spec.Images = images }
}

// naming narrows an exception to vulnerabilities.
func naming(ids ...string) func(*v1alpha1.ImageScanException) {
	return func(e *v1alpha1.ImageScanException) { e.Spec.Vulnerabilities = ids }
}
