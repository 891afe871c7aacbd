package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/controller"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
)

// checkProjects makes one call to HSS for every project at the start and logs what
// comes of it. Otherwise, wrong credentials would show only with the first pod.
func checkProjects(ctx context.Context, check func(context.Context) []inventory.ProjectCheck, log *slog.Logger) {
	for _, c := range check(ctx) {
		_, refused := errors.AsType[*hss.RefusedError](c.Err)
		switch {
		case ctx.Err() != nil || refused: // a refusal is logged where it is noticed
		case c.Err != nil:
			log.Warn("HSS cannot be used", "project", c.Project, "region", c.Region, "projectID", c.ProjectID, "cause", c.Cause)
		default:
			log.Info("HSS answers", "project", c.Project, "region", c.Region, "projectID", c.ProjectID, "images", c.Images)
		}
	}
}

// checkHSS returns a check of HSS by one signed call for each project.
func checkHSS(known *inventory.Inventory) func(ctx context.Context) controller.HSSCheck {
	return func(ctx context.Context) controller.HSSCheck { return summarize(known.Check(ctx)) }
}

// summarize names the first project for which HSS does not answer, or all.
func summarize(checks []inventory.ProjectCheck) controller.HSSCheck {
	var names []string
	var failed []*inventory.ProjectCheck
	for i := range checks {
		names = append(names, checks[i].Project)
		if checks[i].Err != nil {
			failed = append(failed, &checks[i])
		}
	}
	if len(failed) == 0 {
		return controller.HSSCheck{Reason: controller.ReasonAnswers, Message: "HSS answers for project " + strings.Join(names, ", ")}
	}
	first, more := failed[0], ""
	if len(failed) > 1 {
		more = fmt.Sprintf(" (%d of %d projects fail)", len(failed), len(checks))
	}
	reasons := map[policy.Cause]string{
		policy.CauseOutage: controller.ReasonUnavailable, policy.CauseOverload: controller.ReasonOverloaded, policy.CauseConfiguration: controller.ReasonMisconfigured,
	}
	return controller.HSSCheck{Reason: reasons[first.Fault], Message: fmt.Sprintf("project %s: %s%s", first.Project, stableCause(first), more)}
}

// stableCause returns the cause without the ID of the request: with it, every check
// would write the status of every policy.
func stableCause(c *inventory.ProjectCheck) string {
	answer, ok := errors.AsType[*hss.Error](c.Err)
	if !ok || answer.RequestID == "" {
		return c.Cause
	}
	return strings.Replace(c.Cause, " (request "+answer.RequestID+")", "", 1)
}
