package gate

import (
	"maps"
	"slices"
	"sync"

	"github.com/hssgate/hssgate/policy"
)

// maxSelections bounds the policies of all namespaces together that are remembered: 8 MB.
const maxSelections = 1 << 20

// selections remember which policies select a namespace: with a thousand policies, of which most select others, to match
// them all takes longer than the rest of a review. The zero value is ready for use.
type selections struct {
	mu sync.RWMutex
	// all are the policies that were in force when the selections were made.
	all   []*policy.Policy
	known map[string]selection
	kept  int
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
	now := selection{labels: maps.Clone(labels)}
	for _, p := range all {
		if !p.SelectsNamespaces() || p.MatchesNamespace(labels) {
			now.policies = append(now.policies, p)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept += len(now.policies) + 1; s.kept > maxSelections || !slices.Equal(s.all, all) {
		s.all, s.kept, s.known = all, 0, nil
	}
	if s.known == nil {
		s.known = map[string]selection{}
	}
	s.known[namespace] = now
	return now.policies
}
