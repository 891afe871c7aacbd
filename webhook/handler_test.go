package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

// decider denies every image that isn't "good", pins every tag but those of the
// image "unknown", and records its requests, which may come at once.
type decider struct {
	mu       sync.Mutex
	requests []gate.Request
	decide   func(ctx context.Context, r gate.Request) gate.Decision
	pin      func(ctx context.Context, r gate.Request) gate.Pinning
	// milder reports whether no policy denies.
	milder bool
}

func (d *decider) Denies(namespace string) bool  { return !d.milder && !d.Exempts(namespace) }
func (d *decider) Exempts(namespace string) bool { return namespace == "kube-system" }

func (d *decider) record(r gate.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests = append(d.requests, r)
}

func (d *decider) Decide(ctx context.Context, r gate.Request) gate.Decision {
	d.record(r)
	if d.decide != nil {
		return d.decide(ctx, r)
	}
	decision := gate.Decision{Kind: r.Workload.Kind, Namespace: r.Namespace, Name: r.Name, Outcome: gate.Admitted, Policies: []string{"p"}}
	for _, use := range r.Workload.Uses {
		if use.Image != "good" {
			decision.Outcome = gate.Denied
			decision.Violations = append(decision.Violations, violation(use, "severity High, allowed Medium"))
		}
	}
	return decision
}

func (d *decider) Pin(ctx context.Context, r gate.Request) gate.Pinning {
	d.record(r)
	if d.pin != nil {
		return d.pin(ctx, r)
	}
	var found gate.Pinning
	for i, use := range r.Workload.Uses {
		pin := gate.Pin{Use: use, Index: i, Policy: "p", Pinned: use.Image + "@" + pinDigest}
		switch {
		case strings.Contains(use.Image, "@"):
			continue
		case strings.HasPrefix(use.Image, "unknown"):
			pin.Pinned, pin.Obstacle, pin.Message = "", policy.PinNotFound, "HSS knows no such image"
		}
		found.Pins = append(found.Pins, pin)
	}
	return found
}

func violation(use image.Use, message string) gate.Violation {
	return gate.Violation{Use: use, Reference: use.Image, Policy: "p", Effect: "Deny", PodEffect: "Deny",
		Findings: []policy.Finding{{Check: policy.CheckSeverityLevel, Message: message, Action: v1alpha1.ActionDeny}}}
}

func pod(images ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "prod"}}
	for i, img := range images {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: img})
	}
	return p
}

func deployment(images ...string) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: pod(images...).Spec}}}
}

func dying(p *corev1.Pod) *corev1.Pod {
	p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	return p
}

// reviewOf returns a review as the API server sends it.
func reviewOf(t testing.TB, operation admissionv1.Operation, object, old any) []byte {
	t.Helper()
	group, kind := "", "Pod"
	for _, o := range []any{object, old} {
		switch o.(type) {
		case *appsv1.Deployment:
			group, kind = "apps", "Deployment"
		case *v1alpha1.ImageScanPolicy:
			group, kind = "hssgate.io", "ImageScanPolicy"
		case *v1alpha1.ImageScanException:
			group, kind = "hssgate.io", "ImageScanException"
		case *v1alpha1.ClusterImageScanException:
			group, kind = "hssgate.io", "ClusterImageScanException"
		}
	}
	raw := func(o any) k8sruntime.RawExtension {
		data, err := json.Marshal(o)
		must(t, err)
		return k8sruntime.RawExtension{Raw: data}
	}
	data, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "705ab4f5", Kind: metav1.GroupVersionKind{Group: group, Version: "v1", Kind: kind}, Name: "web", Namespace: "prod",
			Operation: operation, Object: raw(object), OldObject: raw(old),
		},
	})
	must(t, err)
	return data
}

