package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Reasons of Events.
const (
	// ReasonViolation is of a warning: pods of the object violate a policy.
	ReasonViolation = "ImageViolation"
	// ReasonGrace is of one that tells of pods whose images have a grace, and are
	// admitted until it ends; ReasonGraceEnds says once that this is soon.
	ReasonGrace     = "ImageUnderGrace"
	ReasonGraceEnds = "ImageGraceEnds"
	// ReasonResolved takes its place once none does.
	ReasonResolved = "ImageViolationResolved"
)

// graceWarning is how long before its end a grace is warned of.
const graceWarning = 24 * time.Hour

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

// reporter is who says so.
const reporter = "hssgate"

// maxNote bounds the text of an Event, in bytes, as events.k8s.io does.
const maxNote = 1024

// writeEvents writes one Event for each workload and policy that is violated,
// unless it stands already. What goes wrong with one is no reason to fail: the
// same is in the status of the policy.
func (a *Auditor) writeEvents(ctx context.Context, f *findings) {
	if !a.Events {
		return
	}
	budget := maxEventsOfOne
	for _, g := range f.sorted() {
		key := eventKey{f.namespace, g.owner.uid, g.policy}
		if g.violations == 0 {
			a.events.hold(key)
			continue
		}
		write, isNew := a.events.see(key, g, budget > 0)
		if !write {
			continue
		}
		budget--
		err := a.pace(ctx)
		if err == nil {
			err = a.writeEvent(ctx, newEvent(key, g, a.Clock.Now()), isNew)
		}
		if err != nil {
			a.events.forget(key)
			a.Log.Debug("an Event was not written", "namespace", f.namespace, "kind", g.owner.kind, "name", g.owner.name, "error", err)
		}
	}
}

// resolveEvents says of what was violated before that it no longer is.
func (a *Auditor) resolveEvents(ctx context.Context) {
	for key, o := range a.events.resolved() {
		if a.pace(ctx) != nil {
			return
		}
		a.events.forget(key)
		event := eventOf(key, o, a.Clock.Now())
		event.Type, event.Reason = corev1.EventTypeNormal, ReasonResolved
		event.Message = fmt.Sprintf("none of its pods violates policy %s any more", key.policy)
		if err := a.patchEvent(ctx, event); client.IgnoreNotFound(err) != nil {
			a.Log.Debug("an Event was not resolved", "namespace", key.namespace, "kind", o.kind, "name", o.name, "error", err)
		}
	}
}

func newEvent(key eventKey, g *group, now time.Time) *corev1.Event {
	event := eventOf(key, g.owner, now)
	event.Type, event.Reason, event.FirstTimestamp, event.Count = corev1.EventTypeWarning, g.reason(now), event.LastTimestamp, 1
	event.Message = cut(fmt.Sprintf("%s policy %s (%s): %s", podsViolate(g.violations), key.policy, g.effect,
		strings.ReplaceAll(g.message(), "\n", " | ")), maxNote)
	return event
}

func podsViolate(n int) string {
	if n == 1 {
		return "1 pod violates"
	}
	return fmt.Sprintf("%d pods violate", n)
}

// eventOf names an Event after its object and the policy, so that another
// leader finds it, too.
func eventOf(key eventKey, o owner, now time.Time) *corev1.Event {
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%s/%s", key.owner, key.policy)
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.namespace, Name: fmt.Sprintf("%.200s.hssgate-%016x", o.name, hash.Sum64())},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: o.apiVersion, Kind: o.kind, Namespace: key.namespace, Name: o.name, UID: o.uid,
		},
		Source: corev1.EventSource{Component: reporter}, ReportingController: reporter,
		LastTimestamp: metav1.NewTime(now),
	}
}

// writeEvent creates the Event or brings it up to date, whichever is likelier
// first.
func (a *Auditor) writeEvent(ctx context.Context, event *corev1.Event, isNew bool) error {
	if !isNew {
		err := a.patchEvent(ctx, event)
		if !apierrors.IsNotFound(err) {
			return err
		}
	}
	err := a.Client.Create(ctx, event.DeepCopy())
	if apierrors.IsAlreadyExists(err) {
		return a.patchEvent(ctx, event)
	}
	return err
}

func (a *Auditor) patchEvent(ctx context.Context, event *corev1.Event) error {
	patch, err := json.Marshal(map[string]any{
		"type": event.Type, "reason": event.Reason, "message": event.Message, "lastTimestamp": event.LastTimestamp,
	})
	if err != nil {
		return fmt.Errorf("encode the Event: %w", err)
	}
	return a.Client.Patch(ctx, event.DeepCopy(), client.RawPatch(types.MergePatchType, patch))
}
