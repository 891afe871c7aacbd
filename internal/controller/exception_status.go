package controller

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// EventExceptionExpiring is the reason of the Event that warns of an exception's end.
const EventExceptionExpiring = "ExceptionExpiring"

// An exception is warned of expiryWarning before its end; a short one when the last expiryPart of its lifetime begins.
const (
	expiryWarning = 24 * time.Hour
	expiryPart    = 4
	// maxEventPolicies bounds the policies that an Event names: the API server refuses one of more than 1,024 bytes.
	maxEventPolicies = 10
)

// setException sets an exception's status: whether it is active and until when, and whether it has an effect with
// the policies that there are.
func (s *Status) setException(e *v1alpha1.ImageScanException, policies map[string]*compiledPolicy) {
	set := func(conditions ...metav1.Condition) { setConditions(&e.Status.Conditions, e.Generation, conditions...) }
	inactive := func(reason, message string) {
		set(newCondition(v1alpha1.ConditionReady, false, reason, message), newCondition(v1alpha1.ConditionExpiring, false, reason, ""))
	}
	set(effective(e, policies))
	e.Status.ObservedGeneration = e.Generation
	compiled, problems := policy.CompileException(e, s.Rules.maxLifetime)
	if len(problems) > 0 {
		e.Status.ActiveUntil = nil
		inactive(reasonInvalid, "it allows nothing: "+problems.ToAggregate().Error())
		return
	}
	until, now := compiled.Until(), s.Clock.Now()
	e.Status.ActiveUntil = &metav1.Time{Time: until}
	end := until.UTC().Format(time.RFC3339)
	if !until.Equal(e.Spec.ExpiresAt.Time) {
		end += ", the latest time that the configuration allows (maxExceptionLifetime)"
	}
	if !compiled.Active(now) {
		inactive("Expired", "it ended at "+end)
		return
	}
	message := "it ends at " + end
	expiring := newCondition(v1alpha1.ConditionExpiring, true, "EndsSoon", message)
	if now.Before(until.Add(-min(expiryWarning, until.Sub(e.CreationTimestamp.Time)/expiryPart))) {
		expiring = newCondition(v1alpha1.ConditionExpiring, false, "EndsLater", "")
	}
	set(newCondition(v1alpha1.ConditionReady, true, reasonActive, message), expiring)
}

// warnOfEnd warns of an exception that has begun to expire. The condition outlives the leader, so that the Event comes once.
func (s *Status) warnOfEnd(before, e *v1alpha1.ImageScanException) {
	expiring := func(of *v1alpha1.ImageScanException) bool {
		return meta.IsStatusConditionTrue(of.Status.Conditions, v1alpha1.ConditionExpiring)
	}
	if expiring(e) && !expiring(before) {
		policies := e.Spec.Policies
		if more := len(policies) - maxEventPolicies; more > 0 {
			policies = append(slices.Clone(policies[:maxEventPolicies]), fmt.Sprintf("and %d more", more))
		}
		s.Events.Eventf(before.Object(), nil, corev1.EventTypeWarning, EventExceptionExpiring, "Expire",
			"ends at %s: then its images are evaluated by policy %s again when pods start (used %d times up to now)",
			e.Status.ActiveUntil.UTC().Format(time.RFC3339), strings.Join(policies, ", "), e.Status.Uses)
	}
}

// effective returns why an exception can have no effect, if that is certain.
func effective(e *v1alpha1.ImageScanException, policies map[string]*compiledPolicy) metav1.Condition {
	var missing, forbidding []string
	matches := false
	for _, name := range e.Spec.Policies {
		p := policies[name]
		if p == nil {
			missing = append(missing, name)
			continue
		}
		if !p.AllowsExceptions() {
			forbidding = append(forbidding, name)
		}
		matches = matches || slices.ContainsFunc(e.Spec.Images, p.MayMatch)
	}
	reason, message := "", ""
	switch {
	case len(missing) > 0:
		reason, message = "PolicyNotFound", "there is no ImageScanPolicy "+strings.Join(missing, ", ")
	case len(forbidding) == len(e.Spec.Policies):
		reason, message = "ExceptionsForbidden", "no exception is permitted (spec.exceptions: Forbid) by policy "+strings.Join(forbidding, ", ")
	case !matches:
		reason, message = reasonMatchesNothing, "no policy that the exception names matches any of its images"
	}
	return newCondition(v1alpha1.ConditionEffective, false, reason, message)
}