func newHandler(d *decider, change ...func(*webhook.Options)) *webhook.Handler {
	o := webhook.Options{Decider: d, Log: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	return webhook.NewHandler(o)
}

func dryRun(o *webhook.Options) { o.DryRun = true }

func notReady(o *webhook.Options) {
	o.Ready = func() error { return fmt.Errorf("policies have not been read yet") }
}

// send posts a review and reads the complete answer to it.
func send(t testing.TB, h http.Handler, body []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	code, answer := serve(t.Context(), t, h, "/validate?timeout=10s", body)
	if code != http.StatusOK {
		t.Errorf("HTTP status %d, want 200", code)
	}
	return answer
}

func serve(ctx context.Context, t testing.TB, h http.Handler, url string, body []byte) (code int, answer *admissionv1.AdmissionResponse) {
	t.Helper()
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body)))
	return recorder.Code, readAnswer(t, recorder.Result())
}

func readAnswer(t testing.TB, r *http.Response) *admissionv1.AdmissionResponse {
	t.Helper()
	defer func() { _ = r.Body.Close() }()
	var answer admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		t.Fatalf("the answer is no AdmissionReview: %v", err)
	}
	if answer.APIVersion != "admission.k8s.io/v1" || answer.Kind != "AdmissionReview" || answer.Response == nil {
		t.Fatalf("the answer is no AdmissionReview: %+v", answer)
	}
	return answer.Response
}

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// equal checks that nothing differs.
func equal[T any](t testing.TB, what string, want, got T, options ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, options...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// each runs a test for each case, in parallel.
func each[C any](t *testing.T, cases map[string]C, test func(t *testing.T, c C)) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

func TestReviews(t *testing.T) {
	t.Parallel()
	type testCase struct {
		operation   admissionv1.Operation
		object, old any
		allowed     bool
		images      []string
	}
	each(t, map[string]testCase{
		"a good pod is admitted":                                    {"CREATE", pod("good"), nil, true, []string{"good"}},
		"a bad pod is denied":                                       {"CREATE", pod("good", "bad"), nil, false, []string{"good", "bad"}},
		"a bad deployment is evaluated like its pods":               {"CREATE", deployment("bad"), nil, false, []string{"bad"}},
		"an update that brings a bad image is denied":               {"UPDATE", pod("good", "bad"), pod("good"), false, []string{"bad"}},
		"an update that changes no image needs no decision":         {"UPDATE", pod("bad"), pod("bad"), true, nil},
		"an update that only takes an image away needs no decision": {"UPDATE", pod("bad"), pod("bad", "worse"), true, nil},
		"a new image in a pod that is being deleted is evaluated":   {"UPDATE", dying(pod("bad")), dying(pod("good")), false, []string{"bad"}},
		"so is a debug container in one":                            {"UPDATE", debugged(dying(pod("good")), "bad"), dying(pod("good")), false, []string{"bad"}},
		"a finalizer of such a pod is removed without a decision":   {"UPDATE", dying(pod("bad")), dying(pod("bad")), true, nil},
		"a pod that claims on creation to be deleted is evaluated":  {"CREATE", dying(pod("bad")), nil, false, []string{"bad"}},
		"a pod that claims on an update to be deleted is evaluated": {"UPDATE", dying(pod("bad")), pod("good"), false, []string{"bad"}},
		"an update that empties an image is evaluated":              {"UPDATE", pod(""), pod("good"), false, []string{""}},
		"a deletion passes":                                         {"DELETE", nil, pod("bad"), true, nil},
		"a connection passes":                                       {"CONNECT", pod("bad"), nil, true, nil},
		"an update of a deployment looks only at the new image":     {"UPDATE", deployment("bad"), deployment("good"), false, []string{"bad"}},
		"a pod without images has nothing that could be refused":    {"CREATE", pod(), nil, true, nil},
		"an owner reference is no evidence":                         {"CREATE", owned(pod("bad")), nil, false, []string{"bad"}},
	}, func(t *testing.T, tt testCase) {
		d := &decider{}
		got := send(t, newHandler(d), reviewOf(t, tt.operation, tt.object, tt.old))
		if got.Allowed != tt.allowed || got.UID != "705ab4f5" {
			t.Errorf("allowed = %t (UID %q), want %t: %+v", got.Allowed, got.UID, tt.allowed, got.Result)
		}
		var images []string
		for _, r := range d.requests {
			for _, use := range r.Workload.Uses {
				images = append(images, use.Image)
			}
		}
		equal(t, "evaluated images", tt.images, images, cmpopts.EquateEmpty())
	})
}

func owned(p *corev1.Pod) *corev1.Pod {
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "1"}}
	p.Annotations = map[string]string{"hssgate.io/checked": "true"}
	return p
}

