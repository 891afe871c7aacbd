package gate

import (
	"maps"
	"slices"
	"sync"

	"github.com/hssgate/hssgate/policy"
)

// maxSelections bounds the namespaces that are remembered: with a thousand policies that select them all, 8 MB.
const maxSelections = 1_000

// selections remember which policies select a namespace: with a thousand policies, of which most select others, to match
// them all takes longer than the rest of a review. The zero value is ready for use.
type selections struct {
	mu sync.RWMutex
	// all are the policies of which known ones were selected.
	all   []*policy.Policy
	known map[string]selection
}

// selection is which policies select a namespace with labels.
type selection struct {
	labels   map[string]string
	policies []*policy.Policy
}

// of returns those of all policies that select a namespace with labels, which must not be modified.
func (s *selections) of(namespace string, labels map[string]string, all []*policy.Policy) []*policy.Policy {
	s.mu.RLock()
	known, ok := s.known[namespace]
	ok = ok && slices.Equal(s.all, all) && maps.Equal(known.labels, labels)
	s.mu.RUnlock()
	if ok {
		return known.policies
	}
	var selected []*policy.Policy
	for _, p := range all {
		if !p.SelectsNamespaces() || p.MatchesNamespace(labels) {
			selected = append(selected, p)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxSelections || !slices.Equal(s.all, all) {
		s.all, s.known = all, map[string]selection{}
	}
	s.known[namespace] = selection{maps.Clone(labels), selected}
	return selected
}
