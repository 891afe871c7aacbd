package audit

import "context"

// WriteEvents writes the Events that are queued.
func (a *Auditor) WriteEvents(ctx context.Context) {
	for len(a.events) > 0 {
		a.writeEvent(ctx, <-a.events)
	}
}