func TestAnAnswerHasTheWholeReason(t *testing.T) {
	t.Parallel()
	const line = `container "c0": bad — severity High, allowed Medium [policy p]`
	for name, tt := range map[string]struct {
		options []func(*webhook.Options)
		want    *admissionv1.AdmissionResponse
	}{
		"a denial, in one status": {nil, &admissionv1.AdmissionResponse{
			Result: &metav1.Status{Status: "Failure", Code: 403, Reason: "Forbidden", Message: `pod "web" denied by 1 policy: ` + line + `
to do: rebuild the image with fixed packages, push it, and have HSS scan it
note: HSS's severity levels are not those of CVSS: its High may start at CVSS 9`},
			AuditAnnotations: map[string]string{"decision": "Denied", "policies": "p", "violations": "Deny: " + line},
		}},
		"dry-run mode, in a warning": {with(dryRun), &admissionv1.AdmissionResponse{
			Allowed: true, Warnings: []string{"would be denied (dry-run mode): " + line, rebuild},
			AuditAnnotations: map[string]string{"decision": "Denied", "policies": "p", "dry-run": "true", "violations": "Deny: " + line},
		}},
	} {
		got := send(t, newHandler(&decider{}, tt.options...), reviewOf(t, "CREATE", pod("bad"), nil))
		tt.want.UID = "705ab4f5"
		equal(t, name+": response", tt.want, got)
	}
}

func TestOutcomesHaveCodesOfTheirOwn(t *testing.T) {
	t.Parallel()
	type testCase struct {
		outcome gate.Outcome
		allowed bool
		code    int32
		reason  metav1.StatusReason
	}
	each(t, map[string]testCase{
		"admitted":                      {gate.Admitted, true, 0, ""},
		"denied":                        {gate.Denied, false, 403, metav1.StatusReasonForbidden},
		"HSS is unreachable":            {gate.Unavailable, false, 503, metav1.StatusReasonServiceUnavailable},
		"no outcome is no admission":    {"", false, 500, metav1.StatusReasonInternalError},
		"an unknown outcome is neither": {"Perhaps", false, 500, metav1.StatusReasonInternalError},
	}, func(t *testing.T, tt testCase) {
		d := &decider{decide: func(context.Context, gate.Request) gate.Decision { return gate.Decision{Outcome: tt.outcome} }}
		got := send(t, newHandler(d), reviewOf(t, "CREATE", pod("bad"), nil))
		status := metav1.Status{}
		if got.Result != nil {
			status = *got.Result
		}
		if got.Allowed != tt.allowed || status.Code != tt.code || status.Reason != tt.reason {
			t.Errorf("allowed %t, code %d, reason %q; want %t, %d, %q", got.Allowed, status.Code, status.Reason, tt.allowed, tt.code, tt.reason)
		}
	})
}

// rebuild is what to do about the findings of these tests.
const rebuild = "to do: rebuild the image with fixed packages, push it, and have HSS scan it"

