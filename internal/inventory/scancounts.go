package inventory

import (
	"context"
	"sync"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/policy"
)

// countEvery is how often HSS's counts of scans are read, and countAgain how soon again after a failure that may pass.
const (
	countEvery = time.Hour
	countAgain = 5 * time.Minute
)

// ScanCounts are what HSS counts of a project's scans of images, which are billed.
type ScanCounts struct {
	hss.ScanStatistics

	Project string
}

// scanCounter keeps the counts of a project.
type scanCounter struct {
	mu      sync.Mutex
	known   *hss.ScanStatistics // nil: not known
	next    time.Time
	reading bool
	failing bool
}

// ScanCounts returns the counts of the projects of which they are known. It never waits: those of more than an hour ago are
// read in the background.
func (i *Inventory) ScanCounts() (all []ScanCounts) {
	for _, p := range i.projects {
		if known := p.counts.get(p); known != nil {
			all = append(all, ScanCounts{*known, p.Name})
		}
	}
	return all
}

func (c *scanCounter) get(p *project) *hss.ScanStatistics {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.hss != nil && !c.reading && !p.inventory.clock.Now().Before(c.next) {
		c.reading = true
		go c.read(p)
	}
	return c.known
}

// read reads the counts within the background's share of calls. That they cannot be read is observed once.
func (c *scanCounter) read(p *project) {
	var counts hss.ScanStatistics
	_, err := p.calls.CallInBackground(nil, func(ctx context.Context) (err error) {
		counts, err = p.hss.ScanStatistics(ctx, hss.ScanStatisticsRequest{EnterpriseProjectID: p.EnterpriseProjectID})
		return err
	})
	if p.inventory.lookups.Context().Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	wasFailing, every := c.failing, countEvery
	c.reading, c.failing, c.known = false, err != nil, &counts
	if err != nil {
		c.known = nil
		if p.calls.Classify(err) != policy.CauseConfiguration {
			every = countAgain
		}
		if !wasFailing {
			p.inventory.observer.ScansNotCounted(p.Name, err)
		}
	}
	c.next = p.inventory.clock.Now().Add(p.inventory.jitter(every))
}
