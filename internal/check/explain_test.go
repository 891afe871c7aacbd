package check_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// explained checks an image of the samples in namespace shop, and explains the result.
func explained(t *testing.T, o check.Options, object check.Object) (report.Result, string) {
	t.Helper()
	samples := simulated(t)
	known, _ := samples.Facts.(*inventory.Inventory)
	o.Facts, o.Explain = known, known
	result := checkObjects(t, o, []check.Object{object}).Results[0]
	return result, strings.Join(result.Explanation, "\n")
}

func TestOddCasesAreExplained(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		object check.Object
		exempt []string
		labels map[string]string
		want   string
	}{
		"an image that is none":        {inShop("h.io/Upper"), nil, map[string]string{"env": "prod"}, "no node could pull it"},
		"an exempt namespace":          {check.Object{Request: gate.Request{Namespace: "kube-system"}}, []string{"kube-system"}, nil, `namespace "kube-system" is exempt`},
		"labels that nobody knows":     {inShop("a"), nil, nil, "its labels are not known"},
		"a namespace without labels":   {inShop("a"), nil, map[string]string{}, `namespace "shop" has no labels`},
		"a pod without containers":     {check.Object{Request: gate.Request{Name: "empty"}}, nil, map[string]string{}, "it names no image"},
		"a policy that doesn't select": {inShop("a"), nil, map[string]string{"env": "dev"}, "does not select the namespace"},
	} {
		o := check.Options{Resources: by(noVulnerabilities("prod")), ExemptNamespaces: tt.exempt, NamespaceLabels: labelled(tt.labels)}
		if tt.labels == nil {
			o.NamespaceLabels = labelled(nil, errors.New("broken"))
		}
		if _, got := explained(t, o, tt.object); !strings.Contains(got, tt.want) {
			t.Errorf("%s: no %q in it:\n%s", name, tt.want, got)
		}
	}
}

// cmd/hssgate shows the others by its samples.
func TestRequirementsThatNoSampleHasAreExplained(t *testing.T) {
	t.Parallel()
	p := v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: "all"}}
	p.Spec.Require = v1alpha1.Requirements{
		Vulnerabilities:       &v1alpha1.VulnerabilityRequirement{Max: 3, MinSeverity: v1alpha1.SeverityMedium, FixableOnly: true},
		IgnoreVulnerabilities: []v1alpha1.IgnoredVulnerability{{ID: "CVE-2021-3712", Reason: "x", ExpiresAt: metav1.NewTime(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))}},
		Digest:                v1alpha1.DigestRequired,
	}
	_, got := explained(t, check.Options{Resources: by(p)}, inShop("swr.cn-north-4.myhuaweicloud.com/prod/unscanned:1.0"))
	for _, want := range []string{
		"vulnerabilities at most 3 (of severity Medium or worse, with a fix, except CVE-2021-3712 until 2027-01-01T00:00:00Z): not evaluated",
		"digest required: NOT met: image must be pinned by digest → Deny",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in it:\n%s", want, got)
		}
	}
}

func TestWhyHSSIsUnreachableIsExplainedToTheEnd(t *testing.T) {
	t.Parallel()
	hss := &facts{reason: "HSS could not be called: " + strings.Repeat("long ", 200) + "and to the end"}
	r := checkObjects(t, check.Options{Facts: hss, Explain: hss}, []check.Object{inShop("h.io/app:1")})
	got := strings.Join(r.Results[0].Explanation, "\n")
	if !strings.Contains(got, "and to the end") {
		t.Errorf("the reason is not told to the end:\n%s", got)
	}
	if message := r.Results[0].Message; !strings.Contains(message, "--explain") || strings.Contains(message, "log") {
		t.Errorf("a command line has no log:\n%s", message)
	}
}

// A check evaluates a pod as it comes from the webhook that pins, and tells so.
func TestPinsAreExplainedAndEvaluated(t *testing.T) {
	t.Parallel()
	const repository = "swr.cn-north-4.myhuaweicloud.com/prod/"
	const clean = "sha256:7929baeea409dde12cb6e36f029110472472c5a94ffed929d04b4df4e4c46fbe"
	for name, c := range map[string]struct {
		image       string
		enforcement v1alpha1.Enforcement
		denied      bool
		want        string
	}{
		"a tag":                        {"clean:1.0", v1alpha1.EnforcementDeny, false, "pin: new pods get " + clean + ", where the webhook that pins is installed"},
		"a policy that only warns":     {"clean:1.0", v1alpha1.EnforcementWarn, false, "pin: new pods get " + clean},
		"one that only audits":         {"clean:1.0", v1alpha1.EnforcementAudit, false, "pin: not done, since the policy only audits"},
		"an image that nobody scanned": {"unscanned:1.0", v1alpha1.EnforcementDeny, true, "pin: not done: never scanned"},
	} {
		p := noVulnerabilities("")
		p.Spec.Pin, p.Spec.Enforcement, p.Spec.Require.Digest = true, c.enforcement, v1alpha1.DigestRequired
		result, got := explained(t, check.Options{Resources: by(p)}, inShop(repository+c.image))
		if !strings.Contains(got, c.want) || (result.Verdict == report.Denied) != c.denied {
			t.Errorf("%s: it is %s, want denied: %t, with %q in:\n%s", name, result.Verdict, c.denied, c.want, got)
		}
	}
}

// simulated answers from the samples' inventory.
func simulated(t *testing.T) check.Options {
	t.Helper()
	c, err := check.LoadConfig("")
	must(t, err)
	file, err := inventoryfile.Load("../../config/samples/inventory.yaml", time.Now())
	must(t, err)
	known, err := check.NewFileInventory(file, c)
	must(t, err)
	t.Cleanup(known.Close)
	return check.Options{Facts: known, ExemptNamespaces: c.ExemptNamespaces}
}
