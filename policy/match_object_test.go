package policy_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestPoliciesSayWhetherTheyNeedTheNamespacesLabels(t *testing.T) {
	t.Parallel()
	byName := &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}
	for _, c := range []struct {
		name              string
		namespace, object *metav1.LabelSelector
		want              bool
	}{
		{"no selector", nil, nil, false},
		{"an empty selector", &metav1.LabelSelector{}, nil, false},
		{"a selector of pods", nil, byName, false},
		{"a selector of namespaces", byName, nil, true},
		{"a selector for the absence of a label", &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "sandbox", Operator: metav1.LabelSelectorOpDoesNotExist},
		}}, nil, true},
	} {
		p := policyOf(v1alpha1.Requirements{})
		p.Spec.Match.NamespaceSelector, p.Spec.Match.ObjectSelector = c.namespace, c.object
		if got := mustCompile(t, p).SelectsNamespaces(); got != c.want {
			t.Errorf("%s: SelectsNamespaces is %t, want %t", c.name, got, c.want)
		}
	}
}

func TestBothHalvesOfAnObjectMatchTogether(t *testing.T) {
	t.Parallel()
	p := policyOf(v1alpha1.Requirements{})
	p.Spec.Match.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}
	p.Spec.Match.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "web"}}
	compiled := mustCompile(t, p)
	labelsOf := []map[string]string{nil, {"env": "prod"}, {"team": "web"}, {"env": "prod", "team": "web"}}
	for _, namespace := range labelsOf {
		for _, pod := range labelsOf {
			got := compiled.MatchesObject(namespace, pod)
			if want := compiled.MatchesNamespace(namespace) && compiled.MatchesPod(pod); got != want {
				t.Errorf("MatchesObject(%v, %v) is %t, its halves say %t", namespace, pod, got, want)
			}
			if want := namespace["env"] == "prod" && pod["team"] == "web"; got != want {
				t.Errorf("MatchesObject(%v, %v) is %t, want %t", namespace, pod, got, want)
			}
		}
	}
}
