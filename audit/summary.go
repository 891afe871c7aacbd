package audit

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	// maxFirst is the schema's bound of status.lastAudit.firstViolations, of
	// which maxFirstOfOne come from one namespace as long as others have some.
	maxFirst      = 20
	maxFirstOfOne = 5
	// maxMessage is the schema's bound of a message, in characters.
	maxMessage = 4096
)

// Summary is what an audit found in the whole cluster.
type Summary struct {
	// Time is when the audit ended.
	Time time.Time
	// Namespaces and Pods are how many were looked at.
	Namespaces, Pods int

	mu       sync.Mutex
	newest   time.Time
	policies map[string]*policySummary
	// graces are those under way, of the policies that give any.
	graces map[string]graces
}

// policySummary is what was found for one policy.
type policySummary struct {
	count
	// first are what each namespace brings to the first violations, others
	// what it brings if there is still room. Both are in order and no longer
	// than maxFirst.
	first, others []v1alpha1.AuditViolation
}

func newSummary() *Summary { return &Summary{policies: map[string]*policySummary{}} }

// Policies are the names of the policies that judged any pod, in order.
func (s *Summary) Policies() []string {
	names := make([]string, 0, len(s.policies))
	for name := range s.policies {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Status returns what was found for a policy, as its status says it.
func (s *Summary) Status(policy string) v1alpha1.AuditStatus {
	status := v1alpha1.AuditStatus{Time: metav1.NewTime(s.Time), Grace: s.graces[policy].status()}
	p, ok := s.policies[policy]
	if !ok {
		return status
	}
	status.Evaluated, status.Violations, status.Unknown = int32Of(p.evaluated), int32Of(p.violations), int32Of(p.unknown)
	status.Excepted = int32Of(p.excepted)
	room := maxFirst - len(p.first)
	status.FirstViolations = slices.Concat(p.first, p.others[:min(room, len(p.others))])
	slices.SortFunc(status.FirstViolations, compareViolations)
	return status
}

func (s *Summary) violations() int {
	n := 0
	for _, p := range s.policies {
		n += p.violations
	}
	return n
}

func (s *Summary) unknown() int {
	n := 0
	for _, p := range s.policies {
		n += p.unknown
	}
	return n
}

// add adds what was found in a namespace. The order of namespaces doesn't
// matter.
func (s *Summary) add(f *findings) {
	first := map[string][]v1alpha1.AuditViolation{}
	for _, g := range f.sorted() {
		if g.violations > 0 && len(first[g.policy]) < maxFirst {
			first[g.policy] = append(first[g.policy], violationOf(f.namespace, g))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Namespaces++
	s.Pods += f.pods
	s.newest = later(s.newest, f.newest)
	for name, c := range f.counts {
		p, ok := s.policies[name]
		if !ok {
			p = &policySummary{}
			s.policies[name] = p
		}
		p.count.add(c)
		all := first[name]
		own := min(len(all), maxFirstOfOne)
		p.first, p.others = merge(p.first, all[:own]), merge(p.others, all[own:])
	}
}

func merge(all, more []v1alpha1.AuditViolation) []v1alpha1.AuditViolation {
	all = append(all, more...)
	slices.SortFunc(all, compareViolations)
	return all[:min(len(all), maxFirst)]
}

func compareViolations(a, b v1alpha1.AuditViolation) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
}

func violationOf(namespace string, g *group) v1alpha1.AuditViolation {
	return v1alpha1.AuditViolation{
		Namespace: namespace, Kind: g.owner.kind, Name: g.owner.name, Pods: int32Of(g.violations), Message: cut(g.message(), maxMessage),
	}
}

// cut keeps at most so many characters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("…")], "") + "…"
}

func int32Of(n int) int32 { return int32(min(n, 1<<31-1)) } //nolint:gosec // bounded just here
