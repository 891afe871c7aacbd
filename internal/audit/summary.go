package audit

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	// maxFirst is the schema's limit of status.lastAudit.firstViolations.
	maxFirst = 20
	// maxMessage is the schema's limit of a message.
	maxMessage = 4096
)

// counts are what was counted in a namespace, or in the whole cluster.
type counts struct {
	pods int
	// newest is when the newest pod that a policy matches was created.
	newest time.Time
	// policies hold what was found for each policy, as its status shows it.
	policies map[string]*v1alpha1.AuditStatus
}

// of returns what was found for a policy, to be added to.
func (c *counts) of(policy string) *v1alpha1.AuditStatus {
	status, ok := c.policies[policy]
	if !ok {
		if c.policies == nil {
			c.policies = map[string]*v1alpha1.AuditStatus{}
		}
		status = &v1alpha1.AuditStatus{}
		c.policies[policy] = status
	}
	return status
}

// total returns the counts of all policies together.
func (c *counts) total() (all v1alpha1.AuditStatus) {
	for _, p := range c.policies {
		addPods(&all, p)
	}
	return all
}

func addPods(to, more *v1alpha1.AuditStatus) {
	to.Evaluated += more.Evaluated
	to.Violations += more.Violations
	to.Unknown += more.Unknown
	to.Excepted += more.Excepted
}

// summary is what an audit found in the whole cluster.
type summary struct {
	// time is when the audit ended.
	time time.Time
	// graces are those under way, of the policies that give any.
	graces map[string]*v1alpha1.AuditGrace

	counts
	// reported are the namespaces that have a report.
	reported sets.Set[string]
}

// addNamespace adds what was found in the next namespace.
func (s *summary) addNamespace(f *findings) {
	s.pods += f.pods
	if f.newest.After(s.newest) {
		s.newest = f.newest
	}
	if len(f.groups) > 0 {
		s.reported.Insert(f.namespace)
	}
	for name, more := range f.policies {
		addPods(s.of(name), more)
	}
	for _, g := range f.sorted() {
		if p := s.of(g.policy); g.violations > 0 && len(p.FirstViolations) < maxFirst {
			p.FirstViolations = append(p.FirstViolations, v1alpha1.AuditViolation{
				Namespace: f.namespace, Kind: g.owner.Kind, Name: g.owner.Name, Pods: g.violations, Message: cut(g.message(), maxMessage),
			})
		}
	}
}

// status returns what was found for a policy, as its status shows it.
func (s *summary) status(policy string) *v1alpha1.AuditStatus {
	status := &v1alpha1.AuditStatus{}
	if p := s.policies[policy]; p != nil {
		status = p.DeepCopy()
	}
	status.Time = metav1.NewTime(s.time)
	if g := s.graces[policy]; g != nil && g.Images > 0 {
		status.Grace = g
	}
	return status
}
