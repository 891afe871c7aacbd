package inventory

import "time"

// Stats is what can be measured of an inventory at one moment.
type Stats struct {
	// Images is about how many images are remembered, NotFound how many that
	// HSS does not know.
	Images, NotFound int
	// Bytes is about how much memory the images take.
	Bytes uint64
	// Lists is about how many scans' vulnerabilities are remembered one by one,
	// ListBytes about how much memory they take.
	Lists     int
	ListBytes uint64
	// Projects are the projects, as they are configured.
	Projects []ProjectStats
}

// ProjectStats is what can be measured of one project.
type ProjectStats struct {
	// Name is the project's.
	Name string
	// Breaker says whether HSS is being asked.
	Breaker BreakerState
	// UnderWay is how many calls are being made, Waiting how many images
	// wait for their turn.
	UnderWay, Waiting int
	// LastSuccess is when HSS last answered; zero: never.
	LastSuccess time.Time
	// PausedUntil is until when HSS told us to wait; zero: it did not.
	PausedUntil time.Time
	// SyncedUntil is up to when all changes are known; zero if the project
	// isn't synchronised, or not yet.
	SyncedUntil time.Time
}

// Stats measures.
func (i *Inventory) Stats() Stats {
	s := Stats{
		Images: i.cache.images.EstimatedSize(), NotFound: i.cache.missing.EstimatedSize(),
		Bytes: i.cache.images.WeightedSize(),
		Lists: i.details.cache.EstimatedSize(), ListBytes: i.details.cache.WeightedSize(),
	}
	for _, p := range i.projects {
		s.Projects = append(s.Projects, p.stats())
	}
	return s
}

func (p *project) stats() ProjectStats {
	s := ProjectStats{Name: p.name, Breaker: p.breaker.current()}
	s.UnderWay, s.Waiting = p.turns.load()
	if at := p.lastSuccess.Load(); at != 0 {
		s.LastSuccess = time.Unix(0, at)
	}
	if f := p.paused.Load(); f != nil {
		s.PausedUntil = f.until
	}
	if p.syncer == nil {
		return s
	}
	if c := p.syncer.coverage.Load(); c != nil {
		s.SyncedUntil = time.Unix(0, c.until)
	}
	return s
}
