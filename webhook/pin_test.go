package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

var pinDigest = "sha256:" + strings.Repeat("a", 64)

// pinner pins every tag but those of the image "unknown", and records what it
// was asked.
type pinner struct {
	asked []string
	panic bool
}

func (p *pinner) Pin(_ context.Context, r gate.Request) gate.Pinning {
	if p.panic {
		panic("a bug")
	}
	var found gate.Pinning
	for i, use := range r.Workload.Uses {
		p.asked = append(p.asked, use.Image)
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

func newPinning(p webhook.Pinner, change ...func(*webhook.Options)) http.Handler {
	return newHandler(&decider{}, change...).Pinning(p)
}

// everywhere is a pod that names the images in all places, between others.
func everywhere(images ...string) *corev1.Pod {
	p := pod(images...)
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "empty", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	for i, img := range images {
		name := fmt.Sprintf("x%d", i)
		p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: name, Image: img})
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: img}})
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: img}}})
	}
	return p
}

func mirror(p *corev1.Pod) *corev1.Pod {
	p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "1"}
	return p
}

func TestPinning(t *testing.T) {
	t.Parallel()
	a, b := "a:1@"+pinDigest, "b:1@"+pinDigest
	tests := map[string]struct {
		operation         admissionv1.Operation
		object, old, want any
	}{
		"a tag gets its digest":                                {"CREATE", pod("a:1"), nil, pod(a)},
		"all places do":                                        {"CREATE", everywhere("a:1", "b:1"), nil, everywhere(a, b)},
		"what has a digest and what is unknown stay":           {"CREATE", everywhere("unknown:1", "a:1", b), nil, everywhere("unknown:1", a, b)},
		"a pod that is pinned is not changed":                  {"CREATE", everywhere(a, b), nil, everywhere(a, b)},
		"a pod without images isn't":                           {"CREATE", pod(), nil, pod()},
		"a container without an image isn't":                   {"CREATE", pod("", "a:1"), nil, pod("", a)},
		"an update's new image gets its digest":                {"UPDATE", pod("a:1", "b:1"), pod("a:1", "c:1"), pod("a:1", b)},
		"one that was pinned and is written as a tag again":    {"UPDATE", pod("a:1"), pod(a), pod(a)},
		"an ephemeral container does":                          {"UPDATE", debugged(pod(a), "b:1"), pod(a), debugged(pod(a), b)},
		"an update that brings no image changes nothing":       {"UPDATE", pod("a:1"), pod("a:1"), pod("a:1")},
		"that of a pod that is being deleted, too":             {"UPDATE", dying(pod("b:1")), dying(pod("a:1")), dying(pod(b))},
		"a mirror pod, which changes nothing on its node, too": {"CREATE", mirror(pod("a:1")), nil, mirror(pod("a:1"))},
		"a Deployment is never changed":                        {"CREATE", deployment("a:1"), nil, deployment("a:1")},
		"nor what is deleted":                                  {"DELETE", nil, pod("a:1"), nil},
		"nor what is connected to":                             {"CONNECT", pod("a:1"), nil, pod("a:1")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := send(t, newPinning(&pinner{}), reviewOf(t, tt.operation, tt.object, tt.old))
			if !got.Allowed || got.UID != "705ab4f5" {
				t.Errorf("allowed is %t (UID %q)", got.Allowed, got.UID)
			}
			if diff := cmp.Diff(tree(t, tt.want), patched(t, tt.object, got)); diff != "" {
				t.Errorf("the object as patched, -want +got:\n%s", diff)
			}
		})
	}
}

func debugged(p *corev1.Pod, img string) *corev1.Pod {
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: img}}}
	return p
}

func tree(t testing.TB, object any) any {
	t.Helper()
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var root any
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	return root
}

// patched is the object with the answer's patch, by a reading of RFC 6902 of the
// tests' own: replace, of what is there, is all that is allowed.
func patched(t testing.TB, object any, answer *admissionv1.AdmissionResponse) any {
	t.Helper()
	root := tree(t, object)
	if (answer.PatchType == nil) != (answer.Patch == nil) || answer.PatchType != nil && *answer.PatchType != admissionv1.PatchTypeJSONPatch {
		t.Fatalf("got patch %s of type %v", answer.Patch, answer.PatchType)
	}
	if answer.Patch == nil {
		return root
	}
	var operations []struct{ Op, Path, Value string }
	if err := json.Unmarshal(answer.Patch, &operations); err != nil || len(operations) == 0 {
		t.Fatalf("the patch %s: %v", answer.Patch, err)
	}
	for _, o := range operations {
		steps := strings.Split(strings.TrimPrefix(o.Path, "/"), "/")
		node := root
		for _, step := range steps[:len(steps)-1] {
			node = child(t, node, step)
		}
		last := steps[len(steps)-1]
		if before := child(t, node, last); o.Op != "replace" || !strings.HasPrefix(o.Value, fmt.Sprint(before)+"@sha256:") {
			t.Errorf("%+v replaces %q", o, before)
		}
		node.(map[string]any)[last] = o.Value
	}
	return root
}

