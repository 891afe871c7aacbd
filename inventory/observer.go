package inventory

import (
	"context"
	"time"
)

// Outcome is how a question for an image was answered.
type Outcome string

// The outcomes.
const (
	// Hit: from memory, fresh.
	Hit Outcome = "hit"
	// Miss: HSS was asked, or was being asked already.
	Miss Outcome = "miss"
	// Stale: HSS could not be asked, and what was known was used.
	Stale Outcome = "stale"
	// Unavailable: HSS could not be asked, and nothing recent was known.
	Unavailable Outcome = "unavailable"
	// Unclaimed: no configured registry claims the image.
	Unclaimed Outcome = "unclaimed"
)

// Observer is told what happens, to count it. Its methods are called
// concurrently and must not block. [Inventory.Stats] tells what can be
// measured at any time.
type Observer interface {
	// Looked tells of each call of Facts, and of each of Known that knew. The
	// registry is empty if none claims the image.
	Looked(registry string, outcome Outcome)
	// Asked tells of each look-up of one image at HSS, with all its pages, how
	// long it took and what went wrong, if anything. ctx has its trace.
	Asked(ctx context.Context, project string, took time.Duration, err error)
	// Listed tells of each scan whose vulnerabilities somebody wanted one by one.
	Listed(project string, outcome Outcome)
	// AskedVulnerabilities tells of each time that HSS was asked for those of one
	// scan, with all pages, how long it took and what went wrong, if anything. ctx
	// has its trace.
	AskedVulnerabilities(ctx context.Context, project string, took time.Duration, err error)
	// Credentials is called when HSS begins to refuse the credentials of a
	// project, with the cause and what to do, and when it accepts them again, with
	// an empty cause.
	Credentials(project, refused string)
	// Breaker tells of each change of a project's breaker.
	Breaker(project string, state BreakerState)
	// Synced tells of each synchronisation that ended.
	Synced(project string, s Synchronisation)
}

// Synchronisation is what came of asking for a whole project, or for what
// changed in it.
type Synchronisation struct {
	// Full says that everything was listed, not only what changed.
	Full bool
	// Rows is how many rows HSS sent.
	Rows int
	// Took is how long it took.
	Took time.Duration
	// Err is why it is not complete, or nil.
	Err error
}

type nobody struct{}

func (nobody) Looked(string, Outcome)                                             {}
func (nobody) Asked(context.Context, string, time.Duration, error)                {}
func (nobody) Listed(string, Outcome)                                             {}
func (nobody) AskedVulnerabilities(context.Context, string, time.Duration, error) {}
func (nobody) Credentials(string, string)                                         {}
func (nobody) Breaker(string, BreakerState)                                       {}
func (nobody) Synced(string, Synchronisation)                                     {}