func TestWarnings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		object  any
		message string
		pods    v1alpha1.Enforcement
		options []func(*webhook.Options)
		want    string
	}{
		"are safe in a header":                       {pod("bad"), "two\nlines\x00 and \xff bytes", v1alpha1.EnforcementWarn, nil, `container "c0": bad — two lines  and � bytes [policy p]`},
		"say what becomes of the pods of a workload": {deployment("bad"), "High", v1alpha1.EnforcementDeny, nil, `its pods will be denied: container "c0": bad — High [policy p]`},
		"say so in dry-run mode, too":                {deployment("bad"), "High", v1alpha1.EnforcementDeny, with(dryRun), `its pods would be denied (dry-run mode): container "c0": bad — High [policy p]`},
	} {
		d := &decider{decide: func(_ context.Context, r gate.Request) gate.Decision {
			v := violation(r.Workload.Uses[0], tt.message)
			v.Effect, v.PodEffect = v1alpha1.EnforcementWarn, tt.pods
			return gate.Decision{Outcome: gate.Admitted, Violations: []gate.Violation{v}}
		}}
		got := send(t, newHandler(d, tt.options...), reviewOf(t, "CREATE", tt.object, nil))
		if diff := cmp.Diff([]string{tt.want, rebuild}, got.Warnings); diff != "" || !got.Allowed {
			t.Errorf("%s: allowed %t, warnings (-want +got):\n%s", name, got.Allowed, diff)
		}
	}
}