func child(t testing.TB, node any, step string) any {
	t.Helper()
	switch node := node.(type) {
	case map[string]any:
		if value, ok := node[step]; ok {
			return value
		}
	case []any:
		var i int
		if _, err := fmt.Sscanf(step, "%d", &i); err == nil && i < len(node) {
			return node[i]
		}
	}
	t.Fatalf("there is no %q in %v", step, node)
	return nil
}

func TestPinningTellsWhatItDid(t *testing.T) {
	t.Parallel()
	const left = `container "c1": "unknown:1" is not pinned: HSS knows no such image [policy p]`
	pinned := `container "c0": a:1@` + pinDigest
	review := reviewOf(t, "CREATE", pod("a:1", "unknown:1"), nil)
	patchType := admissionv1.PatchTypeJSONPatch
	for name, c := range map[string]struct {
		body   []byte
		change func(*webhook.Options)
		want   *admissionv1.AdmissionResponse
		counts map[string]float64
	}{
		"a pod": {review, nil, &admissionv1.AdmissionResponse{
			PatchType: &patchType, Patch: fmt.Appendf(nil, `[{"op":"replace","path":"/spec/containers/0/image","value":"a:1@%s"}]`, pinDigest),
			Warnings: []string{left}, AuditAnnotations: map[string]string{"pinned": pinned, "not-pinned": left},
		}, map[string]float64{"pinned/": 1, "left/notFound": 1}},
		"a pod that is only tried is told the same and not counted": {byAlice(t, review, true), nil, &admissionv1.AdmissionResponse{
			PatchType: &patchType, Patch: fmt.Appendf(nil, `[{"op":"replace","path":"/spec/containers/0/image","value":"a:1@%s"}]`, pinDigest),
			Warnings: []string{left}, AuditAnnotations: map[string]string{"pinned": pinned, "not-pinned": left},
		}, map[string]float64{}},
		"a gate that runs dry changes nothing": {review, dryRun, &admissionv1.AdmissionResponse{
			Warnings:         []string{left, "would be pinned, but hssgate runs dry: " + pinned},
			AuditAnnotations: map[string]string{"not-pinned": left, "dry-run": "true"},
		}, map[string]float64{"left/dryRun": 1, "left/notFound": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry := prometheus.NewRegistry()
			change := func(o *webhook.Options) {
				if o.Metrics = webhook.NewMetrics(registry); c.change != nil {
					c.change(o)
				}
			}
			got := send(t, newPinning(&pinner{}, change), c.body)
			c.want.Allowed, c.want.UID = true, "705ab4f5"
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(c.counts, pinCounts(t, registry)); diff != "" {
				t.Errorf("counted, -want +got:\n%s", diff)
			}
		})
	}
}

// pinCounts are the values of hssgate_pins_total by OUTCOME/REASON.
func pinCounts(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "hssgate_pins_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			counts[m.GetLabel()[0].GetValue()+"/"+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
		}
	}
	return counts
}

