package audit

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
	// ReasonResolved replaces the others once no pod violates the policy.
	ReasonResolved = "ImageViolationResolved"
)

const (
	// graceWarning is how long before its end a grace is warned of.
	graceWarning = 24 * time.Hour
	// maxNote is the limit of events.k8s.io for the text of an Event, in bytes.
	maxNote = 1024
	// maxEvents limits the Events that stand at one time, maxEventsOfOne those of one
	// namespace in one audit, maxQueued those that wait to be written.
	maxEvents      = 10000
	maxEventsOfOne = 50
	maxQueued      = 2000
	// eventsPerSecond limits how fast Events are written.
	eventsPerSecond = 20
	// refreshEvents is when an unchanged Event is written again: the API server
	// deletes it an hour after it was last written.
	refreshEvents = 40 * time.Minute
)

// events decides which Events are due and queues them, so that no audit waits for
// them. If the queue is full, or an Event cannot be written, the next audit tries
// again: the status of policies has the same content.
type events struct {
	queue chan *corev1ac.EventApplyConfiguration

	// now is when the audit of this number began.
	now   time.Time
	audit int
	mu    sync.Mutex
	// standing holds the Events that were written, by namespace and name.
	standing map[types.NamespacedName]*standingEvent
}

// standingEvent is an Event that stands: when it was first and last written, and
// the last audit that found the violation.
type standingEvent struct {
	groupKey
	text           string
	first, written time.Time
	audit          int
}

func newEvents() *events {
	return &events{queue: make(chan *corev1ac.EventApplyConfiguration, maxQueued), standing: map[types.NamespacedName]*standingEvent{}}
}

// report queues one Event for each workload and policy that it violates, unless an
// Event with the same text stands.
func (e *events) report(f *findings) {
	e.mu.Lock()
	defer e.mu.Unlock()
	budget := maxEventsOfOne
	for _, g := range f.sorted() {
		key := eventName(f.namespace, g.groupKey)
		s, stands := e.standing[key]
		if stands {
			s.audit = e.audit // also if it is unknown whether the pods still violate the policy
		}
		reason, message := g.reason(e.now), g.message()
		text := reason + ": " + message
		switch {
		case g.violations == 0 || budget == 0:
			continue
		case stands && s.text == text && e.now.Sub(s.written) < refreshEvents:
			continue
		case !stands && len(e.standing) >= maxEvents:
			continue
		case !stands:
			s = &standingEvent{groupKey: g.groupKey, first: e.now, audit: e.audit}
		}
		event := newEvent(key, s, e.now).WithType(corev1.EventTypeWarning).WithReason(reason).WithMessage(cut(
			fmt.Sprintf("%s policy %s (%s): %s", podsViolate(g.violations), g.policy, g.effect, strings.ReplaceAll(message, "\n", " | ")), maxNote))
		if e.enqueue(event) {
			s.text, s.written = text, e.now
			e.standing[key] = s
			budget--
		}
	}
}

// resolve queues an Event for each violation that was not found again.
func (e *events) resolve() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, s := range e.standing {
		if s.audit == e.audit {
			continue
		}
		event := newEvent(key, s, e.now).WithType(corev1.EventTypeNormal).WithReason(ReasonResolved).
			WithMessage(fmt.Sprintf("none of its pods violates policy %s any more", s.policy))
		if e.enqueue(event) {
			delete(e.standing, key)
		}
	}
}

func (e *events) enqueue(event *corev1ac.EventApplyConfiguration) bool {
	select {
	case e.queue <- event:
		return true
	default:
		return false
	}
}

// write writes the queued Events until ctx ends.
func (e *events) write(ctx context.Context, to client.Client, log *slog.Logger) {
	limiter := rate.NewLimiter(eventsPerSecond, maxEventsOfOne)
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-e.queue:
			if limiter.Wait(ctx) != nil {
				return
			}
			e.writeOne(ctx, to, log, next)
		}
	}
}

func (e *events) writeOne(ctx context.Context, to client.Client, log *slog.Logger, event *corev1ac.EventApplyConfiguration) {
	err := to.Apply(ctx, event, client.FieldOwner(reporter), client.ForceOwnership)
	if err == nil {
		return
	}
	log.Debug("an Event was not written", "namespace", *event.Namespace, "kind", *event.InvolvedObject.Kind, "name", *event.InvolvedObject.Name, "error", err)
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.standing, types.NamespacedName{Namespace: *event.Namespace, Name: *event.Name})
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

func podsViolate(n int) string {
	if n == 1 {
		return "1 pod violates"
	}
	return fmt.Sprintf("%d pods violate", n)
}

// eventName returns the name of an Event, which follows from its object and the
// policy: every leader writes the same one.
func eventName(namespace string, of groupKey) types.NamespacedName {
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%s/%s", of.owner.UID, of.policy)
	return types.NamespacedName{Namespace: namespace, Name: fmt.Sprintf("%.200s.hssgate-%016x", of.owner.Name, hash.Sum64())}
}

func newEvent(key types.NamespacedName, s *standingEvent, now time.Time) *corev1ac.EventApplyConfiguration {
	return corev1ac.Event(key.Name, key.Namespace).
		WithInvolvedObject(corev1ac.ObjectReference().
			WithAPIVersion(s.owner.APIVersion).WithKind(s.owner.Kind).WithNamespace(key.Namespace).WithName(s.owner.Name).WithUID(s.owner.UID)).
		WithSource(corev1ac.EventSource().WithComponent(reporter)).WithReportingController(reporter).
		WithFirstTimestamp(metav1.NewTime(s.first)).WithLastTimestamp(metav1.NewTime(now)).WithCount(1)
}
