package controller

import (
	"context"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// hssInterval is the time from one check of HSS to the next.
const hssInterval = 30 * time.Second

// Reasons of the HSSReachable condition.
const (
	ReasonAnswers       = "Answers"
	ReasonUnavailable   = "Unavailable"
	ReasonMisconfigured = "Misconfigured"
	ReasonOverloaded    = "Overloaded"
	ReasonNotChecked    = "NotChecked"
)

// HSSCheck is the result of a check of HSS.
type HSSCheck struct {
	// Reason is a reason of the HSSReachable condition. HSS is reachable if it is
	// ReasonAnswers.
	Reason string
	// Message names the first project for which HSS does not answer, the cause and
	// what to do.
	Message string
}

// HSS checks again and again whether HSS answers for every project. It is a
// manager.Runnable of the leader, and outlives a lost election.
type HSS struct {
	// Check makes one signed call for each project.
	Check func(ctx context.Context) HSSCheck
	Clock clock.WithTicker

	last    atomic.Pointer[HSSCheck]
	changed chan event.TypedGenericEvent[struct{}]
}

// NewHSS returns an HSS that has not been checked.
func NewHSS(check func(ctx context.Context) HSSCheck, c clock.WithTicker) *HSS {
	return &HSS{Check: check, Clock: c, changed: make(chan event.TypedGenericEvent[struct{}], 1)}
}

// Start checks HSS until ctx ends, which is no error.
func (h *HSS) Start(ctx context.Context) error {
	ticker := h.Clock.NewTicker(hssInterval)
	defer ticker.Stop()
	for {
		check := h.Check(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if before := h.last.Swap(&check); before == nil || *before != check {
			select {
			case h.changed <- event.TypedGenericEvent[struct{}]{}:
			default: // the policies are still to be written for an earlier change
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

// Reachable returns the status of the condition.
func (h *HSS) Reachable() metav1.ConditionStatus { return h.Condition(0).Status }

// Condition returns the HSSReachable condition of a policy.
func (h *HSS) Condition(generation int64) metav1.Condition {
	condition := metav1.Condition{
		Type: v1alpha1.ConditionHSSReachable, Status: metav1.ConditionUnknown, Reason: ReasonNotChecked,
		Message: "HSS has not been called yet", ObservedGeneration: generation,
	}
	last := h.last.Load()
	if last == nil {
		return condition
	}
	condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, last.Reason, last.Message
	if last.Reason == ReasonAnswers {
		condition.Status = metav1.ConditionTrue
	}
	return condition
}
