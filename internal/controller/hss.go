package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const hssInterval = 30 * time.Second // the time from one check of HSS to the next

// HSS checks again and again whether HSS answers for every project, and logs what changes. Every replica runs it:
// otherwise, wrong credentials would show only with the first pod. See NewHSS.
type HSS struct {
	check func(ctx context.Context) []inventory.ProjectCheck
	log   *slog.Logger
	last  atomic.Pointer[metav1.Condition]
}

// NewHSS returns an HSS that has not been checked. check makes one signed call for each project.
func NewHSS(check func(ctx context.Context) []inventory.ProjectCheck, log *slog.Logger) *HSS {
	h := &HSS{check: check, log: log}
	h.last.Store(&metav1.Condition{
		Type: v1alpha1.ConditionHSSReachable, Status: metav1.ConditionUnknown, Reason: "NotChecked", Message: "HSS has not been called yet",
	})
	return h
}

// Start checks HSS until ctx ends, which is no error.
func (h *HSS) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		now := reachable(h.check(ctx))
		if ctx.Err() != nil || h.Condition() == now {
			return
		}
		h.last.Store(&now)
		if now.Status == metav1.ConditionTrue {
			h.log.Info("HSS answers", "message", now.Message)
		} else {
			h.log.Warn("HSS cannot be used", "reason", now.Reason, "message", now.Message)
		}
	}, hssInterval)
	return nil
}

// Condition returns the HSSReachable condition of policies.
func (h *HSS) Condition() metav1.Condition { return *h.last.Load() }

// reachable names the first project for which HSS does not answer, the cause and what to do, or all projects.
func reachable(checks []inventory.ProjectCheck) metav1.Condition {
	var names []string
	var failed []*inventory.ProjectCheck
	for i := range checks {
		names = append(names, checks[i].Project)
		if checks[i].Err != nil {
			failed = append(failed, &checks[i])
		}
	}
	if len(failed) == 0 {
		return newCondition(v1alpha1.ConditionHSSReachable, true, "Answers", "HSS answers for project "+strings.Join(names, ", "))
	}
	first := failed[0]
	message := fmt.Sprintf("project %s: %s", first.Project, first.Cause)
	// With the ID of the request, every check would write the status of every policy.
	if answer, ok := errors.AsType[*hss.Error](first.Err); ok {
		message = strings.Replace(message, " (request "+answer.RequestID+")", "", 1)
	}
	if len(failed) > 1 {
		message += fmt.Sprintf(" (%d of %d projects fail)", len(failed), len(checks))
	}
	reason := map[policy.Cause]string{
		policy.CauseOutage: "Unavailable", policy.CauseOverload: "Overloaded", policy.CauseConfiguration: "Misconfigured",
	}[first.Fault]
	return newCondition(v1alpha1.ConditionHSSReachable, false, reason, message)
}
