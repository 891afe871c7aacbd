package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/webhook"
)

var pinDigest = "sha256:" + strings.Repeat("a", 64)

func newPinning(change ...func(*webhook.Options)) http.Handler {
	return newHandler(&decider{}, change...).Pinning()
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

// in returns the patch of the nth image of each list of a pod.
func in(n int, pinned string, lists ...string) (operations []string) {
	for _, list := range lists {
		path := fmt.Sprintf("/spec/%s/%d/image", list, n)
		if list == "volumes" { // everywhere has another before it
			path = fmt.Sprintf("/spec/volumes/%d/image/reference", n+1)
		}
		operations = append(operations, "replace "+path+" "+pinned)
	}
	return operations
}

func TestPinning(t *testing.T) {
	t.Parallel()
	const containers = "containers"
	all := []string{"initContainers", containers, "ephemeralContainers", "volumes"}
	a, b := "a:1@"+pinDigest, "b:1@"+pinDigest
	type testCase struct {
		operation   admissionv1.Operation
		object, old any
		want        []string
	}
	each(t, map[string]testCase{
		"a tag gets its digest":                                {"CREATE", pod("a:1"), nil, in(0, a, containers)},
		"all places do":                                        {"CREATE", everywhere("a:1", "b:1"), nil, append(in(0, a, all...), in(1, b, all...)...)},
		"what has a digest and what is unknown stay":           {"CREATE", everywhere("unknown:1", "a:1", b), nil, in(1, a, all...)},
		"a pod that is pinned is not changed":                  {"CREATE", everywhere(a, b), nil, nil},
		"a pod without images isn't":                           {"CREATE", pod(), nil, nil},
		"a container without an image isn't":                   {"CREATE", pod("", "a:1"), nil, in(1, a, containers)},
		"an update's new image gets its digest":                {"UPDATE", pod("a:1", "b:1"), pod("a:1", "c:1"), in(1, b, containers)},
		"one that was pinned and is written as a tag again":    {"UPDATE", pod("a:1"), pod(a), in(0, a, containers)},
		"an ephemeral container does":                          {"UPDATE", debugged(pod(a), "b:1"), pod(a), in(0, b, "ephemeralContainers")},
		"an update that brings no image changes nothing":       {"UPDATE", pod("a:1"), pod("a:1"), nil},
		"that of a pod that is being deleted, too":             {"UPDATE", dying(pod("b:1")), dying(pod("a:1")), in(0, b, containers)},
		"a mirror pod, which changes nothing on its node, too": {"CREATE", mirror(pod("a:1")), nil, nil},
		"a Deployment is never changed":                        {"CREATE", deployment("a:1"), nil, nil},
		"nor what is deleted":                                  {"DELETE", nil, pod("a:1"), nil},
		"nor what is connected to":                             {"CONNECT", pod("a:1"), nil, nil},
	}, func(t *testing.T, tt testCase) {
		got := send(t, newPinning(), reviewOf(t, tt.operation, tt.object, tt.old))
		if !got.Allowed || got.UID != "705ab4f5" || (got.PatchType == nil) != (tt.want == nil) || got.PatchType != nil && *got.PatchType != admissionv1.PatchTypeJSONPatch {
			t.Errorf("allowed is %t (UID %q), the patch of type %v", got.Allowed, got.UID, got.PatchType)
		}
		var patch []struct{ Op, Path, Value string }
		if got.Patch != nil {
			must(t, json.Unmarshal(got.Patch, &patch))
		}
		var operations []string
		for _, o := range patch {
			operations = append(operations, o.Op+" "+o.Path+" "+o.Value)
		}
		equal(t, "the patch", tt.want, operations, cmpopts.SortSlices(strings.Compare))
	})
}

func debugged(p *corev1.Pod, img string) *corev1.Pod {
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: img}}}
	return p
}

func TestPinningSaysWhatItDid(t *testing.T) {
	t.Parallel()
	const left = `container "c1": "unknown:1" is not pinned: HSS knows no such image [policy p]`
	pinned := `container "c0": a:1@` + pinDigest
	review := reviewOf(t, "CREATE", pod("a:1", "unknown:1"), nil)
	answer := func() *admissionv1.AdmissionResponse {
		return &admissionv1.AdmissionResponse{
			PatchType: new(admissionv1.PatchTypeJSONPatch), Patch: fmt.Appendf(nil, `[{"op":"replace","path":"/spec/containers/0/image","value":"a:1@%s"}]`, pinDigest),
			Warnings: []string{left}, AuditAnnotations: map[string]string{"pinned": pinned, "not-pinned": left},
		}
	}
	type testCase struct {
		body   []byte
		change func(*webhook.Options)
		want   *admissionv1.AdmissionResponse
		counts map[string]float64
	}
	each(t, map[string]testCase{
		"a pod": {review, nil, answer(), map[string]float64{"pinned/": 1, "left/notFound": 1}},
		"a dry-run request gets the same answer and is not counted": {dryRunRequest(review), nil, answer(), map[string]float64{}},
		"dry-run mode changes nothing": {review, dryRun, &admissionv1.AdmissionResponse{
			Warnings:         []string{left, "would be pinned (dry-run mode): " + pinned},
			AuditAnnotations: map[string]string{"not-pinned": left, "dry-run": "true"},
		}, map[string]float64{"left/dryRun": 1, "left/notFound": 1}},
	}, func(t *testing.T, c testCase) {
		registry := prometheus.NewRegistry()
		change := func(o *webhook.Options) {
			if o.Metrics = webhook.NewMetrics(registry); c.change != nil {
				c.change(o)
			}
		}
		got := send(t, newPinning(change), c.body)
		c.want.Allowed, c.want.UID = true, "705ab4f5"
		equal(t, "the answer", c.want, got)
		equal(t, "counted", c.counts, counted(t, registry, "hssgate_pins_total"))
		if reviews := counted(t, registry, "hssgate_admission_reviews_total"); len(reviews) > 0 {
			t.Errorf("counted as admissions: %v", reviews)
		}
	})
}

