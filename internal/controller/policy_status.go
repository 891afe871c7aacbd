package controller

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/glob"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Reasons of the conditions Ready, Grace and Effective.
const (
	ReasonActive  = "Active"
	ReasonInvalid = "Invalid"

	ReasonGraceGiven    = "Given"
	ReasonGraceShort    = "ShorterThanAudits"
	ReasonAuditDisabled = "AuditDisabled"

	ReasonMatchesNothing      = "MatchesNothing"
	ReasonHostUnclaimed       = "HostUnclaimed"
	ReasonPolicyNotFound      = "PolicyNotFound"
	ReasonExceptionsForbidden = "ExceptionsForbidden"
)

// setPolicy sets a policy's status, and returns the policy compiled.
func (s *Status) setPolicy(p *v1alpha1.ImageScanPolicy) *policy.Policy {
	p.Status.ObservedGeneration = p.Generation
	ready := newCondition(v1alpha1.ConditionReady, true, ReasonActive, "the policy is active")
	compiled, err := policy.Compile(p)
	if err != nil {
		ready = newCondition(v1alpha1.ConditionReady, false, ReasonInvalid, "what is invalid counts as violated or as matching: "+err.Error())
	}
	set := conditions{&p.Status.Conditions, p.Generation}
	set.set(ready)
	s.setHSS(set)
	s.setGrace(set, p.Spec.Grace)
	set.setEffective(s.ineffective(&p.Spec.Match))
	return compiled
}

// setHSS sets whether HSS answers. A new leader keeps what the last one wrote until
// it has checked HSS itself.
func (s *Status) setHSS(set conditions) {
	if s.HSS == nil {
		return
	}
	condition := s.HSS.Condition()
	if condition.Status != metav1.ConditionUnknown || meta.FindStatusCondition(*set.all, condition.Type) == nil {
		set.set(condition)
	}
}

// setGrace sets whether images can have the grace that a policy gives.
func (s *Status) setGrace(set conditions, grace *v1alpha1.Grace) {
	if grace == nil {
		meta.RemoveStatusCondition(set.all, v1alpha1.ConditionGrace)
		return
	}
	switch period := grace.Period.Duration; {
	case s.AuditInterval == 0:
		set.set(newCondition(v1alpha1.ConditionGrace, false, ReasonAuditDisabled,
			"no image has a grace: the audit, which sees what runs and passes, is switched off (audit.enabled)"))
	case period < 2*s.AuditInterval:
		set.set(newCondition(v1alpha1.ConditionGrace, false, ReasonGraceShort, fmt.Sprintf(
			"the period of %s can end before the next audit: make it at least twice audit.interval, which is %s", period, s.AuditInterval)))
	default:
		set.set(newCondition(v1alpha1.ConditionGrace, true, ReasonGraceGiven, fmt.Sprintf(
			"an image that ran and passed is admitted for %s after its scan result turns bad", period)))
	}
}

// ineffective returns why a policy can have no effect; empty if that is not certain.
func (s *Status) ineffective(m *v1alpha1.Match) (reason, message string) {
	if why := policy.MatchesNothing(m, s.ExemptNamespaces); why != "" {
		return ReasonMatchesNothing, why
	}
	var unclaimed []string
	for _, image := range m.Images {
		host := glob.Host(image)
		if host == "" || slices.Contains(s.RegistryHosts, host) {
			return "", ""
		}
		unclaimed = append(unclaimed, host)
	}
	if len(unclaimed) == 0 {
		return "", ""
	}
	return ReasonHostUnclaimed, fmt.Sprintf(
		"no registry of the configuration claims %s: HSS has no scan result of any image that the policy matches, and when.notFound decides",
		strings.Join(slices.Compact(slices.Sorted(slices.Values(unclaimed))), ", "))
}
