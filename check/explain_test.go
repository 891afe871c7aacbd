package check_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestEverySampleIsExplained compares the explanation of every sample with what
// a person has read and found right.
func TestEverySampleIsExplained(t *testing.T) {
	t.Parallel()
	o := simulated(t)
	known, ok := o.Facts.(*inventory.Inventory)
	if !ok {
		t.Fatalf("facts are a %T", o.Facts)
	}
	r := checkSamplesBy(t, o, func(p *check.Policies) *check.Explainer { return &check.Explainer{Lookups: known, Policies: p} })
	var got strings.Builder
	if err := r.Write(&got, report.Format{Width: 120}); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "explain.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("(-want +got; -update writes it anew):\n%s", diff)
	}
}

func TestWhatIsOddIsExplained(t *testing.T) {
	t.Parallel()
	policies := compile(t, noVulnerabilities("prod"))
	tests := map[string]struct {
		object check.Object
		exempt []string
		labels map[string]string
		want   string
	}{
		"an image that is none":        {check.ImageObject("h.io/Upper", "shop"), nil, map[string]string{"env": "prod"}, "no node could pull it"},
		"an exempt namespace":          {check.ImageObject("a", "kube-system"), []string{"kube-system"}, nil, `namespace "kube-system" is exempt`},
		"labels that nobody knows":     {check.ImageObject("a", "shop"), nil, nil, "its labels are not known"},
		"a namespace without labels":   {check.ImageObject("a", "shop"), nil, map[string]string{}, `namespace "shop" has no labels`},
		"a pod without containers":     {check.Object{Name: "empty"}, nil, map[string]string{}, "it names no image"},
		"a policy that doesn't select": {check.ImageObject("a", "shop"), nil, map[string]string{"env": "dev"}, "does not select the namespace"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := simulated(t)
			known, _ := o.Facts.(*inventory.Inventory)
			o.Policies, o.ExemptNamespaces, o.Namespaces = policies, tt.exempt, &check.Namespaces{Others: tt.labels}
			o.Explain = &check.Explainer{Lookups: known, Policies: policies}
			r := checkObjects(t, o, []check.Object{tt.object})
			if got := strings.Join(r.Results[0].Explanation, "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("no %q in it:\n%s", tt.want, got)
			}
		})
	}
}

// failing is an HSS that can't be asked.
type failing string

func (f failing) Known(image.Reference) (policy.Facts, bool) { return policy.Facts{}, false }

func (f failing) Facts(context.Context, image.Reference) policy.Facts {
	return policy.Facts{State: policy.StateUnavailable, Reason: string(f)}
}

func (f failing) Explain(image.Reference) inventory.Explanation {
	return inventory.Explanation{Registry: "r", Project: "p", Queries: []inventory.ExplainedQuery{{Failed: string(f)}}}
}

func (failing) ExplainVulnerabilities(image.Reference, policy.Facts) []inventory.ExplainedList {
	return nil
}

func TestWhyHSSCannotBeAskedIsExplainedToTheEnd(t *testing.T) {
	t.Parallel()
	hss := failing("HSS could not be asked: " + strings.Repeat("long ", 200) + "and to the end")
	policies := compile(t, noVulnerabilities(""))
	r := checkObjects(t, check.Options{Facts: hss, Policies: policies, Explain: &check.Explainer{Lookups: hss, Policies: policies}},
		[]check.Object{check.ImageObject("h.io/app:1", "shop")})
	got := strings.Join(r.Results[0].Explanation, "\n")
	if n := strings.Count(got, "and to the end"); n != 2 || strings.Contains(got, "…") {
		t.Errorf("it is told %d times to the end, of the query and of the verdict:\n%s", n, got)
	}
	if message := r.Results[0].Message; !strings.Contains(message, "--explain") || strings.Contains(message, "log") {
		t.Errorf("a command line has no log:\n%s", message)
	}
}

// A check judges a pod as it comes from the webhook that pins, and tells so.
func TestPinsAreExplainedAndJudged(t *testing.T) {
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
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := noVulnerabilities("")
			p.Spec.Pin, p.Spec.Enforcement, p.Spec.Require.Digest = true, c.enforcement, v1alpha1.DigestRequired
			o := simulated(t)
			known, _ := o.Facts.(*inventory.Inventory)
			o.Policies = compile(t, p)
			o.Explain = &check.Explainer{Lookups: known, Policies: compile(t, p)}
			r := checkObjects(t, o, []check.Object{check.ImageObject(repository+c.image, "shop")})
			if got := strings.Join(r.Results[0].Explanation, "\n"); !strings.Contains(got, c.want) {
				t.Errorf("no %q in it:\n%s", c.want, got)
			}
			if got := r.Results[0].Verdict; (got == report.Denied) != c.denied {
				t.Errorf("it is %s, want denied: %t", got, c.denied)
			}
		})
	}
}