// Whatever goes wrong, the pod is admitted as it is, for the validating webhook.
func TestWhatCannotBePinnedIsAdmittedAsItIs(t *testing.T) {
	t.Parallel()
	review := reviewOf(t, "CREATE", pod("a:1"), nil)
	type testCase struct {
		pin    func(context.Context, gate.Request) gate.Pinning
		change func(*webhook.Options)
		body   []byte
		says   string
		reason string
	}
	each(t, map[string]testCase{
		"a panic":              {func(context.Context, gate.Request) gate.Pinning { panic("a bug") }, dryRun, review, "internal error", "failed/InternalError"},
		"a gate that is new":   {nil, notReady, review, "not ready: policies have not been read yet", "failed/ServiceUnavailable"},
		"a review that is cut": {nil, dryRun, review[:len(review)-40], "decode AdmissionReview", "failed/BadRequest"},
		"a huge review":        {nil, dryRun, bytes.Replace(review, []byte(`"a:1"`), []byte(`"`+strings.Repeat("a", 20_000)+`"`), 1), "too large", "failed/RequestEntityTooLarge"},
	}, func(t *testing.T, c testCase) {
		registry := prometheus.NewRegistry()
		h := newHandler(&decider{pin: c.pin}, c.change, func(o *webhook.Options) { o.Metrics = webhook.NewMetrics(registry) })
		got := send(t, h.Limit(webhook.Limits{ReviewBytes: 10 << 10}).Pinning(), c.body)
		if !got.Allowed || got.Patch != nil || len(got.Warnings) != 1 || got.AuditAnnotations["not-pinned"] != got.Warnings[0] {
			t.Fatalf("got %+v", got)
		}
		if !strings.HasPrefix(got.Warnings[0], "hssgate could not pin images: ") || !strings.Contains(got.Warnings[0], c.says) {
			t.Errorf("got warning %q, want …%s…", got.Warnings[0], c.says)
		}
		equal(t, "counted", map[string]float64{c.reason: 1}, counted(t, registry, "hssgate_pins_total"))
	})
}

func TestPinningIsSilentWhereNothingIsToBePinned(t *testing.T) {
	t.Parallel()
	exempt := bytes.Replace(reviewOf(t, "CREATE", pod("a:1"), nil), []byte(`"namespace":"prod"`), []byte(`"namespace":"kube-system"`), 1)
	for name, body := range map[string][]byte{
		"an exempt namespace":             exempt,
		"an update that brings no image":  reviewOf(t, "UPDATE", pod("a:1"), pod("a:1")),
		"a workload":                      reviewOf(t, "CREATE", deployment("a:1"), nil),
		"a workload of which half is cut": reviewOf(t, "CREATE", deployment("a:1"), nil)[:200],
	} {
		got := send(t, newPinning(notReady), body)
		equal(t, name, &admissionv1.AdmissionResponse{UID: "705ab4f5", Allowed: true}, got)
	}
}

func TestPinsAreLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := newPinning(func(o *webhook.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	for range 3 {
		send(t, h, reviewOf(t, "CREATE", pod("a:1", "unknown:1"), nil))
	}
	if n := strings.Count(log.String(), `msg="not pinned"`); n != 1 || strings.Contains(log.String(), "msg=pinned") {
		t.Errorf("got log:\n%s", log.String())
	}
}

func TestPinningIsLimitedAsDecisionsAre(t *testing.T) {
	t.Parallel()
	for name, most := range map[string]int64{"a pod that fits is pinned": 4 << 10, "one without room isn't": 4<<10 - 1} {
		d := &decider{}
		got := send(t, newHandler(d).Limit(webhook.Limits{EvaluatingBytes: most}).Pinning(), reviewOf(t, "CREATE", pod("a:1", "b:1"), nil))
		fits := most == 4<<10
		if !got.Allowed || (got.Patch != nil) != fits || (len(d.requests) > 0) != fits {
			t.Errorf("%s: allowed %t, patch %s, %d requests", name, got.Allowed, got.Patch, len(d.requests))
		}
		if warned := strings.Contains(strings.Join(got.Warnings, "\n"), "too many reviews at once"); warned == fits {
			t.Errorf("%s: warnings %q", name, got.Warnings)
		}
	}
}
