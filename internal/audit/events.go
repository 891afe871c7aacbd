package audit

import (
	"context"
	"fmt"
	"hash/fnv"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Reasons of Events, all of which are warnings.
const (
	ReasonViolation  = "ImageViolation"  // pods of the object violate a policy
	ReasonGrace      = "ImageUnderGrace" // images of its pods are admitted until the end of a grace
	ReasonGraceEnds  = "ImageGraceEnds"  // the same a day before that end
	ReasonOtherImage = "RunsOtherImage"  // a node pulled another image than the one that HSS scanned under its tag
)

const (
	graceWarning    = 24 * time.Hour // how long before its end a grace is warned of
	maxNote         = 1024           // the limit of events.k8s.io for the text of an Event, in bytes
	maxEventsOfOne  = 50             // of one namespace; maxQueued wait to be written
	maxQueued       = 2000
	eventsPerSecond = 20
	// eventRenewal is how often an Event is written that has not changed: the API server
	// keeps it for an hour. maxWritten limits what is remembered of those written.
	eventRenewal = 30 * time.Minute
	maxWritten   = 50000
)

// queueEvents queues one Event for each workload and policy that it violates, and one for each workload that runs other
// images than HSS scanned. An Event that finds no room in the queue is left to the next audit.
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
	for {
		select {
		case <-ctx.Done():
			return
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

func (g *group) event(namespace string, now time.Time) *corev1ac.EventApplyConfiguration {
	format := "%d pods violate policy %s (%s): %s"
	if g.violations == 1 {
		format = "%d pod violates policy %s (%s): %s"
	}
	note := g.Sprintf(format, g.violations, g.policy, g.Text(string(g.effect)), g.advice())
	return g.newEvent(namespace, now, g.policy, g.reason(now), note)
}

// newEvent returns an Event in one line, named after the owner and what it is about: every leader writes the same one.
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

type otherImage struct {
	line     line
	policies []string
}

// otherImages returns the images of a pod that HSS did not scan under their tags. One whose digest is unknown is none.
func otherImages(pod *corev1.Pod, d *gate.Decision) (others []otherImage) {
	for _, s := range d.Scanned {
		running := image.Running(pod, s.Use)
		ran := func(scanned policy.Digests) bool { return scanned.Has(running.Digest) }
		if !running.Pulled || !image.IsDigest(running.Digest) || slices.ContainsFunc(s.Digests, ran) {
			continue
		}
		var scanned []string
		for _, one := range s.Digests {
			if !slices.Contains(scanned, one.Image) {
				scanned = append(scanned, one.Image)
			}
		}
		text := d.Language.Sprintf("%s %q: %s runs as %s, and HSS scanned %s",
			d.Language.Text(string(s.Use.Place)), s.Use.Name, s.Reference, running.Digest, strings.Join(scanned, d.Language.Text(", ")))
		others = append(others, otherImage{line{text: cut(text, maxLine), image: s.Reference}, s.Policies})
	}
	return others
}

// addOthers counts a pod for each policy that evaluates such an image of it.
func (f *findings) addOthers(o image.Owner, d *gate.Decision, others []otherImage) {
	if len(others) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var policies []string
	for _, one := range others {
		policies = append(policies, one.policies...)
	}
	slices.Sort(policies)
	for _, name := range slices.Compact(policies) {
		f.of(name).OtherImages++
	}
	g := f.moved[o]
	switch {
	case g == nil && len(f.moved) >= maxGroups:
		return
	case g == nil:
		g = &group{groupKey: groupKey{owner: o}, Language: d.Language}
		f.moved[o] = g
	}
	g.violations++
	for _, one := range others {
		g.addLine(one.line)
	}
}

// otherEvent returns the Event of a workload whose pods run other images.
func (g *group) otherEvent(namespace string, now time.Time) *corev1ac.EventApplyConfiguration {
	format := "%d pods run an image that is not the one HSS scanned under its tag: %s"
	if g.violations == 1 {
		format = "%d pod runs an image that is not the one HSS scanned under its tag: %s"
	}
	toDo := g.Text("have HSS synchronise the registry and scan the tag, and name or pin the image by its digest")
	note := g.Sprintf(format, g.violations, g.message()+"\n"+g.Sprintf("to do: %s", toDo))
	return g.newEvent(namespace, now, ReasonOtherImage, ReasonOtherImage, note)
}
