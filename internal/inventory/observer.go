package inventory

import (
	"context"
	"time"

	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
)

// Outcome is how a look-up was answered.
type Outcome string

// The outcomes.
const (
	// Hit means from the cache, fresh.
	Hit Outcome = "hit"
	// Miss means that HSS answered.
	Miss Outcome = "miss"
	// Stale means that there was no answer from HSS in time, and an older result was used.
	Stale Outcome = "stale"
	// Unavailable means that there was no answer from HSS and no recent result.
	Unavailable Outcome = "unavailable"
	// Unclaimed means that no configured registry claims the image.
	Unclaimed Outcome = "unclaimed"
)

// Observer counts what happens. Its methods are called concurrently and must neither block nor call the inventory.
type Observer interface {
	// Looked is called for each call of Facts, and for each of Known that returned something. The registry is empty if none claims the image.
	Looked(registry string, outcome Outcome)
	// Asked is called for each look-up of one image at HSS, with all its pages. ctx has its trace.
	Asked(ctx context.Context, project string, took time.Duration, err error)
	// Listed is called for each scan of which details are needed.
	Listed(project string, kind policy.Detail, outcome Outcome)
	// AskedVulnerabilities is called for each list of vulnerabilities read from HSS, with all pages. ctx has its trace.
	AskedVulnerabilities(ctx context.Context, project string, took time.Duration, err error)
	// Synced is called when a whole project was listed, or what changed in it, with how many rows HSS sent, and why the list is not complete.
	Synced(project string, full bool, rows int, err error)
	// ScansNotCounted is called when HSS's counts of scans can no longer be read.
	ScansNotCounted(project string, err error)
}

type noObserver struct{}

func (noObserver) Looked(string, Outcome)                                             {}
func (noObserver) Asked(context.Context, string, time.Duration, error)                {}
func (noObserver) Listed(string, policy.Detail, Outcome)                              {}
func (noObserver) AskedVulnerabilities(context.Context, string, time.Duration, error) {}
func (noObserver) Synced(string, bool, int, error)                                    {}
func (noObserver) ScansNotCounted(string, error)                                      {}

// Stats are the sizes and states of an inventory at one moment.
type Stats struct {
	// Images is about how many images are cached, and Bytes how much memory they take; NotFound is about how many more
	// HSS does not know, or failed to look up.
	Images, NotFound int
	Bytes            uint64
	// ListBytes is about how much memory the cached details take.
	ListBytes uint64
	// Projects are the projects, in the order of the configuration.
	Projects []ProjectStats
}

// ProjectStats are those of one project.
type ProjectStats struct {
	lookup.Stats

	// SyncedUntil is up to when all changes are known; zero if the project is not synchronised, or not yet.
	SyncedUntil time.Time
}

// Stats returns the current figures.
func (i *Inventory) Stats() Stats {
	var s Stats
	s.Images, s.NotFound, s.Bytes = i.records.Sizes()
	_, _, lists := i.lists.Sizes()
	_, _, details := i.details.Sizes()
	s.ListBytes = lists + details
	for _, p := range i.projects {
		one := ProjectStats{Stats: p.calls.Stats()}
		if c := p.coverage.Load(); c != nil {
			one.SyncedUntil = c.until
		}
		s.Projects = append(s.Projects, one)
	}
	return s
}
