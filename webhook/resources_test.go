package webhook_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

var resourceTime = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newResources(pinningMissing bool) *webhook.Resources {
	return webhook.NewResources(webhook.ResourceOptions{
		PinningMissing: pinningMissing, MaxExceptionLifetime: 24 * time.Hour, Clock: clocktesting.NewFakePassiveClock(resourceTime),
		Log: slog.New(slog.DiscardHandler),
	})
}

// changeOf returns the review of an update, or of a creation if old is nil.
func changeOf[T any](t *testing.T, object, old *T) []byte {
	t.Helper()
	if old == nil {
		return reviewOf(t, admissionv1.Create, object, nil)
	}
	return reviewOf(t, admissionv1.Update, object, old)
}

func TestExceptionsAreValidated(t *testing.T) {
	t.Parallel()
	ending := func(after time.Duration, change ...func(*v1alpha1.ImageScanException)) *v1alpha1.ImageScanException {
		e := &v1alpha1.ImageScanException{ObjectMeta: metav1.ObjectMeta{Name: "e", CreationTimestamp: metav1.NewTime(resourceTime)}}
		e.Spec = v1alpha1.ImageScanExceptionSpec{Images: []string{"**"}, Policies: []string{"p"}, Reason: "r", ExpiresAt: metav1.NewTime(resourceTime.Add(after))}
		for _, f := range change {
			f(e)
		}
		return e
	}
	labelled := func(e *v1alpha1.ImageScanException) { e.Labels = map[string]string{"a": "b"} }
	leaving := func(e *v1alpha1.ImageScanException) { e.DeletionTimestamp = &metav1.Time{Time: resourceTime} }
	claimed := func(e *v1alpha1.ImageScanException) {
		e.CreationTimestamp = metav1.NewTime(resourceTime.Add(99 * time.Hour))
	}
	aged := func(e *v1alpha1.ImageScanException) {
		e.CreationTimestamp = metav1.NewTime(resourceTime.Add(-time.Hour))
	}
	type testCase struct {
		old, e *v1alpha1.ImageScanException
		want   string
	}
	each(t, map[string]testCase{
		"a good one passes":                {nil, ending(time.Hour), ""},
		"one that has ended is denied":     {nil, ending(-time.Hour), `spec.expiresAt: Invalid value: "2026-11-23T11:00:00Z": is past: it is now 2026-11-23T12:00:00Z`},
		"the longest passes":               {nil, ending(24 * time.Hour), ""},
		"one that is too long is denied":   {nil, ending(25 * time.Hour), "must be 2026-11-24T12:00:00Z at the latest, 1 day after its creation: to prolong an exception, grant a new one"},
		"whatever creation it claims":      {nil, ending(25*time.Hour, claimed), "must be 2026-11-24T12:00:00Z at the latest"},
		"an old one is as long as it was":  {ending(time.Hour, aged), ending(24*time.Hour, aged), "must be 2026-11-24T11:00:00Z at the latest"},
		"an old one may be labelled":       {ending(99 * time.Hour), ending(99*time.Hour, labelled), ""},
		"an old one may be ended":          {ending(time.Hour), ending(-time.Hour), ""},
		"an old one may not be prolonged":  {ending(time.Hour), ending(25 * time.Hour), "grant a new one"},
		"one that is being deleted passes": {ending(time.Hour), ending(25*time.Hour, leaving), ""},
		"a bad one may be corrected":       {ending(99 * time.Hour), ending(time.Hour), ""},
		"a good one may not become bad":    {ending(time.Hour), ending(time.Hour, func(e *v1alpha1.ImageScanException) { e.Spec.Images = []string{"**", "x"} }), `spec.images[1]: Invalid value: "x"`},
		"all problems are named":           {nil, ending(-time.Hour, func(e *v1alpha1.ImageScanException) { e.Spec.Reason = "" }), "spec.reason"},
	}, func(t *testing.T, tt testCase) {
		checkValidation(t, newResources(false), changeOf(t, tt.e, tt.old), tt.want)
		clusterWide := changeOf(t, (*v1alpha1.ClusterImageScanException)(tt.e), (*v1alpha1.ClusterImageScanException)(tt.old))
		checkValidation(t, newResources(false), clusterWide, tt.want)
	})
	grace := ending(time.Hour, func(e *v1alpha1.ImageScanException) { e.Labels = map[string]string{v1alpha1.GraceLabel: "p"} })
	checkValidation(t, newResources(false), changeOf(t, grace, nil), "")
	checkValidation(t, newResources(false), changeOf(t, (*v1alpha1.ClusterImageScanException)(grace), nil), "metadata.labels[hssgate.io/grace]: Forbidden: a grace is for one namespace")
}