// Whatever goes wrong, the pod comes in as it is, and its tags are judged.
func TestWhatCannotBePinnedIsAdmittedAsItIs(t *testing.T) {
	t.Parallel()
	small := func(o *webhook.Options) { o.MaxReviewBytes = 1 << 10 }
	notReady := func(o *webhook.Options) { o.Ready = func() error { return fmt.Errorf("policies aren't known yet") } }
	review := reviewOf(t, "CREATE", pod("a:1"), nil)
	for name, c := range map[string]struct {
		pinner webhook.Pinner
		change func(*webhook.Options)
		body   []byte
		says   string
		reason string
	}{
		"a panic":              {&pinner{panic: true}, dryRun, review, "internal error", "failed/InternalError"},
		"a gate that is new":   {&pinner{}, notReady, review, "not ready: policies aren't known yet", "failed/ServiceUnavailable"},
		"a review that is cut": {&pinner{}, dryRun, review[:len(review)-40], "decode AdmissionReview", "failed/BadRequest"},
		"a huge review":        {&pinner{}, small, bytes.Replace(review, []byte(`"a:1"`), []byte(`"`+strings.Repeat("a", 2000)+`"`), 1), "too large", "failed/RequestEntityTooLarge"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry := prometheus.NewRegistry()
			got := send(t, newPinning(c.pinner, c.change, func(o *webhook.Options) { o.Metrics = webhook.NewMetrics(registry) }), c.body)
			if !got.Allowed || got.Patch != nil || len(got.Warnings) != 1 || got.AuditAnnotations["not-pinned"] != got.Warnings[0] {
				t.Fatalf("got %+v", got)
			}
			if !strings.HasPrefix(got.Warnings[0], "hssgate cannot pin images: ") || !strings.Contains(got.Warnings[0], c.says) {
				t.Errorf("got warning %q, want …%s…", got.Warnings[0], c.says)
			}
			if diff := cmp.Diff(map[string]float64{c.reason: 1}, pinCounts(t, registry)); diff != "" {
				t.Errorf("counted, -want +got:\n%s", diff)
			}
		})
	}
}

