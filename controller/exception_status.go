package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Reasons of an exception's Ready and Expiring conditions, besides ReasonInvalid.
const (
	ReasonActive   = "Active"
	ReasonExpired  = "Expired"
	ReasonEndsSoon = "EndsSoon"
	ReasonLasts    = "Lasts"
)

// EventExceptionExpiring is the reason of the Event that warns of an exception's
// end.
const EventExceptionExpiring = "ExceptionExpiring"

// An exception's end is warned of expiryWarning before, or, of a short one, when
// a quarter of its lifetime is left.
const (
	expiryWarning = 24 * time.Hour
	expiryPart    = 4
)

// longestWait bounds the time to the next look at an exception, should the clock
// be set.
const longestWait = time.Hour

// ExceptionStatus writes into each exception's status whether it lets anything
// past and until when, and warns once of its end. Only the leader does.
type ExceptionStatus struct {
	Client      client.Client
	Events      events.EventRecorder
	Clock       clock.PassiveClock
	MaxLifetime time.Duration
}

// SetupWithManager follows the exceptions on the leader.
func (s *ExceptionStatus) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("exception-status").
		For(&v1alpha1.ImageScanException{}, builder.WithPredicates(changes())).
		Watches(&v1alpha1.ImageScanPolicy{}, handler.EnqueueRequestsFromMapFunc(s.naming), builder.WithPredicates(changes())).
		Complete(s)
	if err != nil {
		return fmt.Errorf("write the status of exceptions: %w", err)
	}
	return nil
}

// naming returns a request for each exception from a policy.
func (s *ExceptionStatus) naming(ctx context.Context, p client.Object) []ctrl.Request {
	var list v1alpha1.ImageScanExceptionList
	if err := s.Client.List(ctx, &list); err != nil {
		logf.FromContext(ctx).Error(err, "exceptions cannot be listed: the condition Effective stays as it is")
		return nil
	}
	var requests []ctrl.Request
	for i := range list.Items {
		if slices.Contains(list.Items[i].Spec.Policies, p.GetName()) {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}

// ineffective returns why an exception can have no effect, and empty strings
// where that is not certain.
func (s *ExceptionStatus) ineffective(ctx context.Context, e *v1alpha1.ImageScanException) (reason, message string, err error) {
	var missing, forbidding []string
	matches := false
	for _, name := range e.Spec.Policies {
		var p v1alpha1.ImageScanPolicy
		switch err := s.Client.Get(ctx, client.ObjectKey{Name: name}, &p); {
		case apierrors.IsNotFound(err):
			missing = append(missing, name)
			continue
		case err != nil:
			return "", "", err
		}
		compiled, _ := policy.Compile(&p)
		if !compiled.AllowsExceptions() {
			forbidding = append(forbidding, name)
		}
		matches = matches || slices.ContainsFunc(e.Spec.Images, compiled.MayMatch)
	}
	switch {
	case len(missing) > 0:
		return ReasonPolicyNotFound, "there is no ImageScanPolicy " + strings.Join(missing, ", "), nil
	case len(forbidding) == len(e.Spec.Policies):
		return ReasonExceptionsForbidden, "no exception is permitted (spec.exceptions: Forbid) by policy " + strings.Join(forbidding, ", "), nil
	case !matches:
		return ReasonMatchesNothing, "no policy that the exception names matches any of its images", nil
	}
	return "", "", nil
}

// Reconcile writes the status if it isn't what it should be, and comes back when
// it will no longer be.
func (s *ExceptionStatus) Reconcile(ctx context.Context, r ctrl.Request) (ctrl.Result, error) {
	var e v1alpha1.ImageScanException
	if err := s.Client.Get(ctx, r.NamespacedName, &e); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := e.DeepCopy()
	next := s.describe(&e)
	reason, message, err := s.ineffective(ctx, &e)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("read the policies of exception %s: %w", r.NamespacedName, err)
	}
	setEffectiveCondition(&e.Status.Conditions, e.Generation, reason, message)
	if !apiequality.Semantic.DeepEqual(before.Status, e.Status) {
		if err := s.Client.Status().Patch(ctx, &e, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(fmt.Errorf("write status of exception %s: %w", r.NamespacedName, err))
		}
		s.warn(before, &e)
	}
	return ctrl.Result{RequeueAfter: next}, nil
}

// describe sets e's status, and returns when to do so again; 0: only if e
// changes.
func (s *ExceptionStatus) describe(e *v1alpha1.ImageScanException) time.Duration {
	compiled, err := policy.CompileException(e, s.MaxLifetime)
	e.Status.ObservedGeneration = e.Generation
	if err != nil {
		e.Status.ActiveUntil = nil
		setExceptionConditions(e, metav1.ConditionFalse, ReasonInvalid, "it lets nothing past: "+err.Error(), false)
		return 0
	}
	until, now := compiled.Until(), s.Clock.Now()
	e.Status.ActiveUntil = &metav1.Time{Time: until}
	end := until.UTC().Format(time.RFC3339) + s.whyThen(e, until)
	warning := until.Add(-min(expiryWarning, until.Sub(e.CreationTimestamp.Time)/expiryPart))
	switch {
	case !compiled.Active(now):
		setExceptionConditions(e, metav1.ConditionFalse, ReasonExpired, "it ended at "+end, false)
		return 0
	case now.Before(warning):
		setExceptionConditions(e, metav1.ConditionTrue, ReasonActive, "it ends at "+end, false)
		return min(warning.Sub(now), longestWait)
	}
	setExceptionConditions(e, metav1.ConditionTrue, ReasonActive, "it ends at "+end, true)
	return min(until.Sub(now), longestWait)
}

func (s *ExceptionStatus) whyThen(e *v1alpha1.ImageScanException, until time.Time) string {
	if until.Equal(e.Spec.ExpiresAt.Time) {
		return ""
	}
	return fmt.Sprintf(", %s after its creation, which is the longest that the configuration grants", s.MaxLifetime)
}

func setExceptionConditions(e *v1alpha1.ImageScanException, ready metav1.ConditionStatus, reason, message string, expiring bool) {
	if len(message) > maxConditionMessage {
		message = message[:maxConditionMessage]
	}
	meta.SetStatusCondition(&e.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: ready, Reason: reason, Message: message, ObservedGeneration: e.Generation,
	})
	soon := metav1.Condition{Type: v1alpha1.ConditionExpiring, Status: metav1.ConditionFalse, Reason: ReasonLasts, ObservedGeneration: e.Generation}
	switch {
	case expiring:
		soon.Status, soon.Reason, soon.Message = metav1.ConditionTrue, ReasonEndsSoon, message
	case ready == metav1.ConditionFalse:
		soon.Reason = reason
	}
	meta.SetStatusCondition(&e.Status.Conditions, soon)
}

// warn says once that the exception ends soon: what was warned of is in the
// status, which outlives the leader.
func (s *ExceptionStatus) warn(before, e *v1alpha1.ImageScanException) {
	was := meta.IsStatusConditionTrue(before.Status.Conditions, v1alpha1.ConditionExpiring)
	if was || !meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionExpiring) {
		return
	}
	note := fmt.Sprintf("ends at %s: what it lets past %s (%d times up to now) will be judged again when pods start",
		e.Status.ActiveUntil.UTC().Format(time.RFC3339), strings.Join(e.Spec.Policies, ", "), e.Status.Uses)
	s.Events.Eventf(e, nil, corev1.EventTypeWarning, EventExceptionExpiring, "Expire", "%s", note)
}