func checkValidation(t *testing.T, h http.Handler, body []byte, want string) *admissionv1.AdmissionResponse {
	t.Helper()
	got := send(t, h, body)
	if got.UID != "705ab4f5" || got.Allowed != (want == "") {
		t.Fatalf("got %+v, want a denial with %q", got, want)
	}
	if want != "" && (got.Result.Code != http.StatusUnprocessableEntity || got.Result.Reason != metav1.StatusReasonInvalid ||
		len(got.Result.Details.Causes) == 0 || !strings.Contains(got.Result.Message, want)) {
		t.Errorf("got %+v, want in it %q", got.Result, want)
	}
	return got
}

func TestPoliciesAreValidated(t *testing.T) {
	t.Parallel()
	newPolicy := func(change func(*v1alpha1.ImageScanPolicySpec)) *v1alpha1.ImageScanPolicy {
		p := &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
		change(&p.Spec)
		return p
	}
	pin := func(e v1alpha1.Enforcement) *v1alpha1.ImageScanPolicy {
		return newPolicy(func(s *v1alpha1.ImageScanPolicySpec) { s.Pin, s.Enforcement = true, e })
	}
	bad := newPolicy(func(s *v1alpha1.ImageScanPolicySpec) {
		s.Require.Expressions = []v1alpha1.Expression{{Expression: "image.nonsense", Message: "x"}}
	})
	type testCase struct {
		p, old         *v1alpha1.ImageScanPolicy
		pinningMissing bool
		want, warning  string
	}
	each(t, map[string]testCase{
		"one that denies pins":                        {p: pin("")},
		"one that warns pins":                         {p: pin(v1alpha1.EnforcementWarn)},
		"one that audits doesn't":                     {p: pin(v1alpha1.EnforcementAudit), warning: "while spec.enforcement is Audit"},
		"nothing is pinned without a webhook":         {p: pin(""), pinningMissing: true, warning: "pin.enabled of the chart"},
		"nor is it after an update":                   {p: pin(""), old: newPolicy(func(*v1alpha1.ImageScanPolicySpec) {}), pinningMissing: true, warning: "pin.enabled of the chart"},
		"one that doesn't pin needs no webhook":       {p: newPolicy(func(*v1alpha1.ImageScanPolicySpec) {}), pinningMissing: true},
		"an expression that does not compile":         {p: bad, want: "nonsense"},
		"an update that makes it so":                  {p: bad, old: pin(""), want: "nonsense"},
		"an update of a bad one that leaves it alone": {p: bad, old: bad},
	}, func(t *testing.T, tt testCase) {
		got := checkValidation(t, newResources(tt.pinningMissing), changeOf(t, tt.p, tt.old), tt.want)
		if said := strings.Join(got.Warnings, "\n"); !strings.Contains(said, tt.warning) || (said == "") != (tt.warning == "") {
			t.Errorf("warnings %q, want one with %q", said, tt.warning)
		}
	})
}

