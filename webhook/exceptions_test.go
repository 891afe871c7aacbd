package webhook_test

import (
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

func TestExceptionsAreValidated(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	v := webhook.ExceptionValidator{MaxLifetime: 24 * time.Hour, Clock: clocktesting.NewFakePassiveClock(now)}
	ending := func(after time.Duration, change ...func(*v1alpha1.ImageScanException)) *v1alpha1.ImageScanException {
		e := &v1alpha1.ImageScanException{ObjectMeta: metav1.ObjectMeta{Name: "e", CreationTimestamp: metav1.NewTime(now)}}
		e.Spec = v1alpha1.ImageScanExceptionSpec{Images: []string{"**"}, Policies: []string{"p"}, Reason: "r", ExpiresAt: metav1.NewTime(now.Add(after))}
		for _, f := range change {
			f(e)
		}
		return e
	}
	labelled := func(e *v1alpha1.ImageScanException) { e.Labels = map[string]string{"a": "b"} }
	leaving := func(e *v1alpha1.ImageScanException) { e.DeletionTimestamp = &metav1.Time{Time: now} }
	tests := map[string]struct {
		old, e *v1alpha1.ImageScanException
		want   string
	}{
		"a good one passes":                     {nil, ending(time.Hour), ""},
		"one that has ended is refused":         {nil, ending(-time.Hour), "is past"},
		"one that is too long is refused":       {nil, ending(25 * time.Hour), "allowed 24h"},
		"an old one may be labelled":            {ending(99 * time.Hour), ending(99*time.Hour, labelled), ""},
		"an old one may be ended":               {ending(time.Hour), ending(-time.Hour), ""},
		"an old one may not be prolonged":       {ending(time.Hour), ending(25 * time.Hour), "grant a new one"},
		"one that leaves may do what it wants":  {ending(time.Hour), ending(25*time.Hour, leaving), ""},
		"an old one that is bad may be mended":  {ending(99 * time.Hour), ending(time.Hour), ""},
		"an old one may not be made to be bad":  {ending(time.Hour), ending(time.Hour, func(e *v1alpha1.ImageScanException) { e.Spec.Images = []string{"x"} }), "spec.images[0]"},
		"several problems are all told at once": {nil, ending(-time.Hour, func(e *v1alpha1.ImageScanException) { e.Spec.Reason = "" }), "spec.reason"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var err error
			if tt.old == nil {
				_, err = v.ValidateCreate(t.Context(), tt.e)
			} else {
				_, err = v.ValidateUpdate(t.Context(), tt.old, tt.e)
			}
			if tt.want == "" && err != nil || tt.want != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want in it %q", err, tt.want)
			}
		})
	}
	if _, err := v.ValidateDelete(t.Context(), ending(99*time.Hour)); err != nil {
		t.Errorf("deletion: %v", err)
	}
}