func TestAReviewThatCannotBeEvaluated(t *testing.T) {
	t.Parallel()
	bug := func() *decider {
		return &decider{decide: func(context.Context, gate.Request) gate.Decision { panic("a bug") }}
	}
	big := pod(strings.Repeat("<", 16<<10))
	type testCase struct {
		decider *decider
		options []func(*webhook.Options)
		body    []byte
		allowed bool
		code    int32
		says    string
	}
	each(t, map[string]testCase{
		"too large is denied":                             {&decider{}, nil, reviewOf(t, "CREATE", big, nil), false, 413, "at most 65536 bytes are allowed"},
		"too large is admitted if no policy denies":       {&decider{milder: true}, nil, reviewOf(t, "CREATE", big, nil), true, 0, "at most 65536 bytes are allowed"},
		"too large is admitted in dry-run mode":           {&decider{}, with(dryRun), reviewOf(t, "CREATE", big, nil), true, 0, "at most 65536 bytes are allowed"},
		"a panic is denied":                               {bug(), nil, reviewOf(t, "CREATE", pod("good"), nil), false, 500, "internal error"},
		"not ready is denied":                             {&decider{milder: true}, with(notReady), reviewOf(t, "CREATE", pod("good"), nil), false, 503, "not been read yet"},
		"not ready is admitted in dry-run mode":           {&decider{}, with(notReady, dryRun), reviewOf(t, "CREATE", pod("good"), nil), true, 0, "not been read yet"},
		"too many containers is denied":                   {&decider{}, nil, reviewOf(t, "CREATE", pod(make([]string, 1001)...), nil), false, 413, "too many containers"},
		"a wrong type is denied":                          {&decider{}, nil, bytes.Replace(reviewOf(t, "CREATE", pod("good"), nil), []byte(`"image":"good"`), []byte(`"image":7`), 1), false, 400, "decode AdmissionReview"},
		"an end in the middle is denied":                  {&decider{}, nil, reviewOf(t, "CREATE", pod("good"), nil)[:400], false, 400, "decode AdmissionReview"},
		"an old version of reviews is denied":             {&decider{}, nil, bytes.Replace(reviewOf(t, "CREATE", pod("good"), nil), []byte(`admission.k8s.io/v1"`), []byte(`admission.k8s.io/v1beta1"`), 1), false, 400, `got apiVersion "admission.k8s.io/v1beta1"`},
		"an object that isn't there is denied":            {&decider{}, nil, reviewOf(t, "CREATE", nil, nil), false, 400, "CREATE of kind Pod has no request.object"},
		"so is an update of nothing":                      {&decider{}, nil, reviewOf(t, "UPDATE", nil, pod("good")), false, 400, "UPDATE of kind Pod has no request.object"},
		"an operation that is none is denied":             {&decider{}, nil, reviewOf(t, "create", pod("good"), nil), false, 400, `got request.operation "create", want CREATE`},
		"no operation at all is denied":                   {&decider{}, nil, reviewOf(t, "", pod("good"), nil), false, 400, `got request.operation ""`},
		"such a one of a kind without images is admitted": {&decider{}, nil, bytes.Replace(reviewOf(t, "PATCH", pod("x"), nil), []byte(`"kind":"Pod"`), []byte(`"kind":"Node"`), 1), true, 0, ""},
		"a panic over a deployment is denied too":         {bug(), nil, reviewOf(t, "CREATE", deployment("good"), nil), false, 500, "internal error"},
		"in an exempt namespace it is admitted":           {bug(), nil, bytes.ReplaceAll(reviewOf(t, "CREATE", pod("good"), nil), []byte(`"prod"`), []byte(`"kube-system"`)), true, 0, "internal error"},
		"not ready, but exempt, is admitted":              {&decider{}, with(notReady), bytes.ReplaceAll(reviewOf(t, "CREATE", pod("good"), nil), []byte(`"prod"`), []byte(`"kube-system"`)), true, 0, "not been read yet"},
		"the same images need nothing":                    {&decider{}, with(notReady), reviewOf(t, "UPDATE", pod("bad"), pod("bad")), true, 0, ""},
		"what is being deleted doesn't":                   {&decider{}, with(notReady), reviewOf(t, "UPDATE", dying(pod("bad")), dying(pod("bad"))), true, 0, ""},
		"a deletion doesn't":                              {&decider{}, with(notReady), reviewOf(t, "DELETE", nil, pod("bad")), true, 0, ""},
		"a kind without images doesn't":                   {&decider{}, with(notReady), bytes.Replace(reviewOf(t, "CREATE", pod("x"), nil), []byte(`"kind":"Pod"`), []byte(`"kind":"Node"`), 1), true, 0, ""},
	}, func(t *testing.T, tt testCase) {
		got := send(t, newHandler(tt.decider, tt.options...).Limit(webhook.Limits{ReviewBytes: 64 << 10}), tt.body)
		says := strings.Join(got.Warnings, "\n")
		var code int32
		if got.Result != nil {
			says, code = got.Result.Message, got.Result.Code
		}
		if got.UID != "705ab4f5" || got.Allowed != tt.allowed || code != tt.code || !strings.Contains(says, tt.says) {
			t.Errorf("UID %q, allowed %t, code %d, %q; want allowed %t, code %d, %q", got.UID, got.Allowed, code, says, tt.allowed, tt.code, tt.says)
		}
	})
}

func with(options ...func(*webhook.Options)) []func(*webhook.Options) { return options }

func TestWhatIsNoReviewIsNeverAllowed(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{}", "null", "[]", "nonsense", `{"request":{"uid":""}}`, strings.Repeat("[", 100_000)} {
		code, got := serve(t.Context(), t, newHandler(&decider{milder: true}, dryRun), "/validate", []byte(body))
		if got.Allowed || code != http.StatusBadRequest {
			t.Errorf("%.20q: allowed %t, HTTP status %d; want false, 400", body, got.Allowed, code)
		}
	}
}