func TestAReviewOfAResourceThatCannotBeReadIsDenied(t *testing.T) {
	t.Parallel()
	whole := reviewOf(t, "CREATE", &v1alpha1.ImageScanPolicy{}, nil)
	tooLarge := &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"x": strings.Repeat("x", 5<<20)}}}
	type testCase struct {
		body io.Reader
		code int32
		says string
	}
	each(t, map[string]testCase{
		"no review":          {bytes.NewReader(bytes.Replace(whole, []byte(`admission.k8s.io/v1"`), []byte(`admission.k8s.io/v1beta1"`), 1)), 400, `got apiVersion "admission.k8s.io/v1beta1"`},
		"no JSON in the end": {bytes.NewReader(append(whole[:len(whole)-1:len(whole)-1], ']')), 400, "decode AdmissionReview"},
		"another kind":       {bytes.NewReader(reviewOf(t, "CREATE", pod(), nil)), 400, "kind Pod is not one of"},
		"a wrong type":       {bytes.NewReader(bytes.Replace(whole, []byte(`"spec":{`), []byte(`"spec":{"pin":"yes",`), 1)), 400, "decode AdmissionReview"},
		"no object":          {bytes.NewReader(reviewOf(t, "CREATE", (*v1alpha1.ImageScanPolicy)(nil), nil)), 400, "has no request.object"},
		"too large":          {bytes.NewReader(reviewOf(t, "CREATE", tooLarge, nil)), 413, "review is too large"},
		"it does not arrive": {io.MultiReader(bytes.NewReader(whole[:300]), neverReader{t.Context().Done()}), 503, "review did not arrive in time"},
	}, func(t *testing.T, test testCase) {
		h := newResources(false)
		if test.code == http.StatusServiceUnavailable {
			h.LimitArrival(time.Second / 5)
		}
		got := post(t, overTLS(t, h), "timeout=30s", test.body)
		if got.Allowed || got.UID != "705ab4f5" || got.Result.Code != test.code || !strings.Contains(got.Result.Message, test.says) {
			t.Errorf("got %+v", got)
		}
	})
	if got := send(t, newResources(false), bytes.Replace(whole, []byte(`"CREATE"`), []byte(`"DELETE"`), 1)); !got.Allowed {
		t.Errorf("a deletion got %+v", got)
	}
}

// neverReader has nothing to read until the end of the test.
type neverReader struct{ ended <-chan struct{} }

func (r neverReader) Read([]byte) (int, error) {
	<-r.ended
	return 0, io.EOF
}

// slowClock stops the validation of an exception until it is released.
type slowClock struct {
	clocktesting.FakePassiveClock
	release <-chan struct{}
}

func (c *slowClock) Now() time.Time {
	<-c.release
	return resourceTime
}

func TestReviewsOfResourcesThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	e := &v1alpha1.ImageScanException{}
	large := &v1alpha1.ImageScanException{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"large": strings.Repeat("x", 3<<20)}}}
	type testCase struct {
		e             *v1alpha1.ImageScanException
		sent, mayWait int
	}
	each(t, map[string]testCase{"by their number": {e, 300, 256}, "by their bytes": {large, 12, 10}}, func(t *testing.T, tt testCase) {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			h := webhook.NewResources(webhook.ResourceOptions{Clock: &slowClock{release: release}, Log: slog.New(slog.DiscardHandler)})
			body := reviewOf(t, "CREATE", tt.e, nil)
			answers := make(chan *admissionv1.AdmissionResponse, tt.sent)
			for range tt.sent {
				go func() { answers <- send(t, h, body) }()
			}
			for range tt.sent - tt.mayWait {
				if got := <-answers; got.Allowed || got.Result.Code != http.StatusServiceUnavailable || !strings.Contains(got.Result.Message, "too many reviews at once") {
					t.Errorf("got %+v before any was validated", got)
				}
			}
			close(release)
			for range tt.mayWait {
				if got := <-answers; got.Result.Code != http.StatusUnprocessableEntity {
					t.Errorf("one that waited got %+v", got)
				}
			}
		})
	})
}
