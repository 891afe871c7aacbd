package controller

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestWhichUpdatesAreChanges(t *testing.T) {
	t.Parallel()
	object := func(uid types.UID, generation int64, labels map[string]string) *v1alpha1.ImageScanPolicy {
		return &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: uid, Generation: generation, Labels: labels}}
	}
	tests := map[string]struct {
		before, after *v1alpha1.ImageScanPolicy
		want          bool
	}{
		"another spec":                               {object("a", 1, nil), object("a", 2, nil), true},
		"another object of the same name":            {object("a", 1, nil), object("b", 1, nil), true},
		"the same again":                             {object("a", 1, nil), object("a", 1, nil), false},
		"another label, or a status, is no new spec": {object("a", 1, nil), object("a", 1, map[string]string{"x": "y"}), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := changes().Update(event.UpdateEvent{ObjectOld: tt.before, ObjectNew: tt.after}); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
	if changes().Update(event.UpdateEvent{}) {
		t.Error("an update of nothing is a change")
	}
	if !changes().Create(event.CreateEvent{}) || !changes().Delete(event.DeleteEvent{}) {
		t.Error("creations and deletions are left out")
	}
}