// A review outlives its caller, until the API server's timeout.
func TestTheAPIServersTimeoutIsKept(t *testing.T) {
	t.Parallel()
	type testCase struct {
		url  string
		want time.Duration
	}
	each(t, map[string]testCase{
		"a timeout leaves the margin":     {"/validate?timeout=5s", 4500 * time.Millisecond},
		"a short one is at least halved":  {"/validate?timeout=600ms", 300 * time.Millisecond},
		"none is the default":             {"/validate", 9500 * time.Millisecond},
		"nonsense is the default":         {"/validate?timeout=soon", 9500 * time.Millisecond},
		"a negative one is the default":   {"/validate?timeout=-1s", 9500 * time.Millisecond},
		"one among others is found":       {"/validate?a=b&timeout=5s", 4500 * time.Millisecond},
		"an escaped one is read":          {"/validate?timeout=%35s", 4500 * time.Millisecond},
		"a longer one than any is capped": {"/validate?timeout=10h", 29500 * time.Millisecond},
	}, func(t *testing.T, tt testCase) {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			caller, cancel := context.WithCancel(t.Context())
			cancel()
			d := &decider{decide: func(ctx context.Context, _ gate.Request) gate.Decision {
				<-ctx.Done()
				if took := time.Since(begun); took != tt.want || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
					t.Errorf("the context ended after %s with %v, want %s", took, ctx.Err(), tt.want)
				}
				return gate.Decision{Outcome: gate.Admitted}
			}}
			if _, got := serve(caller, t, newHandler(d), tt.url, reviewOf(t, "CREATE", pod("good"), nil)); !got.Allowed {
				t.Errorf("denied: %+v", got.Result)
			}
		})
	})
}

// overTLS is a server as the API server meets it, where a body is cut off or an
// early answer resets the connection.
func overTLS(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	return server
}

func post(t *testing.T, server *httptest.Server, query string, body io.Reader) *admissionv1.AdmissionResponse {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/validate?"+query, body)
	must(t, err)
	response, err := server.Client().Do(request)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	return readAnswer(t, response)
}

func TestATooLargeReviewIsAnsweredOverTheWire(t *testing.T) {
	t.Parallel()
	body := reviewOf(t, "CREATE", pod(strings.Repeat("a", 10<<20)), nil)
	server := overTLS(t, newHandler(&decider{}).Limit(webhook.Limits{ReviewBytes: 1 << 20, ArrivalTimeout: time.Minute}))
	for name, reader := range map[string]io.Reader{"with its length": bytes.NewReader(body), "in chunks": struct{ io.Reader }{bytes.NewReader(body)}} {
		if got := post(t, server, "timeout=30s", reader); got.Allowed || got.UID != "705ab4f5" || got.Result.Code != 413 {
			t.Errorf("%s: got %+v, want a denial with UID and code 413", name, got)
		}
	}
}

func TestASlowBodyIsAnsweredInTime(t *testing.T) {
	t.Parallel()
	each(t, map[string]int{"a small one": 1, "a large one": 1 << 20}, func(t *testing.T, size int) {
		server := overTLS(t, newHandler(&decider{}).Limit(webhook.Limits{ArrivalTimeout: time.Second}))
		body := large(t, size)
		got := <-startTrickle(t, server, body, int64(len(body))).answer
		want := "hssgate could not evaluate this object: review did not arrive in time"
		if got == nil || got.Allowed || got.UID != "705ab4f5" || got.Result.Code != 503 || got.Result.Message != want {
			t.Errorf("got %+v, want a denial with UID that says %s", got, want)
		}
	})
}

