package controller_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/controller"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestTheConditionFollowsHSS(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answers := inventory.ProjectCheck{Project: "bj4"}
		fails := inventory.ProjectCheck{
			Project: "bj4", Err: &hss.Error{StatusCode: 503, RequestID: "r1"}, Fault: policy.CauseOutage, Cause: "HSS answered 503 (request r1)",
		}
		var result atomic.Pointer[inventory.ProjectCheck]
		result.Store(&answers)
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		reach := controller.NewHSS(func(context.Context) []inventory.ProjectCheck {
			return []inventory.ProjectCheck{*result.Load(), *result.Load()}
		}, logger)
		c := newClient(t, nil, denying("p"))
		status := &controller.Status{Client: c, HSS: reach}
		written := func() string {
			writeStatus(t, status)
			p := get(t, c, "", "p", &v1alpha1.ImageScanPolicy{})
			got := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionHSSReachable)
			return string(got.Status) + " " + got.Reason + ": " + got.Message
		}
		got := []string{written()}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = reach.Start(ctx) }()
		synctest.Wait()
		got = append(got, written())
		result.Store(&fails)
		time.Sleep(31 * time.Second)
		got = append(got, written())
		cancel()
		synctest.Wait()
		// Another leader has not checked HSS yet.
		status.HSS = controller.NewHSS(nil, logger)
		got = append(got, written())
		want := []string{
			string(metav1.ConditionUnknown) + " NotChecked: HSS has not been called yet", "True Answers: HSS answers for project bj4, bj4",
			"False Unavailable: project bj4: HSS answered 503 (2 of 2 projects fail)", "False Unavailable: project bj4: HSS answered 503 (2 of 2 projects fail)",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for _, want := range []string{"level=INFO msg=\"HSS answers\"", "level=WARN msg=\"HSS cannot be used\" reason=Unavailable"} {
			if strings.Count(log.String(), want) != 1 {
				t.Errorf("the log must have once %s:\n%s", want, log.String())
			}
		}
	})
}
