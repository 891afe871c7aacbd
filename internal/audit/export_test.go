package audit

import "context"

// WriteEvents writes the Events that are queued.
func (a *Auditor) WriteEvents(ctx context.Context) {
	for len(a.events.queue) > 0 {
		a.events.writeOne(ctx, a.Client, a.Log, <-a.events.queue)
	}
}
