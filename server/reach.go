package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hssgate/hssgate/controller"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

// checkHSS returns a check of HSS by one signed call for each project.
func checkHSS(known *inventory.Inventory) func(ctx context.Context) controller.HSSCheck {
	return func(ctx context.Context) controller.HSSCheck { return summarize(known.Check(ctx)) }
}

// summarize names the first project for which HSS does not answer, or all.
func summarize(checks []inventory.ProjectCheck) controller.HSSCheck {
	var names []string
	var first *inventory.ProjectCheck
	failed := 0
	for i := range checks {
		c := &checks[i]
		names = append(names, c.Project)
		if c.Err == nil {
			continue
		}
		failed++
		if first == nil {
			first = c
		}
	}
	if first == nil {
		return controller.HSSCheck{Reason: controller.ReasonAnswers, Message: "HSS answers for project " + strings.Join(names, ", ")}
	}
	result := controller.HSSCheck{Message: fmt.Sprintf("project %s: %s", first.Project, stableCause(first))}
	if failed > 1 {
		result.Message += fmt.Sprintf(" (%d of %d projects fail)", failed, len(checks))
	}
	switch first.Fault {
	case policy.CauseOutage:
		result.Reason = controller.ReasonUnavailable
	case policy.CauseOverload:
		result.Reason = controller.ReasonOverloaded
	case policy.CauseConfiguration:
		result.Reason = controller.ReasonMisconfigured
	}
	return result
}

// stableCause returns the cause without the ID of a request, with which every
// check would write the status of every policy.
func stableCause(c *inventory.ProjectCheck) string {
	answer, ok := errors.AsType[*hss.Error](c.Err)
	if !ok || answer.RequestID == "" {
		return c.Cause
	}
	return strings.Replace(c.Cause, " (request "+answer.RequestID+")", "", 1)
}
