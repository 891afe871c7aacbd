package audit

import (
	"context"

	"golang.org/x/time/rate"
)

// WriteEvents writes the Events that are queued.
func (a *Auditor) WriteEvents(ctx context.Context) {
	for len(a.events) > 0 {
		a.writeEvent(ctx, <-a.events, rate.NewLimiter(rate.Inf, 1))
	}
}

// QueuedEvents returns how many Events are queued.
func (a *Auditor) QueuedEvents() int { return len(a.events) }
