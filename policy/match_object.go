package policy

import "k8s.io/apimachinery/pkg/labels"

// SelectsNamespaces tells whether the policy asks for labels of the namespace
// at all. Only then must they be known.
func (p *Policy) SelectsNamespaces() bool { return !p.matcher.namespaces.Empty() }

// MatchesNamespace tells whether the policy judges pods in a namespace with
// these labels.
func (p *Policy) MatchesNamespace(namespaceLabels map[string]string) bool {
	return p.matcher.namespaces.Matches(labels.Set(namespaceLabels))
}

// MatchesPod tells whether the policy judges pods with these labels, as far as
// their namespace is one that it judges.
func (p *Policy) MatchesPod(podLabels map[string]string) bool {
	return p.matcher.objects.Matches(labels.Set(podLabels))
}
