package check_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// noVulnerabilities is a policy for all namespaces, or for those of an env.
func noVulnerabilities(env string) v1alpha1.ImageScanPolicy {
	p := v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: "none"}}
	p.Spec.Require.Vulnerabilities = &v1alpha1.VulnerabilityRequirement{Max: 0}
	if env != "" {
		p.Spec.Match.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"env": env}}
	}
	return p
}

// by are policies to evaluate by.
func by(policies ...v1alpha1.ImageScanPolicy) check.Resources {
	return check.Resources{Policies: policies}
}

// checkObjects checks objects, by a policy that forbids vulnerabilities and in
// namespaces without labels if the options don't say otherwise.
func checkObjects(t *testing.T, o check.Options, objects []check.Object) *report.Report {
	t.Helper()
	if o.Resources.Policies == nil {
		o.Resources = by(noVulnerabilities(""))
	}
	if o.NamespaceLabels == nil {
		o.NamespaceLabels = labelled(nil)
	}
	r := &report.Report{}
	c, _ := check.NewChecker(o) // what is invalid fails closed
	must(t, c.Check(t.Context(), objects, r))
	return r
}

// is checks a verdict, and what it says.
func is(t *testing.T, name string, got report.Result, verdict report.Verdict, why string) {
	t.Helper()
	if said := strings.Join(got.Why(), "\n"); got.Verdict != verdict || !strings.Contains(said, why) {
		t.Errorf("%s: got %s because %q, want %s because %q", name, got.Verdict, said, verdict, why)
	}
}

// labelled has the labels of all namespaces; those of an error can't be read.
func labelled(labels map[string]string, failure ...error) func(context.Context, string) (map[string]string, error) {
	return func(context.Context, string) (map[string]string, error) { return labels, errors.Join(failure...) }
}

// inShop is an image in namespace shop.
func inShop(reference string) check.Object {
	o := check.ImageObject(reference)
	o.Namespace = "shop"
	return o
}

// facts knows images by their paths, which are numbers of vulnerabilities. For others
// HSS is unreachable, for a reason.
type facts struct{ reason string }

func (f *facts) Explain(image.Reference) []string { return []string{f.reason} }

func (*facts) ExplainVulnerabilities(image.Reference, policy.Facts) []string { return nil }

func (*facts) KnownAffected(image.Reference, []string) []*policy.Affected { return nil }

func (*facts) Affected(context.Context, image.Reference, []string) []*policy.Affected { return nil }

func (*facts) WithCVEs(_ context.Context, _ image.Reference, f policy.Facts, _ policy.CVENeeds) policy.Facts {
	return f
}

func (*facts) WithDetails(_ context.Context, _ image.Reference, f policy.Facts, _ policy.Details) policy.Facts {
	return f
}

func (*facts) Known(image.Reference) (policy.Facts, bool) { return policy.Facts{}, false }

func (f *facts) Facts(_ context.Context, ref image.Reference) policy.Facts {
	var n int
	if _, err := fmt.Sscanf(ref.Path, "n%d", &n); err != nil {
		return policy.Facts{State: policy.StateUnavailable, Reason: cmp.Or(f.reason, "HSS is away")}
	}
	now := time.Now()
	return policy.Facts{State: policy.StateFound, AsOf: now, Records: []policy.Record{{
		Severity: v1alpha1.SeverityLow, ScannedAt: now.Add(-time.Hour),
		Scan: policy.Scan{Status: v1alpha1.ScanStatusSuccess, Vulnerabilities: &n, MaliciousFiles: new(0), UnsafeSettings: new(0)},
	}}}
}

func TestImagesAreEvaluated(t *testing.T) {
	t.Parallel()
	when := func(unavailable v1alpha1.Action) v1alpha1.ImageScanPolicy {
		p := noVulnerabilities("")
		p.Spec.When.Unavailable = unavailable
		return p
	}
	for name, tt := range map[string]struct {
		policy v1alpha1.ImageScanPolicy
		image  string
		want   report.Verdict
		why    string
	}{
		"a good one":                             {noVulnerabilities(""), "h.io/n0:1", report.Admitted, "passes none"},
		"a bad one":                              {noVulnerabilities(""), "h.io/n3:1", report.Denied, "3 vulnerabilities, allowed 0"},
		"one that is none":                       {noVulnerabilities(""), "H.io/Upper", report.Denied, "invalid image reference"},
		"an outage":                              {noVulnerabilities(""), "h.io/away:1", report.Unknown, "HSS is away"},
		"an outage that a policy warns of":       {when(v1alpha1.ActionWarn), "h.io/away:1", report.Unknown, "HSS is away"},
		"an outage that a policy audits":         {when(v1alpha1.ActionAudit), "h.io/away:1", report.Unknown, "HSS is away"},
		"an outage in which a policy admits all": {when(v1alpha1.ActionAllow), "h.io/away:1", report.Unknown, "HSS is unreachable"},
	} {
		r := checkObjects(t, check.Options{Facts: &facts{}, Resources: by(tt.policy)}, []check.Object{check.ImageObject(tt.image)})
		is(t, name, r.Results[0], tt.want, tt.why)
		if r.Summary.Objects != 1 || r.Summary.Images != 1 {
			t.Errorf("%s: got %+v", name, r.Summary)
		}
	}
}

