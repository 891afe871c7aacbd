package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// EventBreakGlass is the reason of the Event that tells of an object which was
// admitted by break-glass.
const EventBreakGlass = "BreakGlass"

// maxNote bounds the text of an Event, as events.k8s.io does.
const maxNote = 1024

// Rights asks the API server who may do what, by SubjectAccessReviews.
type Rights struct {
	Client client.Writer
}

var _ gate.Rights = Rights{}

// MayBreakGlass asks whether the user may break the glass of a policy. The right
// is one in the whole cluster, as policies are.
func (r Rights) MayBreakGlass(ctx context.Context, user gate.User, policy string) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Name, UID: user.UID, Groups: user.Groups, Extra: extraOf(user),
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: "imagescanpolicies",
			Verb: v1alpha1.BreakGlassVerb, Name: policy,
		},
	}}
	if err := r.Client.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask for the right to break the glass: %w", err)
	}
	switch status := review.Status; {
	case status.Allowed && !status.Denied:
		return true, nil
	case status.EvaluationError != "":
		return false, errors.New(status.EvaluationError)
	}
	return false, nil
}

func extraOf(user gate.User) map[string]authorizationv1.ExtraValue {
	if len(user.Extra) == 0 {
		return nil
	}
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for key, values := range user.Extra {
		extra[key] = values
	}
	return extra
}

// BreakGlassEvents tells of broken glass by Events on what was admitted, or on
// its namespace if that has no name.
type BreakGlassEvents struct {
	Events events.EventRecorder
}

// BrokeGlass writes an Event, in its own time.
func (b BreakGlassEvents) BrokeGlass(kind schema.GroupVersionKind, name types.NamespacedName, uid types.UID, broken gate.BreakGlass) {
	object := &corev1.ObjectReference{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind, Namespace: name.Namespace, Name: name.Name, UID: uid}
	if name.Name == "" {
		object = &corev1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Namespace: name.Namespace, Name: name.Namespace}
	}
	note := fmt.Sprintf("user %q broke the glass past policies %s: %s", broken.User, strings.Join(broken.Policies, ", "), broken.Reason)
	if len(note) > maxNote {
		note = strings.ToValidUTF8(note[:maxNote], "")
	}
	b.Events.Eventf(object, nil, corev1.EventTypeWarning, EventBreakGlass, "Admit", "%s", note)
}
