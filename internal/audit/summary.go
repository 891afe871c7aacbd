package audit

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/internal/grace"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	// maxFirst is the schema's limit of status.lastAudit.firstViolations, of which
	// maxFirstOfOne come from one namespace as long as others have some.
	maxFirst      = 20
	maxFirstOfOne = 5
	// maxMessage is the schema's limit of a message.
	maxMessage = 4096
)

// summary is what an audit found in the whole cluster.
type summary struct {
	// time is when the audit ended.
	time time.Time
	// graces are those under way, of the policies that give any.
	graces map[string]grace.Summary

	mu               sync.Mutex
	namespaces, pods int
	newest           time.Time
	policies         map[string]*policySummary
}

// policySummary is what was found for one policy.
type policySummary struct {
	count
	// first are the first violations, at most maxFirst: each namespace's share of
	// them before the others.
	first []firstViolation
}

type firstViolation struct {
	v1alpha1.AuditViolation
	// beyond reports that it is not among its namespace's share.
	beyond bool
}

// total returns the counts of all policies together.
func (s *summary) total() (all count) {
	for _, p := range s.policies {
		all.add(p.count)
	}
	return all
}

// status returns what was found for a policy, as its status shows it.
func (s *summary) status(policy string) v1alpha1.AuditStatus {
	status := v1alpha1.AuditStatus{Time: metav1.NewTime(s.time)}
	if g := s.graces[policy]; g.Images > 0 {
		status.Grace = &v1alpha1.AuditGrace{Images: int32Of(g.Images), NextEnd: metav1.NewTime(g.NextEnd)}
	}
	p, ok := s.policies[policy]
	if !ok {
		return status
	}
	status.Evaluated, status.Violations, status.Unknown = int32Of(p.evaluated), int32Of(p.violations), int32Of(p.unknown)
	status.Excepted = int32Of(p.excepted)
	for _, one := range p.first {
		status.FirstViolations = append(status.FirstViolations, one.AuditViolation)
	}
	slices.SortFunc(status.FirstViolations, compareViolations)
	return status
}

// add adds what was found in a namespace. The order of namespaces does not matter.
func (s *summary) add(f *findings) {
	first := map[string][]firstViolation{}
	for _, g := range f.sorted() {
		if n := len(first[g.policy]); g.violations > 0 && n < maxFirst {
			first[g.policy] = append(first[g.policy], firstViolation{v1alpha1.AuditViolation{
				Namespace: f.namespace, Kind: g.owner.Kind, Name: g.owner.Name, Pods: int32Of(g.violations), Message: cut(g.message(), maxMessage),
			}, n >= maxFirstOfOne})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.namespaces++
	s.pods += f.pods
	if f.newest.After(s.newest) {
		s.newest = f.newest
	}
	for name, c := range f.counts {
		p, ok := s.policies[name]
		if !ok {
			p = &policySummary{}
			s.policies[name] = p
		}
		p.count.add(*c)
		p.first = append(p.first, first[name]...)
		slices.SortFunc(p.first, compareFirst)
		p.first = p.first[:min(len(p.first), maxFirst)]
	}
}

func compareFirst(a, b firstViolation) int {
	switch {
	case a.beyond == b.beyond:
		return compareViolations(a.AuditViolation, b.AuditViolation)
	case b.beyond:
		return -1
	}
	return 1
}

func compareViolations(a, b v1alpha1.AuditViolation) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
}

func int32Of(n int) int32 { return int32(min(n, 1<<31-1)) } //nolint:gosec // the limit is in the expression