func TestProgressCountsAnObjectOnceIfPoliciesAreCompared(t *testing.T) {
	t.Parallel()
	var got []int
	o := check.Options{Facts: &facts{}, Resources: by(noVulnerabilities("")), Progress: func(done int) { got = append(got, done) }}
	before, err := check.NewChecker(o)
	must(t, err)
	o.Before = before
	c, err := check.NewChecker(o)
	must(t, err)
	must(t, c.Check(t.Context(), []check.Object{inShop("h.io/n0:1"), inShop("h.io/n3:1")}, &report.Report{Changes: &report.Changes{}}))
	if diff := gocmp.Diff([]int{1, 2}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPodsOfOneOwnerShareAResult(t *testing.T) {
	t.Parallel()
	var objects []check.Object
	for i, path := range []string{"n0", "n0", "n7", "n0", "n7"} {
		one := inShop("h.io/" + path + ":1")
		one.Name, one.Workload.Kind, one.Owner = fmt.Sprintf("web-%d", i), "Pod", ownerOf("ReplicaSet/web-1")
		objects = append(objects, one)
	}
	objects[4].Owner = ownerOf("ReplicaSet/web-2")
	var failure error
	o := check.Options{Facts: &facts{}, TopOwner: func(context.Context, string, image.Owner) (image.Owner, error) {
		return ownerOf("Deployment/web"), failure
	}}
	r := checkObjects(t, o, objects)
	var got []string
	for i := range r.Results {
		got = append(got, r.Results[i].Title())
	}
	want := []string{"ReplicaSet/web-1 (3 pods)", "Deployment/web (2 pods)"}
	if diff := gocmp.Diff(want, got); diff != "" || r.Summary.Objects != 5 || r.Summary.Denied != 2 {
		t.Errorf("%+v (-want +got):\n%s", r.Summary, diff)
	}
	failure = errors.New("the API server is unreachable")
	o.Resources = by(noVulnerabilities(""))
	c, _ := check.NewChecker(o)
	if got := c.Check(t.Context(), objects, r); !errors.Is(got, failure) {
		t.Errorf("got %v, want %v", got, failure)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := c.Check(ctx, objects, r); !errors.Is(got, context.Canceled) {
		t.Errorf("interrupted: got %v", got)
	}
}

func TestNamespacesDecideWhichPolicyApplies(t *testing.T) {
	t.Parallel()
	prod, dev := map[string]string{"env": "prod"}, map[string]string{"env": "dev"}
	for name, tt := range map[string]struct {
		files  map[string]map[string]string
		others func(context.Context, string) (map[string]string, error)
		want   report.Verdict
		why    string
	}{
		"labels of a file":             {map[string]map[string]string{"shop": prod}, labelled(dev), report.Denied, "9 vulnerabilities"},
		"other labels of a file":       {map[string]map[string]string{"shop": dev}, labelled(prod), report.Admitted, "no policy applies"},
		"a namespace without labels":   {map[string]map[string]string{"shop": nil}, labelled(prod), report.Admitted, "no policy applies"},
		"labels of another place":      {nil, labelled(prod), report.Denied, "9 vulnerabilities"},
		"none, as was given":           {nil, labelled(nil), report.Admitted, "no policy applies"},
		"nothing known, so all do":     {nil, nil, report.Denied, "no labels were given"},
		"a cluster that can't be read": {nil, labelled(nil, errors.New("broken")), report.Denied, "broken"},
	} {
		r := &report.Report{}
		c, err := check.NewChecker(check.Options{Facts: &facts{}, Namespaces: tt.files, NamespaceLabels: tt.others, Resources: by(noVulnerabilities("prod"))})
		if err == nil {
			err = c.Check(t.Context(), []check.Object{inShop("h.io/n9:1")}, r)
		}
		must(t, err)
		is(t, name, r.Results[0], tt.want, tt.why)
	}
}