func TestPinningIsSilentWhereNothingIsToBePinned(t *testing.T) {
	t.Parallel()
	notReady := func(o *webhook.Options) { o.Ready = func() error { return fmt.Errorf("starting") } }
	exempt := bytes.Replace(reviewOf(t, "CREATE", pod("a:1"), nil), []byte(`"namespace":"prod"`), []byte(`"namespace":"kube-system"`), 1)
	for name, body := range map[string][]byte{
		"an exempt namespace":             exempt,
		"an update that brings no image":  reviewOf(t, "UPDATE", pod("a:1"), pod("a:1")),
		"a workload":                      reviewOf(t, "CREATE", deployment("a:1"), nil),
		"a workload of which half is cut": reviewOf(t, "CREATE", deployment("a:1"), nil)[:200],
	} {
		got := send(t, newPinning(&pinner{}, notReady), body)
		if diff := cmp.Diff(&admissionv1.AdmissionResponse{UID: "705ab4f5", Allowed: true}, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestPinsAreLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := newPinning(&pinner{}, func(o *webhook.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	for range 3 {
		send(t, h, reviewOf(t, "CREATE", pod("a:1", "unknown:1"), nil))
	}
	if n := strings.Count(log.String(), `msg="not pinned"`); n != 1 || strings.Contains(log.String(), "msg=pinned") {
		t.Errorf("got log:\n%s", log.String())
	}
}

// Both webhooks share what may be read at once, and their reviews are counted
// apart.
func TestPinningIsNotCountedAsAdmission(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	send(t, newPinning(&pinner{}, func(o *webhook.Options) { o.Metrics = webhook.NewMetrics(registry) }), reviewOf(t, "CREATE", pod("a:1"), nil))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "hssgate_admission_reviews_total" && m.GetCounter().GetValue() != 0 {
				t.Errorf("got %v", m)
			}
			if family.GetName() == "hssgate_pin_duration_seconds" && m.GetHistogram().GetSampleCount() != 1 {
				t.Errorf("got %v", m)
			}
		}
	}
}

// Whatever pod comes, the patch changes the images that have no digest, each in
// its place, and nothing else.
func FuzzThePatchedPodIsThePodWithItsImagesPinned(f *testing.F) {
	f.Add([]byte(`{"containers":[{"name":"a","image":"a:1"}],"volumes":[{"name":"e"},{"name":"m","image":{"reference":"m"}}]}`))
	f.Add([]byte(`{"initContainers":[{"name":"a","image":"a:1@sha256:b"},{"name":"b"},{"name":"c","image":"unknown"}],"ephemeralContainers":[{"image":"\u0061\""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var spec corev1.PodSpec
		if json.Unmarshal(data, &spec) != nil {
			return
		}
		before := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: spec}
		got := send(t, newPinning(&pinner{}), reviewOf(t, "CREATE", before, nil))
		if !got.Allowed {
			t.Fatalf("denied: %+v", got.Result)
		}
		if len(got.Warnings) > 0 && strings.HasPrefix(got.Warnings[0], "hssgate cannot pin") {
			return
		}
		want := asPinned(before)
		if diff := cmp.Diff(tree(t, want), patched(t, before, got), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		again := send(t, newPinning(&pinner{}), reviewOf(t, "CREATE", want, nil))
		if again.Patch != nil {
			t.Errorf("it is patched again: %s", again.Patch)
		}
	})
}

func asPinned(before *corev1.Pod) *corev1.Pod {
	after := before.DeepCopy()
	pin := func(img *string) {
		if *img != "" && !strings.Contains(*img, "@") && !strings.HasPrefix(*img, "unknown") {
			*img += "@" + pinDigest
		}
	}
	for i := range after.Spec.InitContainers {
		pin(&after.Spec.InitContainers[i].Image)
	}
	for i := range after.Spec.Containers {
		pin(&after.Spec.Containers[i].Image)
	}
	for i := range after.Spec.EphemeralContainers {
		pin(&after.Spec.EphemeralContainers[i].Image)
	}
	for i := range after.Spec.Volumes {
		if v := after.Spec.Volumes[i].Image; v != nil {
			pin(&v.Reference)
		}
	}
	return after
}

// slowPinner takes all the time there is.
type slowPinner struct{}

func (slowPinner) Pin(ctx context.Context, _ gate.Request) gate.Pinning {
	<-ctx.Done()
	return gate.Pinning{Notices: []string{"time was up"}}
}

func TestPinningAnswersInTime(t *testing.T) {
	t.Parallel()
	h := newPinning(slowPinner{}, func(o *webhook.Options) { o.DefaultTimeout, o.TimeoutMargin = 4*time.Second, 2*time.Second })
	body := reviewOf(t, "CREATE", pod("a:1"), nil)
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/mutate", bytes.NewReader(body)))
	got := readAnswer(t, recorder.Result())
	if !got.Allowed || got.Patch != nil || !cmp.Equal(got.Warnings, []string{"time was up"}) {
		t.Errorf("got %+v", got)
	}
}

// Pins count as decisions do, of which there may be only so many at once.
func TestPinningIsBounded(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		most   int64
		pinned bool
	}{
		"a pod that fits is pinned":           {4 << 10, true},
		"one for which there's no room isn't": {4<<10 - 1, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &pinner{}
			got := send(t, newPinning(p, within(webhook.IntakeOptions{MaxUnderWay: tt.most})), reviewOf(t, "CREATE", pod("a:1", "b:1"), nil))
			if !got.Allowed || (got.Patch != nil) != tt.pinned || (len(p.asked) > 0) != tt.pinned {
				t.Errorf("allowed %t, patch %s, asked %v", got.Allowed, got.Patch, p.asked)
			}
			if warned := strings.Contains(strings.Join(got.Warnings, "\n"), "too many reviews at once"); warned == tt.pinned {
				t.Errorf("warnings: %q", got.Warnings)
			}
		})
	}
}

func TestAPolicyIsToldThatItPinsNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		pin         bool
		enforcement v1alpha1.Enforcement
		validator   webhook.PolicyValidator
		want        string
	}{
		"one that denies pins":             {pin: true},
		"one that warns pins":              {pin: true, enforcement: v1alpha1.EnforcementWarn},
		"one that audits doesn't":          {pin: true, enforcement: v1alpha1.EnforcementAudit, want: "while spec.enforcement is Audit"},
		"nobody pins without a webhook":    {pin: true, validator: webhook.PolicyValidator{NoPinning: true}, want: "pin.enabled of the chart"},
		"and who doesn't ask needn't know": {validator: webhook.PolicyValidator{NoPinning: true}},
		"nor does an audit without pins":   {enforcement: v1alpha1.EnforcementAudit},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &v1alpha1.ImageScanPolicy{Spec: v1alpha1.ImageScanPolicySpec{Pin: tt.pin, Enforcement: tt.enforcement}}
			created, err := tt.validator.ValidateCreate(t.Context(), p)
			if err != nil {
				t.Error(err)
			}
			updated, err := tt.validator.ValidateUpdate(t.Context(), &v1alpha1.ImageScanPolicy{Spec: v1alpha1.ImageScanPolicySpec{Enforcement: v1alpha1.EnforcementWarn, Templates: v1alpha1.TemplateDeny}}, p)
			if err != nil {
				t.Error(err)
			}
			for _, got := range []admission.Warnings{created, updated} {
				if said := strings.Join(got, "\n"); !strings.Contains(said, tt.want) || (said == "") != (tt.want == "") {
					t.Errorf("warnings %q, want one with %q", said, tt.want)
				}
			}
		})
	}
}
