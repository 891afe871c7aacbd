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
	object := func(uid types.UID, generation int64, label string) *v1alpha1.ImageScanPolicy {
		return &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{UID: uid, Generation: generation, Labels: map[string]string{"x": label}}}
	}
	for name, tt := range map[string]struct {
		after *v1alpha1.ImageScanPolicy
		want  bool
	}{
		"another spec":                      {object("a", 2, ""), true},
		"another object of the same name":   {object("b", 1, ""), true},
		"the same again":                    {object("a", 1, ""), false},
		"another label is not another spec": {object("a", 1, "y"), false},
	} {
		if got := specChanged(event.UpdateEvent{ObjectOld: object("a", 1, ""), ObjectNew: tt.after}); got != tt.want {
			t.Errorf("%s: got %t, want %t", name, got, tt.want)
		}
	}
}
