package controller_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hssgate/hssgate/controller"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestTheConditionFollowsHSS(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var result atomic.Pointer[controller.HSSCheck]
		result.Store(&controller.HSSCheck{Reason: controller.ReasonAnswers, Message: "HSS answers for project bj4"})
		hss := controller.NewHSS(func(context.Context) controller.HSSCheck { return *result.Load() }, clock.RealClock{})
		c := newClient(t, interceptor.Funcs{}, denying("p"))
		status := &controller.Status{Client: c, HSS: hss}
		written := func() string {
			if err := reconcile(t, status, "p"); err != nil {
				t.Fatal(err)
			}
			var p v1alpha1.ImageScanPolicy
			if err := c.Get(t.Context(), client.ObjectKey{Name: "p"}, &p); err != nil {
				t.Fatal(err)
			}
			got := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionHSSReachable)
			return string(got.Status) + " " + got.Reason + ": " + got.Message
		}
		got := []string{written()}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = hss.Start(ctx) }()
		synctest.Wait()
		got = append(got, written())
		result.Store(&controller.HSSCheck{Reason: controller.ReasonUnavailable, Message: "project bj4: HSS answered 503"})
		time.Sleep(31 * time.Second)
		got = append(got, written())
		cancel()
		// Another leader has not checked HSS yet.
		status.HSS = controller.NewHSS(nil, clock.RealClock{})
		got = append(got, written())
		want := []string{
			string(metav1.ConditionUnknown) + " NotChecked: HSS has not been called yet", "True Answers: HSS answers for project bj4",
			"False Unavailable: project bj4: HSS answered 503", "False Unavailable: project bj4: HSS answered 503",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
