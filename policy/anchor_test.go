package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func selecting(selector metav1.LabelSelector, images ...string) *v1alpha1.ImageScanPolicy {
	p := including(images...)
	p.Spec.Match.ObjectSelector = &selector
	return p
}

func TestAnchors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		policy *v1alpha1.ImageScanPolicy
		want   policy.Anchors
	}{
		"a policy for everything has none":        {including(), policy.Anchors{}},
		"a host is one":                           {including("r.example.com/**"), policy.Anchors{Images: []string{"r.example.com"}}},
		"a literal first segment belongs to it":   {including("r.example.com/prod/**"), policy.Anchors{Images: []string{"r.example.com/prod"}}},
		"half a segment doesn't":                  {including("r.example.com/prod-*/app"), policy.Anchors{Images: []string{"r.example.com"}}},
		"a whole reference of one segment does":   {including("r.example.com/app"), policy.Anchors{Images: []string{"r.example.com/app"}}},
		"a whole reference of two has the first":  {including("r.example.com/prod/app"), policy.Anchors{Images: []string{"r.example.com/prod"}}},
		"a host with a wildcard is none":          {including("r.example.com/**", "swr.*.example.com/**"), policy.Anchors{}},
		"several globs have several, each once":   {including("b.example.com/**", "a.example.com/x/1", "a.example.com/x/2"), policy.Anchors{Images: []string{"a.example.com/x", "b.example.com"}}},
		"a label that must be there comes first":  {selecting(metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, "r.example.com/**"), policy.Anchors{Label: policy.Label{Key: "app", Value: "web"}}},
		"one of several values is none":           {selecting(metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "In", Values: []string{"a", "b"}}}}), policy.Anchors{}},
		"the only value of an expression is one":  {selecting(metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "In", Values: []string{"a"}}}}), policy.Anchors{Label: policy.Label{Key: "app", Value: "a"}}},
		"a label that must not be there is none":  {selecting(metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "DoesNotExist"}}}), policy.Anchors{}},
		"an excluded value is none":               {selecting(metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "NotIn", Values: []string{"a"}}}}), policy.Anchors{}},
		"a selector that selects all is none":     {selecting(metav1.LabelSelector{}, "r.example.com/**"), policy.Anchors{Images: []string{"r.example.com"}}},
		"the default port is no part of the host": {including("R.Example.com:443/**"), policy.Anchors{Images: []string{"r.example.com"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, mustCompile(t, tt.policy).Anchors()); diff != "" {
				t.Errorf("Anchors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestImageAnchors(t *testing.T) {
	t.Parallel()
	for repository, want := range map[string][2]string{
		"r.example.com/prod/app":      {"r.example.com", "r.example.com/prod"},
		"r.example.com/prod/team/app": {"r.example.com", "r.example.com/prod"},
		"r.example.com/app":           {"r.example.com", "r.example.com/app"},
		"nothing":                     {"nothing", "nothing"},
	} {
		host, segment := policy.ImageAnchors(repository)
		if diff := cmp.Diff(want, [2]string{host, segment}); diff != "" {
			t.Errorf("ImageAnchors(%q) (-want +got):\n%s", repository, diff)
		}
	}
}

// An image that a policy judges must be found by the policy's anchors, whatever
// the glob.
func FuzzAnchorsFindWhatGlobsMatch(f *testing.F) {
	f.Add("r.example.com/**", "r.example.com/a/b")
	f.Add("r.example.com/a*/**", "r.example.com/ab/c")
	f.Add("*/a/**", "x.y/a/b")
	f.Add("r.example.com/a/**/b", "r.example.com/a/b")
	f.Fuzz(func(t *testing.T, pattern, repository string) {
		p, err := policy.Compile(including(pattern))
		if err != nil || !p.MatchesImage(repository) {
			return
		}
		anchors := p.Anchors()
		host, segment := policy.ImageAnchors(repository)
		for _, anchor := range anchors.Images {
			if anchor == host || anchor == segment {
				return
			}
		}
		if len(anchors.Images) > 0 {
			t.Errorf("%q matches %q, whose anchors are not among %q", pattern, repository, anchors.Images)
		}
	})
}