// A review of empty containers once took 3.1 GB to decode.
func TestAReviewOfEmptyContainersTakesLittleMemory(t *testing.T) {
	object := []byte(`{"spec":{"containers":[` + strings.Repeat("{},", 2_300_000) + `{}]}}`)
	body := reviewOf(t, "CREATE", json.RawMessage(object), nil)
	h := newHandler(&decider{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := send(t, h, body)
	runtime.ReadMemStats(&after)
	if got.Allowed {
		t.Error("allowed")
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
		t.Errorf("it took %d MiB of memory for a review of %d MiB", took>>20, len(body)>>20)
	}
}

// customReview returns a review of a custom resource, a Rollout for short.
func customReview(t testing.TB, operation admissionv1.Operation, object, old string) []byte {
	t.Helper()
	if old == "" {
		old = "null"
	}
	return []byte(`{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "kind": {"group": "argoproj.io", "version": "v1alpha1", "kind": "Rollout"},
		"namespace": "prod", "operation": "` + string(operation) + `", "object": ` + object + `, "oldObject": ` + old + `}}`)
}

func TestCustomResourcesAreEvaluatedAsTemplates(t *testing.T) {
	t.Parallel()
	rollout := func(images ...string) string {
		var templates []string
		for i, name := range images {
			templates = append(templates, fmt.Sprintf(`{"template": {"metadata": {"labels": {"n": "%d"}}, "spec": {"containers": [{"name": "a", "image": %q}]}}}`, i, name))
		}
		return `{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web"}, "spec": [` + strings.Join(templates, ",") + `]}`
	}
	type testCase struct {
		operation   admissionv1.Operation
		object, old string
		want        []string
	}
	each(t, map[string]testCase{
		"a new one":                  {admissionv1.Create, rollout("a"), "", []string{"a"}},
		"two templates":              {admissionv1.Create, rollout("a", "b"), "", []string{"a", "b"}},
		"one without a template":     {admissionv1.Create, `{"metadata": {"name": "web"}}`, "", nil},
		"an update without new ones": {admissionv1.Update, rollout("a", "b"), rollout("b", "a"), nil},
		"an update with a new image": {admissionv1.Update, rollout("a", "c"), rollout("a", "b"), []string{"c"}},
		"an update of no old object": {admissionv1.Update, rollout("a"), "", []string{"a"}},
		"one that is to be deleted":  {admissionv1.Delete, "null", rollout("a"), nil},
		"a missing image":            {admissionv1.Create, `{"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}}`, "", nil},
	}, func(t *testing.T, tt testCase) {
		var got []string
		d := &decider{decide: func(_ context.Context, r gate.Request) gate.Decision {
			if !r.Workload.Template || r.Workload.Kind != "Rollout" || r.Name != "web" || r.Namespace != "prod" {
				t.Errorf("got %+v", r)
			}
			for _, use := range r.Workload.Uses {
				got = append(got, use.Image)
			}
			return gate.Decision{Outcome: gate.Admitted, Notices: []string{fmt.Sprint("seen ", len(got))}}
		}}
		answer := send(t, newHandler(d), customReview(t, tt.operation, tt.object, tt.old))
		if diff := cmp.Diff(tt.want, got); diff != "" || !answer.Allowed || len(answer.Warnings) != len(tt.want) {
			t.Errorf("got %+v (-want +got):\n%s", answer, diff)
		}
	})
}

func TestACustomResourceThatIsNotAdmitted(t *testing.T) {
	t.Parallel()
	two := `{"spec": {"x": {"metadata": {"labels": {"a": "1"}}, "containers": [{"image": "a"}]}, "y": {"metadata": {"labels": {"a": "2"}}, "containers": [{"image": "b"}]}}}`
	many := `{"spec": {"containers": [` + strings.TrimSuffix(strings.Repeat(`{"image":"a"},`, 1001), ",") + `]}}`
	for name, tt := range map[string]struct{ denied, object string }{
		"one of two templates is denied": {"a", two}, "the other one is": {"b", two}, "nothing": {"", "null"},
		"too many images": {"", many}, "labels of another form": {"", `{"metadata": {"labels": 1}}`},
	} {
		d := &decider{decide: func(_ context.Context, r gate.Request) gate.Decision {
			if r.Workload.Uses[0].Image == tt.denied {
				return gate.Decision{Outcome: gate.Denied}
			}
			return gate.Decision{Outcome: gate.Admitted}
		}}
		if answer := send(t, newHandler(d), customReview(t, admissionv1.Create, tt.object, "")); answer.Allowed {
			t.Errorf("%s: it is admitted: %+v", name, answer)
		}
	}
}
