package audit

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/time/rate"
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
	// Prompt says that somebody waits for the result, as after a change of a
	// policy: a few such audits may follow one another at once.
	Prompt bool
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

// How often audits are made.
const (
	// look is how often triggers are looked at.
	look = time.Second
	// debounce is the wait after a change, so that one audit serves the changes
	// that are made together.
	debounce = 3 * time.Second
	// Triggered audits are limited by a token bucket: changes may come without
	// end. burst prompt ones may follow one another; others need a full bucket.
	// A token comes back after a fifth of the interval, within these bounds, and
	// after no less than five times what the last audit took.
	burst    = 3
	minPause = 2 * time.Second
	maxPause = 5 * time.Minute
	share    = 5
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
	bucket := rate.NewLimiter(0, burst)
	for why := whyStart; why != ""; {
		seen, began := a.values(), a.Clock.Now()
		bucket.AllowN(began, 1) // an audit for another reason counts as well
		_, err := a.Audit(ctx, why)
		why = a.await(ctx, ticker, seen, bucket, a.next(began, bucket, err))
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

// due is when the next audit is if nothing triggers one before, and why.
type due struct {
	at  time.Time
	why string
}

// next schedules the next audit, and sets how fast the bucket fills until then.
func (a *Auditor) next(began time.Time, bucket *rate.Limiter, err error) due {
	now := a.Clock.Now()
	took := now.Sub(began)
	bucket.SetLimitAt(now, rate.Every(max(min(max(minPause, a.Interval/share), maxPause), share*took)))
	d := due{at: began.Add(a.Interval), why: whySchedule}
	if retry := now.Add(retryAfter); err != nil && retry.Before(d.at) {
		d.at, d.why = retry, whyRetry
	}
	if earliest := now.Add(max(minPause, (share-1)*took)); d.at.Before(earliest) {
		d.at = earliest
	}
	return d
}

// await waits for the next audit and returns why it is due; "": ctx ended.
func (a *Auditor) await(ctx context.Context, ticker clock.Ticker, seen []any, bucket *rate.Limiter, d due) string {
	var changedAt time.Time
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
		name, tokens := a.changed(seen)
		if name == "" {
			continue
		}
		if changedAt.IsZero() {
			changedAt = now
		}
		// Start takes the token.
		if now.Sub(changedAt) >= debounce && bucket.TokensAt(now) >= tokens {
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

// changed returns the name of a trigger whose value differs from the one seen,
// a prompt one if there is any, and how many tokens must be left for it.
func (a *Auditor) changed(seen []any) (name string, tokens float64) {
	for i, t := range a.Triggers {
		switch {
		case t.Value() == seen[i]:
		case t.Prompt:
			return t.Name, 1
		default:
			name, tokens = t.Name, burst
		}
	}
	return name, tokens
}
