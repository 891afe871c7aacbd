package controller

import (
	"context"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
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

// HSS checks again and again whether HSS answers for every project. The leader runs
// it; it outlives a lost election.
type HSS struct {
	check   func(ctx context.Context) HSSCheck
	last    atomic.Pointer[HSSCheck]
	changed chan event.GenericEvent
}

// NewHSS returns an HSS that has not been checked. check makes one signed call for
// each project.
func NewHSS(check func(ctx context.Context) HSSCheck) *HSS {
	return &HSS{check: check, changed: make(chan event.GenericEvent, 1)}
}

// Start checks HSS until ctx ends, which is no error.
func (h *HSS) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		check := h.check(ctx)
		if ctx.Err() != nil {
			return
		}
		if before := h.last.Swap(&check); before == nil || *before != check {
			select {
			case h.changed <- event.GenericEvent{Object: &v1alpha1.ImageScanPolicy{}}:
			default: // the policies are still to be written for an earlier change
			}
		}
	}, hssInterval)
	return nil
}

// Condition returns the HSSReachable condition of policies.
func (h *HSS) Condition() metav1.Condition {
	last := h.last.Load()
	if last == nil {
		return metav1.Condition{
			Type: v1alpha1.ConditionHSSReachable, Status: metav1.ConditionUnknown, Reason: ReasonNotChecked, Message: "HSS has not been called yet",
		}
	}
	return newCondition(v1alpha1.ConditionHSSReachable, last.Reason == ReasonAnswers, last.Reason, last.Message)
}
