package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Reasons of the Ready condition.
const (
	ReasonInForce = "InForce"
	ReasonInvalid = "Invalid"
)

// Reasons of the Grace condition.
const (
	ReasonGraceGiven    = "Given"
	ReasonGraceShort    = "ShorterThanAudits"
	ReasonAuditDisabled = "AuditDisabled"
)

// maxConditionMessage is the schema's bound of a condition's message.
const maxConditionMessage = 32768

// Status writes into each policy's status whether it is in force as it is
// written. Only the leader does.
type Status struct {
	Client client.Client
	// AuditInterval is how often the pods that run are audited; 0: never, and
	// then no image can have a grace.
	AuditInterval time.Duration
	// HSS reports whether HSS answers. Optional.
	HSS *HSS
	// RegistryHosts are those that a registry of the configuration claims.
	RegistryHosts []string
	// ExemptNamespaces are those in which nothing is evaluated.
	ExemptNamespaces []string
}

// SetupWithManager follows the policies on the leader.
func (s *Status) SetupWithManager(mgr ctrl.Manager) error {
	b := ctrl.NewControllerManagedBy(mgr).
		Named("policy-status").
		For(&v1alpha1.ImageScanPolicy{}, builder.WithPredicates(changes()))
	if s.HSS != nil {
		if err := mgr.Add(s.HSS); err != nil {
			return fmt.Errorf("check HSS: %w", err)
		}
		b = b.WatchesRawSource(source.Channel(s.HSS.changed, handler.TypedEnqueueRequestsFromMapFunc(s.all)))
	}
	if err := b.Complete(s); err != nil {
		return fmt.Errorf("write the status of policies: %w", err)
	}
	return nil
}

// all returns a request for each policy.
func (s *Status) all(ctx context.Context, _ struct{}) []ctrl.Request {
	var list v1alpha1.ImageScanPolicyList
	if err := s.Client.List(ctx, &list); err != nil {
		logf.FromContext(ctx).Error(err, "policies cannot be listed: the condition HSSReachable stays as it is")
		return nil
	}
	requests := make([]ctrl.Request, len(list.Items))
	for i := range list.Items {
		requests[i].Name = list.Items[i].Name
	}
	return requests
}

// Reconcile writes the status if it isn't what it should be.
func (s *Status) Reconcile(ctx context.Context, r ctrl.Request) (ctrl.Result, error) {
	var p v1alpha1.ImageScanPolicy
	if err := s.Client.Get(ctx, r.NamespacedName, &p); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := p.DeepCopy()
	p.Status.ObservedGeneration = p.Generation
	meta.SetStatusCondition(&p.Status.Conditions, readyCondition(&p))
	s.setHSSCondition(&p)
	s.setGraceCondition(&p)
	reason, message := s.ineffective(&p)
	setEffectiveCondition(&p.Status.Conditions, p.Generation, reason, message)
	if apiequality.Semantic.DeepEqual(before.Status, p.Status) {
		return ctrl.Result{}, nil
	}
	err := s.Client.Status().Patch(ctx, &p, client.MergeFrom(before))
	if err != nil && ctx.Err() == nil { // the next leader writes what a stopping one does not
		return ctrl.Result{}, client.IgnoreNotFound(fmt.Errorf("write status of policy %q: %w", p.Name, err))
	}
	return ctrl.Result{}, nil
}

// setHSSCondition sets whether HSS answers. A new leader keeps what the last one
// wrote until it has checked HSS itself.
func (s *Status) setHSSCondition(p *v1alpha1.ImageScanPolicy) {
	if s.HSS == nil {
		return
	}
	condition := s.HSS.Condition(p.Generation)
	if condition.Status == metav1.ConditionUnknown && meta.FindStatusCondition(p.Status.Conditions, condition.Type) != nil {
		return
	}
	meta.SetStatusCondition(&p.Status.Conditions, condition)
}

// Reasons of the Effective condition, which is there only if it is False.
const (
	ReasonMatchesNothing      = "MatchesNothing"
	ReasonHostUnclaimed       = "HostUnclaimed"
	ReasonPolicyNotFound      = "PolicyNotFound"
	ReasonExceptionsForbidden = "ExceptionsForbidden"
)

// ineffective returns why a policy can have no effect, and empty strings where
// that is not certain.
func (s *Status) ineffective(p *v1alpha1.ImageScanPolicy) (reason, message string) {
	m := &p.Spec.Match
	if why := policy.MatchesNothing(m, s.ExemptNamespaces); why != "" {
		return ReasonMatchesNothing, why
	}
	var unclaimed []string
	for _, image := range m.Images {
		host := policy.GlobHost(image)
		if host == "" || slices.Contains(s.RegistryHosts, host) {
			return "", ""
		}
		unclaimed = append(unclaimed, host)
	}
	if len(unclaimed) == 0 {
		return "", ""
	}
	return ReasonHostUnclaimed, fmt.Sprintf("no registry of the configuration claims %s: HSS has no scan result of any image that the policy matches, and when.notFound decides",
		strings.Join(slices.Compact(slices.Sorted(slices.Values(unclaimed))), ", "))
}

// setEffectiveCondition sets the condition to False with the reason, or removes
// it without one.
func setEffectiveCondition(conditions *[]metav1.Condition, generation int64, reason, message string) {
	if reason == "" {
		meta.RemoveStatusCondition(conditions, v1alpha1.ConditionEffective)
		return
	}
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: v1alpha1.ConditionEffective, Status: metav1.ConditionFalse, Reason: reason, Message: message, ObservedGeneration: generation,
	})
}

// setGraceCondition says whether the grace that a policy gives can be had.
func (s *Status) setGraceCondition(p *v1alpha1.ImageScanPolicy) {
	if p.Spec.Grace == nil {
		meta.RemoveStatusCondition(&p.Status.Conditions, v1alpha1.ConditionGrace)
		return
	}
	condition := metav1.Condition{
		Type: v1alpha1.ConditionGrace, Status: metav1.ConditionTrue, Reason: ReasonGraceGiven, ObservedGeneration: p.Generation,
		Message: fmt.Sprintf("an image that runs and passed has %s once what HSS says of it turns bad", p.Spec.Grace.Period.Duration),
	}
	switch period := p.Spec.Grace.Period.Duration; {
	case s.AuditInterval == 0:
		condition.Status, condition.Reason = metav1.ConditionFalse, ReasonAuditDisabled
		condition.Message = "no image has a grace: the audit, which sees what runs and passes, is switched off (audit.enabled)"
	case period < 2*s.AuditInterval:
		condition.Status, condition.Reason = metav1.ConditionFalse, ReasonGraceShort
		condition.Message = fmt.Sprintf("the period of %s can be over before an audit comes by: make it at least twice audit.interval, which is %s", period, s.AuditInterval)
	}
	meta.SetStatusCondition(&p.Status.Conditions, condition)
}

func readyCondition(p *v1alpha1.ImageScanPolicy) metav1.Condition {
	condition := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: ReasonInForce,
		Message: "the policy is in force as it is written", ObservedGeneration: p.Generation,
	}
	if _, err := policy.Compile(p); err != nil {
		condition.Status, condition.Reason = metav1.ConditionFalse, ReasonInvalid
		condition.Message = "what is invalid counts as violated or as matching: " + err.Error()
	}
	if len(condition.Message) > maxConditionMessage {
		condition.Message = condition.Message[:maxConditionMessage]
	}
	return condition
}
