package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
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

// Reasons of an exception's conditions Ready and Expiring, besides those of policies.
const (
	ReasonExpired   = "Expired"
	ReasonEndsSoon  = "EndsSoon"
	ReasonEndsLater = "EndsLater"
)

// EventExceptionExpiring is the reason of the Event that warns of an exception's end.
const EventExceptionExpiring = "ExceptionExpiring"

const (
	// expiryWarning is how long before its end an exception is warned of; a short
	// one when the last expiryPart of its lifetime begins.
	expiryWarning = 24 * time.Hour
	expiryPart    = 4
	// longestWait bounds the time to the next check of an exception, should the
	// clock be set.
	longestWait = time.Hour
)

// ExceptionStatus writes into each exception's status whether it is active and until
// when, and warns once of its end.
type ExceptionStatus struct {
	Client      client.Client
	Events      events.EventRecorder
	Clock       clock.PassiveClock
	MaxLifetime time.Duration
}

// SetupWithManager follows exceptions, and policies, on the leader.
func (s *ExceptionStatus) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("exception-status").
		For(&v1alpha1.ImageScanException{}, builder.WithPredicates(changes())).
		Watches(&v1alpha1.ImageScanPolicy{}, handler.EnqueueRequestsFromMapFunc(s.all), builder.WithPredicates(changes())).
		Complete(s)
	if err != nil {
		return fmt.Errorf("write the status of exceptions: %w", err)
	}
	return nil
}

// all returns a request for each exception.
func (s *ExceptionStatus) all(ctx context.Context, _ client.Object) (requests []ctrl.Request) {
	var list v1alpha1.ImageScanExceptionList
	if err := s.Client.List(ctx, &list); err != nil {
		logf.FromContext(ctx).Error(err, "exceptions cannot be listed: their status stays as it is")
	}
	for i := range list.Items {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}

// Reconcile writes the status if it differs, and returns when it will.
func (s *ExceptionStatus) Reconcile(ctx context.Context, r ctrl.Request) (ctrl.Result, error) {
	var e v1alpha1.ImageScanException
	if err := s.Client.Get(ctx, r.NamespacedName, &e); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := e.DeepCopy()
	next := s.setExpiry(&e)
	reason, message, err := s.ineffective(ctx, &e)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("read the policies of exception %s: %w", r.NamespacedName, err)
	}
	conditions{&e.Status.Conditions, e.Generation}.setEffective(reason, message)
	written, err := writeStatus(ctx, s.Client, before, &e)
	if err != nil {
		return ctrl.Result{}, err
	}
	// The condition outlives the leader, so that the Event comes once.
	if written && isExpiring(&e) && !isExpiring(before) {
		s.Events.Eventf(&e, nil, corev1.EventTypeWarning, EventExceptionExpiring, "Expire",
			"ends at %s: then its images are evaluated by policy %s again when pods start (used %d times up to now)",
			e.Status.ActiveUntil.UTC().Format(time.RFC3339), strings.Join(e.Spec.Policies, ", "), e.Status.Uses)
	}
	return ctrl.Result{RequeueAfter: next}, nil
}

func isExpiring(e *v1alpha1.ImageScanException) bool {
	return meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionExpiring)
}

// setExpiry sets whether the exception is active and until when, and returns when to
// do so again; 0: only if it changes.
func (s *ExceptionStatus) setExpiry(e *v1alpha1.ImageScanException) time.Duration {
	set := conditions{&e.Status.Conditions, e.Generation}
	inactive := func(reason, message string) time.Duration {
		set.set(newCondition(v1alpha1.ConditionReady, false, reason, message))
		set.set(newCondition(v1alpha1.ConditionExpiring, false, reason, ""))
		return 0
	}
	e.Status.ObservedGeneration = e.Generation
	compiled, err := policy.CompileException(e, s.MaxLifetime)
	if err != nil {
		e.Status.ActiveUntil = nil
		return inactive(ReasonInvalid, "it allows nothing: "+err.Error())
	}
	until, now := compiled.Until(), s.Clock.Now()
	e.Status.ActiveUntil = &metav1.Time{Time: until}
	end := until.UTC().Format(time.RFC3339)
	if !until.Equal(e.Spec.ExpiresAt.Time) {
		end += fmt.Sprintf(", %s after its creation, the longest that the configuration allows", s.MaxLifetime)
	}
	if !compiled.Active(now) {
		return inactive(ReasonExpired, "it ended at "+end)
	}
	message := "it ends at " + end
	set.set(newCondition(v1alpha1.ConditionReady, true, ReasonActive, message))
	warning := until.Add(-min(expiryWarning, until.Sub(e.CreationTimestamp.Time)/expiryPart))
	if now.Before(warning) {
		set.set(newCondition(v1alpha1.ConditionExpiring, false, ReasonEndsLater, ""))
		return min(warning.Sub(now), longestWait)
	}
	set.set(newCondition(v1alpha1.ConditionExpiring, true, ReasonEndsSoon, message))
	return min(until.Sub(now), longestWait)
}

// ineffective returns why an exception can have no effect; empty if that is not
// certain.
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
