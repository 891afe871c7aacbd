package policy_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestMatchesNothing(t *testing.T) {
	t.Parallel()
	type requirements = []metav1.LabelSelectorRequirement
	const in, notIn, exists, absent = metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist
	selecting := func(labels map[string]string, r ...metav1.LabelSelectorRequirement) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: labels, MatchExpressions: r}
	}
	name := func(values ...string) *metav1.LabelSelector {
		return selecting(nil, requirements{{Key: "kubernetes.io/metadata.name", Operator: in, Values: values}}...)
	}
	images := func(included string, excluded ...string) v1alpha1.Match {
		return v1alpha1.Match{Images: strings.Fields(included), ExcludeImages: excluded}
	}
	object := func(s *metav1.LabelSelector) v1alpha1.Match { return v1alpha1.Match{ObjectSelector: s} }
	tests := map[string]struct {
		match v1alpha1.Match
		want  string
	}{
		"everything":                          {v1alpha1.Match{}, ""},
		"all images excluded":                 {images("", "**"), "excludeImages"},
		"all images excluded, in other words": {images("", "*/**"), "excludeImages"},
		"one image, excluded":                 {images("a.example.com/x", "a.example.com/*"), "excludeImages"},
		"a host, excluded":                    {images("a.example.com/**", "A.example.com:443/**"), "excludeImages"},
		"a part of a host, excluded":          {images("a.example.com/x/*", "a.example.com/**"), "excludeImages"},
		"one of two excluded":                 {images("a.example.com/x b.example.com/x", "a.example.com/**"), ""},
		"a part excluded":                     {images("a.example.com/**", "a.example.com/x/**"), ""},
		"it can't be told":                    {images("a.*/x", "a.example.com/**"), ""},
		"in and not in":                       {object(selecting(map[string]string{"a": "x"}, requirements{{Key: "a", Operator: notIn, Values: []string{"x"}}}...)), "label a "},
		"in one and in another":               {object(selecting(map[string]string{"a": "x"}, requirements{{Key: "a", Operator: in, Values: []string{"y", "z"}}}...)), "label a "},
		"in and absent":                       {object(selecting(map[string]string{"a": "x"}, requirements{{Key: "a", Operator: absent}}...)), "label a "},
		"there and absent":                    {object(selecting(nil, requirements{{Key: "a", Operator: absent}, {Key: "a", Operator: exists}}...)), "label a "},
		"in some and not in others":           {object(selecting(nil, requirements{{Key: "a", Operator: in, Values: []string{"x", "y"}}, {Key: "a", Operator: notIn, Values: []string{"x"}}}...)), ""},
		"not in and absent":                   {object(selecting(nil, requirements{{Key: "a", Operator: notIn, Values: []string{"x"}}, {Key: "a", Operator: absent}}...)), ""},
		"different labels":                    {object(selecting(map[string]string{"a": "x"}, requirements{{Key: "b", Operator: absent}}...)), ""},
		"an exempt namespace":                 {v1alpha1.Match{NamespaceSelector: name("kube-system")}, "namespaceSelector"},
		"an exempt namespace and another":     {v1alpha1.Match{NamespaceSelector: name("kube-system", "shop")}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := policy.MatchesNothing(&tt.match, []string{"kube-system"})
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("MatchesNothing = %q, want %q in it", got, tt.want)
			}
		})
	}
}
