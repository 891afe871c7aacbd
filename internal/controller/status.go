package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/glob"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Status writes into the status of policies and exceptions whether they are active as written. The leader runs it.
type Status struct {
	Client client.Client
	Events events.EventRecorder
	Clock  clock.PassiveClock
	Log    *slog.Logger
	// Rules reports changes, and limits exceptions.
	Rules *Rules
	// HSS reports whether HSS answers; optional.
	HSS *HSS
	// AuditInterval is how often running pods are audited; 0: never, and then no image can have a grace.
	AuditInterval time.Duration
	// RegistryHosts are those that a registry of the configuration claims.
	RegistryHosts []string
	// ExemptNamespaces are those in which nothing is evaluated.
	ExemptNamespaces []string
}

const (
	// statusPoll is how often Status checks whether rules have changed.
	statusPoll = time.Second
	// statusInterval is the longest time from one look at all rules to the next.
	statusInterval = 30 * time.Second
)

// Start writes status whenever rules change, and every statusInterval, until ctx ends, which is no error.
func (s *Status) Start(ctx context.Context) error {
	var seen [2]uint64
	var due time.Time
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		changes := [2]uint64{s.Rules.PolicyChanges(), s.Rules.ExceptionChanges()}
		if s.Rules.Ready() != nil || changes == seen && s.Clock.Now().Before(due) {
			return
		}
		seen, due = changes, s.Clock.Now().Add(statusInterval)
		if err := s.Write(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("not every status is written: it is written later", "error", err)
		}
	}, statusPoll)
	return nil
}

// Write writes the status of each policy and exception if it differs. A panic is an error, as in a controller: reviews go on.
func (s *Status) Write(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	var policies v1alpha1.ImageScanPolicyList
	var exceptions v1alpha1.ImageScanExceptionList
	if err := errors.Join(s.Client.List(ctx, &policies), s.Client.List(ctx, &exceptions)); err != nil {
		return fmt.Errorf("read policies and exceptions: %w", err)
	}
	compiled, before := map[string]*policy.Policy{}, policies.DeepCopy()
	for i := range policies.Items {
		compiled[policies.Items[i].Name] = s.setPolicy(&policies.Items[i])
	}
	var failures []error
	for i := range exceptions.Items { // first, as HSS changes the status of all policies at once
		e := &exceptions.Items[i]
		before := e.DeepCopy()
		s.setException(e, compiled)
		written, err := s.write(ctx, before, e)
		failures = append(failures, err)
		if written {
			s.warnOfEnd(before, e)
		}
	}
	for i := range policies.Items {
		_, err := s.write(ctx, &before.Items[i], &policies.Items[i])
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// write writes the status of an object if it differs from that before, and reports whether it did.
func (s *Status) write(ctx context.Context, before, o client.Object) (written bool, err error) {
	patch := client.MergeFrom(before)
	if data, err := patch.Data(o); err != nil || string(data) == "{}" {
		return false, err
	}
	if err := s.Client.Status().Patch(ctx, o, patch); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return true, nil
}

// maxConditionMessage is the schema's limit of a condition's message.
const maxConditionMessage = 32768

func newCondition(kind string, status bool, reason, message string) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message[:min(len(message), maxConditionMessage)]}
	if status {
		c.Status = metav1.ConditionTrue
	}
	return c
}

// conditions are those of an object's generation.
type conditions struct {
	all        *[]metav1.Condition
	generation int64
}

func (s conditions) set(c metav1.Condition) {
	c.ObservedGeneration = s.generation
	meta.SetStatusCondition(s.all, c)
}

// setEffective sets the condition Effective to False with a reason, or removes it without one.
func (s conditions) setEffective(reason, message string) {
	if reason == "" {
		meta.RemoveStatusCondition(s.all, v1alpha1.ConditionEffective)
		return
	}
	s.set(newCondition(v1alpha1.ConditionEffective, false, reason, message))
}

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
