// Package audit evaluates the pods that already run, again and again, by the gate
// that decided about them when they were created. It finds images that turned bad
// since, and shows what a policy would deny before it does.
//
// Only the leader audits. It reads the cluster namespace by namespace and page by
// page, and looks images up at HSS with less priority than admissions. The results
// are in the status of each policy, in one Event for each workload and policy, in
// one report for each namespace, and in metrics. All of them are bounded.
package audit

import (
	"context"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/grace"
	"github.com/hssgate/hssgate/internal/image"
)

// Trigger is a reason to audit ahead of time.
type Trigger struct {
	// Name says in a word what changes, such as "policies".
	Name string
	// Value returns a comparable value that differs once it has changed.
	Value func() any
	// Prompt says that somebody waits for the result, as after a change of a policy.
	Prompt bool
}

// Options are those of an Auditor. ExemptNamespaces, Triggers and Ready are optional.
type Options struct {
	// Decide evaluates a pod, and returns by the time that ctx ends.
	Decide func(ctx context.Context, r gate.Request) gate.Decision
	// Live reads from the API server, page by page, without a cache.
	Live client.Reader
	// Client writes, and reads the policies.
	Client client.Client
	// ExemptNamespaces are left out, as the gate leaves them out.
	ExemptNamespaces []string
	// Interval is the time from the start of one audit to that of the next, if
	// nothing triggers one before.
	Interval time.Duration
	Reports  Reports
	Triggers []Trigger
	// Ready returns why no audit can be made yet, or nil.
	Ready   func() error
	Metrics *Metrics
	Clock   clock.WithTicker
	Log     *slog.Logger
}

// Auditor audits the pods of a cluster. It is a manager.Runnable of the leader.
type Auditor struct {
	Options
	owners *image.Owners
	graces grace.Graces
	events *events
}

// New returns an Auditor that has not audited yet.
func New(o Options) *Auditor {
	owners := image.NewOwners(func(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (metav1.Object, error) {
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(kind)
		return object, o.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
	})
	return &Auditor{Options: o, owners: owners, graces: grace.Graces{Client: o.Client, Log: o.Log}, events: newEvents()}
}

// How often audits are made.
const (
	// triggerPoll is how often triggers are compared.
	triggerPoll = time.Second
	// debounce is the wait after a change, so that one audit serves the changes
	// that are made together.
	debounce = 3 * time.Second
	// share: audits take at most a fifth of the time. A change that is not prompt
	// waits for a fifth of the interval, at most maxPause, as well.
	share    = 5
	minPause = 2 * time.Second
	maxPause = 5 * time.Minute
	// retryAfter is when an audit that failed is made again.
	retryAfter = time.Minute
)

// Start audits until ctx ends, which is no error.
func (a *Auditor) Start(ctx context.Context) error {
	defer a.Metrics.last.Store(nil)
	go a.events.write(ctx, a.Client, a.Log)
	ticker := a.Clock.NewTicker(triggerPoll)
	defer ticker.Stop()
	for a.Ready != nil && a.Ready() != nil {
		if !tick(ctx, ticker) {
			return nil
		}
	}
	for why := "start"; why != ""; {
		seen, began := a.values(), a.Clock.Now()
		err := a.Audit(ctx, why)
		why = a.await(ctx, ticker, seen, began, err)
	}
	return nil
}

// tick waits for the next tick, and reports whether ctx has not ended.
func tick(ctx context.Context, ticker clock.Ticker) bool {
	select {
	case <-ctx.Done():
		return false
	case <-ticker.C():
		return true
	}
}

// await waits until the next audit is due, and returns why it is; empty: ctx has
// ended. err is that of the last audit.
func (a *Auditor) await(ctx context.Context, ticker clock.Ticker, seen []any, began time.Time, err error) string {
	now := a.Clock.Now()
	earliest := now.Add(max(minPause, (share-1)*now.Sub(began)))
	due, why := began.Add(a.Interval), "schedule"
	if retry := now.Add(retryAfter); err != nil && retry.Before(due) {
		due, why = retry, "retry"
	}
	patient := began.Add(min(a.Interval/share, maxPause))
	var changedAt time.Time
	for tick(ctx, ticker) {
		now := a.Clock.Now()
		name, prompt := a.changed(seen)
		if name != "" && changedAt.IsZero() {
			changedAt = now
		}
		switch {
		case now.Before(earliest):
		case !now.Before(due):
			return why
		case name != "" && now.Sub(changedAt) >= debounce && (prompt || !now.Before(patient)):
			return name
		}
	}
	return ""
}

func (a *Auditor) values() []any {
	values := make([]any, len(a.Triggers))
	for i, t := range a.Triggers {
		values[i] = t.Value()
	}
	return values
}

// changed returns the name of a trigger whose value differs from the one seen, a
// prompt one if there is any.
func (a *Auditor) changed(seen []any) (name string, prompt bool) {
	for i, value := range a.values() {
		if value != seen[i] && (name == "" || a.Triggers[i].Prompt) {
			name, prompt = a.Triggers[i].Name, prompt || a.Triggers[i].Prompt
		}
	}
	return name, prompt
}
