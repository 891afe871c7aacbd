package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/hssgate/hssgate/inventory"
)

// credentialsTime bounds the search for a project's credentials at the start.
const credentialsTime = 10 * time.Second

// checkCredentials warns of projects that can't be asked for want of
// credentials. It would show anyway, but only with the first pod that needs
// them. They may come later, and that they are there doesn't say that HSS accepts
// them.
func checkCredentials(ctx context.Context, clients map[string]inventory.Lister, log *slog.Logger) {
	for name, client := range clients {
		one, ok := client.(interface {
			CheckCredentials(ctx context.Context) error
		})
		if !ok {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, credentialsTime)
		err := one.CheckCredentials(limited)
		cancel()
		if err != nil && ctx.Err() == nil {
			log.Warn("HSS can't be asked", "project", name, "error", err)
		}
	}
}
