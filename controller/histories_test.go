package controller_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hssgate/hssgate/controller"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestHistoriesFollowTheCluster(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("a", 64)
	at := metav1.NewTime(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	object := &v1alpha1.ImageScanHistory{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Images: []v1alpha1.PassedImage{{Digest: digest, PassedAt: at}, {Digest: "garbage", PassedAt: at}}}
	c := newClient(t, interceptor.Funcs{}, object)
	var log strings.Builder
	h := controller.NewHistories(c, slog.New(slog.NewTextHandler(&log, nil)))
	if err := h.Ready(); err == nil {
		t.Error("it is ready before it has read anything")
	}
	follow := func() {
		t.Helper()
		if err := reconcile(t, h, "p"); err != nil {
			t.Fatal(err)
		}
	}
	follow()
	if got := h.History("p"); len(got) != 1 || !got[digest].PassedAt.Equal(at.Time) || h.Worsened() != 0 {
		t.Errorf("got %v, worsened %d", got, h.Worsened())
	}
	if !strings.Contains(log.String(), "images[1]") {
		t.Errorf("the log tells nothing of garbage: %s", log.String())
	}
	if got := h.History("q"); len(got) > 0 {
		t.Errorf("another policy has %v", got)
	}
	for _, worsened := range []*metav1.Time{&at, &at, nil} {
		object.Images = []v1alpha1.PassedImage{{Digest: digest, PassedAt: at, WorsenedAt: worsened}}
		if err := c.Update(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		follow()
	}
	if got := h.Worsened(); got != 2 {
		t.Errorf("it has changed %d times, want once to bad and once to good", got)
	}
	if err := c.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	follow()
	if got := h.History("p"); len(got) > 0 {
		t.Errorf("it is gone, but there is %v", got)
	}
}

func TestStatusSaysWhetherAGraceCanBeHad(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		period, interval time.Duration
		want             string
	}{
		"no grace":                     {0, 10 * time.Minute, ""},
		"a grace":                      {168 * time.Hour, 10 * time.Minute, "True Given an image that runs and passed has 168h0m0s once what HSS says of it turns bad"},
		"a grace without audits":       {168 * time.Hour, 0, "False AuditDisabled no image has a grace: the audit, which sees what runs and passes, is switched off (audit.enabled)"},
		"one shorter than two audits":  {19 * time.Minute, 10 * time.Minute, "False ShorterThanAudits the period of 19m0s can be over before an audit comes by: make it at least twice audit.interval, which is 10m0s"},
		"one as long as two audits is": {20 * time.Minute, 10 * time.Minute, "True Given an image that runs and passed has 20m0s once what HSS says of it turns bad"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := denying("p")
			p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionGrace, Status: metav1.ConditionTrue, Reason: "Before"}}
			if tt.period > 0 {
				p.Spec.Grace = &v1alpha1.Grace{Period: metav1.Duration{Duration: tt.period}}
			}
			c := newClient(t, interceptor.Funcs{}, p)
			if err := reconcile(t, &controller.Status{Client: c, AuditInterval: tt.interval}, "p"); err != nil {
				t.Fatal(err)
			}
			if err := c.Get(t.Context(), client.ObjectKey{Name: "p"}, p); err != nil {
				t.Fatal(err)
			}
			got := ""
			if one := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionGrace); one != nil {
				got = string(one.Status) + " " + one.Reason + " " + one.Message
			}
			if got != tt.want {
				t.Errorf("got condition %q, want %q", got, tt.want)
			}
		})
	}
}
