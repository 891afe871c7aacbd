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

	"github.com/hssgate/hssgate/internal/controller"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestTheConditionFollowsHSS(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var result atomic.Pointer[controller.HSSCheck]
		result.Store(&controller.HSSCheck{Reason: controller.ReasonAnswers, Message: "HSS answers for project bj4"})
		hss := controller.NewHSS(func(context.Context) controller.HSSCheck { return *result.Load() })
		c := newClient(t, nil, denying("p"))
		status := &controller.Status{Client: c, HSS: hss}
		written := func() string {
			reconcile(t, status, "", "p")
			p := get(t, c, "", "p", &v1alpha1.ImageScanPolicy{})
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
		status.HSS = controller.NewHSS(nil)
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
