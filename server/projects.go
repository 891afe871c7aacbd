package server

import (
	"context"
	"errors"
	"log/slog"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
)

// checkProjects makes one call to the HSS of every project and logs what comes
// of it: a mistake in the credentials or the project would otherwise show only
// with the first pod that needs HSS.
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
