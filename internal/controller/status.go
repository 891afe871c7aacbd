package controller

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// writeStatus writes the status of an object if it differs from that before, and
// reports whether it did.
func writeStatus(ctx context.Context, c client.Client, before, o client.Object) (written bool, err error) {
	patch := client.MergeFrom(before)
	if data, err := patch.Data(o); err != nil || string(data) == "{}" {
		return false, err
	}
	err = client.IgnoreNotFound(c.Status().Patch(ctx, o, patch))
	if err != nil && ctx.Err() == nil { // what a stopping leader does not write, the next one does
		return false, fmt.Errorf("write status of %T %q: %w", o, client.ObjectKeyFromObject(before), err)
	}
	return err == nil, nil
}

// maxConditionMessage is the schema's limit of a condition's message.
const maxConditionMessage = 32768

func newCondition(kind string, status bool, reason, message string) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message[:min(len(message), maxConditionMessage)]}
	if status {
		c.Status = metav1.ConditionTrue
	}
	return c
}

// conditions are those of an object's generation.
type conditions struct {
	all        *[]metav1.Condition
	generation int64
}

func (s conditions) set(c metav1.Condition) {
	c.ObservedGeneration = s.generation
	meta.SetStatusCondition(s.all, c)
}

// setEffective sets the condition Effective to False with a reason, or removes it
// without one.
func (s conditions) setEffective(reason, message string) {
	if reason == "" {
		meta.RemoveStatusCondition(s.all, v1alpha1.ConditionEffective)
		return
	}
	s.set(newCondition(v1alpha1.ConditionEffective, false, reason, message))
}
