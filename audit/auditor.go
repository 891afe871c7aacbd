package audit

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/gate"
)

// Decider makes decisions: a gate that asks HSS in the background.
type Decider interface {
	// Decide returns by the time that ctx ends.
	Decide(ctx context.Context, r gate.Request) gate.Decision
}

// Trigger is a reason to audit ahead of time.
type Trigger struct {
	// Name says in a word what changes, such as "policies".
	Name string
	// Value returns a comparable value that differs once it has changed.
	Value func() any
}

// Auditor audits the pods of a cluster. Reports, Triggers, Ready, Metrics and
// ExemptNamespaces may be left out. It is a manager.Runnable of the elected
// replica.
type Auditor struct {
	Decider Decider
	// Live reads from the API server, page by page: nothing that it reads is
	// to be kept.
	Live client.Reader
	// Client writes, and reads the policies.
	Client client.Client
	// ExemptNamespaces are left out, as the gate leaves them out.
	ExemptNamespaces []string
	// Interval is the time from the start of one audit to that of the next, if
	// nothing triggers one before.
	Interval time.Duration
	// Events says whether Events are written.
	Events   bool
	Reports  Reports
	Triggers []Trigger
	// Ready returns why no audit can be made yet, or nil.
	Ready   func() error
	Metrics *Metrics
	Clock   clock.WithTicker
	Log     *slog.Logger

	owners owners
	events events
}

// What is done how often.
const (
	// look is how often triggers are looked at.
	look = time.Second
	// An audit that was triggered begins no sooner after the last one than a
	// fifth of the interval, within these bounds, and than four times what the
	// last one took: changes may come without end.
	minPause = 2 * time.Second
	maxPause = 5 * time.Minute
	// retryAfter is when an audit that failed is made again.
	retryAfter = time.Minute
)

// Why an audit is made, besides the names of triggers.
const (
	whyStart    = "start"
	whySchedule = "schedule"
	whyRetry    = "retry"
)

// Start audits until ctx ends, which is no error.
func (a *Auditor) Start(ctx context.Context) error {
	defer a.Metrics.forget()
	ticker := a.Clock.NewTicker(look)
	defer ticker.Stop()
	if !a.awaitReady(ctx, ticker) {
		return nil
	}
	for why := whyStart; why != ""; {
		seen, began := a.values(), a.Clock.Now()
		_, err := a.Audit(ctx, why)
		why = a.await(ctx, ticker, seen, a.next(began, err))
	}
	return nil
}

func (a *Auditor) awaitReady(ctx context.Context, ticker clock.Ticker) bool {
	for a.Ready != nil && a.Ready() != nil {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C():
		}
	}
	return true
}

// due is when the next audit is, and why.
type due struct {
	at, earliest time.Time
	why          string
}

func (a *Auditor) next(began time.Time, err error) due {
	now := a.Clock.Now()
	pause := max(min(max(minPause, a.Interval/5), maxPause), 4*now.Sub(began))
	d := due{at: began.Add(a.Interval), earliest: now.Add(pause), why: whySchedule}
	if retry := now.Add(retryAfter); err != nil && retry.Before(d.at) {
		d.at, d.why = retry, whyRetry
	}
	if d.at.Before(d.earliest) {
		d.at = d.earliest
	}
	return d
}

// await waits for the next audit and returns why it is due; "": ctx ended.
func (a *Auditor) await(ctx context.Context, ticker clock.Ticker, seen []any, d due) string {
	for {
		select {
		case <-ctx.Done():
			return ""
		case <-ticker.C():
		}
		now := a.Clock.Now()
		if !now.Before(d.at) {
			return d.why
		}
		if name := a.changed(seen); name != "" && !now.Before(d.earliest) {
			return name
		}
	}
}

func (a *Auditor) values() []any {
	values := make([]any, len(a.Triggers))
	for i, t := range a.Triggers {
		values[i] = t.Value()
	}
	return values
}

// changed returns the name of a trigger whose value differs from the one seen.
func (a *Auditor) changed(seen []any) string {
	for i, t := range a.Triggers {
		if t.Value() != seen[i] {
			return t.Name
		}
	}
	return ""
}
