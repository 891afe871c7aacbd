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

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
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
	// Rules has the policies compiled, reports changes, and limits exceptions.
	Rules *Rules
	HSS   *HSS
	// AuditInterval is how often running pods are audited; 0: never, and then no image can have a grace.
	AuditInterval time.Duration
	// RegistryHosts are those that a registry of the configuration claims.
	RegistryHosts    []string
	ExemptNamespaces []string
}

const (
	statusPoll     = time.Second      // how often Status checks whether rules have changed
	statusInterval = 30 * time.Second // the longest time from one look at all rules to the next
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
	// The lists are the cache's own: what is changed below is a copy.
	exceptions, err := listExceptions(ctx, s.Client)
	if err = errors.Join(err, s.Client.List(ctx, &policies, client.UnsafeDisableDeepCopy)); err != nil {
		return fmt.Errorf("read policies and exceptions: %w", err)
	}
	inForce, all := s.Rules.inForce.Load(), map[string]*compiledPolicy{}
	for i := range policies.Items {
		all[policies.Items[i].Name] = inForce.compile(&policies.Items[i], s.Rules.Language)
	}
	var failures []error
	for _, before := range exceptions { // first, as HSS changes the status of all policies at once
		e := before.DeepCopy()
		s.setException(e, all)
		written, err := s.write(ctx, before.Object(), e.Object())
		failures = append(failures, err)
		if written {
			s.warnOfEnd(before, e)
		}
	}
	for i := range policies.Items {
		before := &policies.Items[i]
		p := before.DeepCopy()
		s.setPolicy(p, all[p.Name].problems)
		_, err := s.write(ctx, before, p)
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// write writes the status of an object if it differs from that before, and reports whether it did.
func (s *Status) write(ctx context.Context, before, o client.Object) (written bool, err error) {
	if equality.Semantic.DeepEqual(before, o) {
		return false, nil
	}
	err = s.Client.Status().Patch(ctx, o, client.MergeFrom(before))
	return err == nil, client.IgnoreNotFound(err)
}

const maxConditionMessage = 32768 // the schema's limit of a condition's message

func newCondition(kind string, status bool, reason, message string) metav1.Condition {
	if len(message) > maxConditionMessage { // half a character would differ from what the API server keeps
		message = strings.ToValidUTF8(message[:maxConditionMessage], "")
	}
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
	if status {
		c.Status = metav1.ConditionTrue
	}
	return c
}

// setConditions sets the conditions of an object's generation, and removes those without a reason.
func setConditions(all *[]metav1.Condition, generation int64, conditions ...metav1.Condition) {
	for _, c := range conditions {
		if c.Reason == "" {
			meta.RemoveStatusCondition(all, c.Type)
			continue
		}
		c.ObservedGeneration = generation
		meta.SetStatusCondition(all, c)
	}
}

// Reasons that several conditions have. All others are where they are given.
const (
	reasonActive         = "Active"
	reasonInvalid        = "Invalid"
	reasonMatchesNothing = "MatchesNothing"
)

func (s *Status) setPolicy(p *v1alpha1.ImageScanPolicy, problems field.ErrorList) {
	ready := newCondition(v1alpha1.ConditionReady, true, reasonActive, "the policy is active")
	if len(problems) > 0 {
		ready = newCondition(v1alpha1.ConditionReady, false, reasonInvalid, "what is invalid counts as violated or as matching: "+problems.ToAggregate().Error())
	}
	conditions := []metav1.Condition{ready, s.grace(p.Spec.Grace), s.effective(&p.Spec.Match), s.expiring(p.Spec.Require.IgnoreVulnerabilities)}
	// A new leader keeps what the last one wrote until it has checked HSS itself.
	reachable := s.HSS.Condition()
	if reachable.Status != metav1.ConditionUnknown || meta.FindStatusCondition(p.Status.Conditions, reachable.Type) == nil {
		conditions = append(conditions, reachable)
	}
	p.Status.ObservedGeneration = p.Generation
	setConditions(&p.Status.Conditions, p.Generation, conditions...)
}

// grace returns whether images can have the grace that a policy gives, if it gives one.
func (s *Status) grace(grace *v1alpha1.Grace) metav1.Condition {
	status, reason, message := false, "", ""
	switch {
	case grace == nil:
	case s.AuditInterval == 0:
		reason, message = "AuditDisabled", "no image has a grace: the audit, which sees what runs and passes, is switched off (audit.enabled)"
	case grace.Period.Duration < 2*s.AuditInterval:
		reason, message = "ShorterThanAudits", fmt.Sprintf(
			"the period of %s can end before the next audit: make it at least twice audit.interval, which is %s", grace.Period.Duration, s.AuditInterval)
	default:
		status, reason = true, "Given"
		message = fmt.Sprintf("an image that ran and passed is admitted for %s after its scan result turns bad", grace.Period.Duration)
	}
	return newCondition(v1alpha1.ConditionGrace, status, reason, message)
}

// expiring returns which ignored vulnerabilities count again, or will within expiryWarning, if there are any.
func (s *Status) expiring(ignored []v1alpha1.IgnoredVulnerability) metav1.Condition {
	var messages []string
	for i := range ignored {
		end := ignored[i].ExpiresAt.Time
		switch now := s.Clock.Now(); {
		case !now.Before(end):
			messages = append(messages, fmt.Sprintf("%s counts again since %s", ignored[i].ID, end.UTC().Format(time.RFC3339)))
		case !now.Before(end.Add(-expiryWarning)):
			messages = append(messages, fmt.Sprintf("%s is ignored until %s", ignored[i].ID, end.UTC().Format(time.RFC3339)))
		}
	}
	reason := ""
	if len(messages) > 0 {
		reason = "IgnoredVulnerabilities"
	}
	return newCondition(v1alpha1.ConditionExpiring, true, reason, strings.Join(messages, "; "))
}

// effective returns why a policy can have no effect, if that is certain.
func (s *Status) effective(m *v1alpha1.Match) metav1.Condition {
	reason, message := reasonMatchesNothing, policy.MatchesNothing(m, s.ExemptNamespaces)
	if message == "" {
		reason, message = s.unclaimed(m.Images)
	}
	return newCondition(v1alpha1.ConditionEffective, false, reason, message)
}

// unclaimed returns which hosts no registry claims, if images name no others.
func (s *Status) unclaimed(images []string) (reason, message string) {
	var hosts []string
	for _, image := range images {
		host := glob.Host(image)
		if host == "" || slices.Contains(s.RegistryHosts, host) {
			return "", ""
		}
		hosts = append(hosts, host)
	}
	if len(hosts) == 0 {
		return "", ""
	}
	slices.Sort(hosts)
	return "HostUnclaimed", fmt.Sprintf(
		"no registry of the configuration claims %s: HSS has no scan result of any image that the policy matches, and when.notFound decides",
		strings.Join(slices.Compact(hosts), ", "))
}

// EventExceptionExpiring is the reason of the Event that warns of an exception's end.
const EventExceptionExpiring = "ExceptionExpiring"

// An exception is warned of expiryWarning before its end; a short one when the last expiryPart of its lifetime begins.
const (
	expiryWarning = 24 * time.Hour
	expiryPart    = 4
	// maxEventPolicies bounds the policies that an Event names: the API server refuses one of more than 1,024 bytes.
	maxEventPolicies = 10
)

// setException sets an exception's status: whether it is active, until when, and whether it can have an effect.
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
