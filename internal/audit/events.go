package audit

import (
	"context"
	"fmt"
	"hash/fnv"
	"hash/maphash"
	"strings"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Reasons of Events.
const (
	// ReasonViolation is of a warning: pods of the object violate a policy.
	ReasonViolation = "ImageViolation"
	// ReasonGrace is of a warning about pods whose images are admitted until the end
	// of a grace; ReasonGraceEnds replaces it a day before that end.
	ReasonGrace     = "ImageUnderGrace"
	ReasonGraceEnds = "ImageGraceEnds"
)

const (
	// graceWarning is how long before its end a grace is warned of.
	graceWarning = 24 * time.Hour
	// maxNote is the limit of events.k8s.io for the text of an Event, in bytes.
	maxNote = 1024
	// maxEventsOfOne limits the Events of one namespace, maxQueued those that wait to
	// be written.
	maxEventsOfOne = 50
	maxQueued      = 2000
	// eventsPerSecond limits how fast Events are written.
	eventsPerSecond = 20
	// eventRenewal is how often an Event is written that has not changed: the API server
	// keeps it for an hour. maxWritten limits what is remembered of those written.
	eventRenewal = 30 * time.Minute
	maxWritten   = 50000
)

// queueEvents queues one Event for each workload and policy that it violates, and one
// for each workload that runs other images than HSS scanned. An Event that finds no
// room in the queue is left to the next audit.
func (a *Auditor) queueEvents(f *findings) {
	var events []*corev1ac.EventApplyConfiguration
	for _, g := range sorted(f.groups) {
		if g.violations > 0 {
			events = append(events, g.event(f.namespace, a.Clock.Now()))
		}
	}
	for _, g := range sorted(f.moved) {
		events = append(events, g.otherEvent(f.namespace, a.Clock.Now()))
	}
	for _, e := range events[:min(len(events), maxEventsOfOne)] {
		select {
		case a.events <- e:
		default:
		}
	}
}

// writeEvents writes the queued Events until ctx ends, so that no audit waits for them.
func (a *Auditor) writeEvents(ctx context.Context) {
	limiter := rate.NewLimiter(eventsPerSecond, maxEventsOfOne)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case next := <-a.events:
			a.writeEvent(ctx, next, limiter)
		}
	}
}

// writeEvent writes an Event that is new or changed, and once in each period of eventRenewal,
// which begins at another time for each. The API server deletes it an hour later.
func (a *Auditor) writeEvent(ctx context.Context, e *corev1ac.EventApplyConfiguration, limiter *rate.Limiter) {
	type text struct {
		reason, message string
		period          time.Time
	}
	name := *e.Namespace + "/" + *e.Name
	shift := time.Duration(maphash.String(a.seed, name) % uint64(eventRenewal))
	hash := maphash.Comparable(a.seed, text{*e.Reason, *e.Message, e.LastTimestamp.UTC().Add(shift).Truncate(eventRenewal)})
	if a.written[name] == hash || limiter.Wait(ctx) != nil {
		return
	}
	if err := a.Client.Apply(ctx, e, client.FieldOwner(reporter), client.ForceOwnership); err != nil {
		a.Log.Debug("an Event was not written", "namespace", *e.Namespace, "kind", *e.InvolvedObject.Kind, "name", *e.InvolvedObject.Name, "error", err)
		return
	}
	if len(a.written) >= maxWritten {
		clear(a.written)
	}
	a.written[name] = hash
}

// event returns the Event of the group.
func (g *group) event(namespace string, now time.Time) *corev1ac.EventApplyConfiguration {
	format := "%d pods violate policy %s (%s): %s"
	if g.violations == 1 {
		format = "%d pod violates policy %s (%s): %s"
	}
	note := g.Sprintf(format, g.violations, g.policy, g.Text(string(g.effect)), g.advice())
	return g.newEvent(namespace, now, g.policy, g.reason(now), note)
}

// newEvent returns an Event of the owner in one line. Its name follows from the owner
// and what it is about: every leader writes the same one.
func (g *group) newEvent(namespace string, now time.Time, about, reason, note string) *corev1ac.EventApplyConfiguration {
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%s/%s", g.owner.UID, about)
	note = strings.ReplaceAll(note, "\n", " | ")
	return corev1ac.Event(fmt.Sprintf("%.200s.hssgate-%016x", g.owner.Name, hash.Sum64()), namespace).
		WithType(corev1.EventTypeWarning).WithReason(reason).WithMessage(cut(note, maxNote)).
		WithInvolvedObject(corev1ac.ObjectReference().
			WithAPIVersion(g.owner.APIVersion).WithKind(g.owner.Kind).WithNamespace(namespace).WithName(g.owner.Name).WithUID(g.owner.UID)).
		WithSource(corev1ac.EventSource().WithComponent(reporter)).WithReportingController(reporter).
		WithFirstTimestamp(metav1.NewTime(now)).WithLastTimestamp(metav1.NewTime(now)).WithCount(1)
}

// reason is that of the group's Event at a time.
func (g *group) reason(now time.Time) string {
	switch {
	case g.until.IsZero() || g.effect == v1alpha1.EnforcementDeny:
		return ReasonViolation
	case now.Before(g.until.Add(-graceWarning)):
		return ReasonGrace
	}
	return ReasonGraceEnds
}
