package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/inventory"
)

// probeHSS makes one signed call for every project of the configuration and
// prints what HSS answers. What may pass by itself is tried again until the
// timeout: the network of a new pod is not always there at once.
func (f *probeFlags) probeHSS(ctx context.Context, out io.Writer) error {
	c, err := config.Load(f.configFile)
	if err != nil {
		return usageError{err}
	}
	clients, err := inventory.NewClients(c, userAgent())
	if err != nil {
		return usageError{err}
	}
	known, err := inventory.New(inventory.Options{Config: c, Clients: clients})
	if err != nil {
		return usageError{err}
	}
	defer known.Close()
	return printChecks(out, checkUntil(ctx, known.Check))
}

// checkUntil checks the projects again until no failure is temporary or ctx
// ends.
func checkUntil(ctx context.Context, check func(context.Context) []inventory.ProjectCheck) []inventory.ProjectCheck {
	checks := check(ctx)
	for slices.ContainsFunc(checks, func(c inventory.ProjectCheck) bool { return c.Temporary }) {
		select {
		case <-ctx.Done():
			return checks
		case <-time.After(probePause):
		}
		// A check that ran out of time says less than the one before it.
		if next := check(ctx); ctx.Err() == nil {
			checks = next
		}
	}
	return checks
}

// printChecks prints a line for each project. It fails if HSS cannot be used for
// one of them.
func printChecks(w io.Writer, checks []inventory.ProjectCheck) error {
	failed := 0
	for _, c := range checks {
		result := c.Cause
		switch {
		case c.Err != nil:
			failed++
		case c.Images < 0:
			result = "HSS answers"
		default:
			result = fmt.Sprintf("HSS answers, images: %d", c.Images)
		}
		_, err := fmt.Fprintf(w, "project %s (region %s, project ID %s): %s\n", c.Project, cmp.Or(c.Region, "not given"), cmp.Or(c.ProjectID, "not known"), result)
		if err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("HSS cannot be used for %d of %d projects", failed, len(checks))
	}
	return nil
}
