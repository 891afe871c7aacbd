package webhook_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"
	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
)

// kind is a kind that holds images: a typed object of it, and where that has its
// pod's metadata and spec.
type kind struct {
	object metav1.Object
	pod    func() (*metav1.ObjectMeta, *corev1.PodSpec)
}

// kinds makes an empty object of every kind that is evaluated.
func kinds() map[schema.GroupKind]kind {
	pod, template := &corev1.Pod{}, &corev1.PodTemplate{}
	controller := &corev1.ReplicationController{Spec: corev1.ReplicationControllerSpec{Template: &corev1.PodTemplateSpec{}}}
	deployment, stateful, daemon, replica := &appsv1.Deployment{}, &appsv1.StatefulSet{}, &appsv1.DaemonSet{}, &appsv1.ReplicaSet{}
	job, cron := &batchv1.Job{}, &batchv1.CronJob{}
	in := func(t *corev1.PodTemplateSpec) func() (*metav1.ObjectMeta, *corev1.PodSpec) {
		return func() (*metav1.ObjectMeta, *corev1.PodSpec) { return &t.ObjectMeta, &t.Spec }
	}
	return map[schema.GroupKind]kind{
		{Kind: "Pod"}:         {pod, func() (*metav1.ObjectMeta, *corev1.PodSpec) { return &pod.ObjectMeta, &pod.Spec }},
		{Kind: "PodTemplate"}: {template, in(&template.Template)},
		{Kind: "ReplicationController"}: {controller, func() (*metav1.ObjectMeta, *corev1.PodSpec) {
			if controller.Spec.Template == nil {
				return &metav1.ObjectMeta{}, &corev1.PodSpec{}
			}
			return &controller.Spec.Template.ObjectMeta, &controller.Spec.Template.Spec
		}},
		{Group: "apps", Kind: "Deployment"}:  {deployment, in(&deployment.Spec.Template)},
		{Group: "apps", Kind: "StatefulSet"}: {stateful, in(&stateful.Spec.Template)},
		{Group: "apps", Kind: "DaemonSet"}:   {daemon, in(&daemon.Spec.Template)},
		{Group: "apps", Kind: "ReplicaSet"}:  {replica, in(&replica.Spec.Template)},
		{Group: "batch", Kind: "Job"}:        {job, in(&job.Spec.Template)},
		{Group: "batch", Kind: "CronJob"}:    {cron, in(&cron.Spec.JobTemplate.Spec.Template)},
	}
}

// typedRequest is what should be decided about a review, found by
// decoding all of it into the API's own types. asks is false if the gate
// should not decide, and ok if the types can't hold the review.
func typedRequest(body []byte) (want gate.Request, asks, ok bool) {
	var review admissionv1.AdmissionReview
	if kjson.UnmarshalCaseSensitivePreserveInts(body, &review) != nil || review.Request == nil {
		return gate.Request{}, false, false
	}
	r := review.Request
	created, updated := r.Operation == admissionv1.Create, r.Operation == admissionv1.Update
	gk := schema.GroupKind{Group: r.Kind.Group, Kind: r.Kind.Kind}
	object, old := kinds()[gk], kinds()[gk]
	if object.object == nil || !created && !updated {
		return gate.Request{}, false, true
	}
	if !decodeObject(r.Object, object.object) || !decodeObject(r.OldObject, old.object) {
		return gate.Request{}, false, false
	}
	metadata, spec := object.pod()
	w := image.Workload{Kind: r.Kind.Kind, Template: r.Kind.Kind != "Pod", Labels: metadata.Labels, Uses: named(image.InPodSpec(spec), r.Kind.Kind)}
	want = gate.Request{Namespace: r.Namespace, Name: typedName(object.object, r)}
	if updated {
		_, before := old.pod()
		w.Uses = image.Missing(w.Uses, named(image.InPodSpec(before), r.Kind.Kind))
	}
	want.Workload = w
	return want, created || len(w.Uses) > 0, true
}

func decodeObject(raw k8sruntime.RawExtension, object any) bool {
	return len(raw.Raw) == 0 || kjson.UnmarshalCaseSensitivePreserveInts(raw.Raw, object) == nil
}

// named leaves out what a template may leave for later.
func named(uses []image.Use, kind string) []image.Use {
	var some []image.Use
	for _, u := range uses {
		if u.Image != "" || kind == "Pod" {
			some = append(some, u)
		}
	}
	return some
}

func typedName(object metav1.Object, r *admissionv1.AdmissionRequest) string {
	switch {
	case object.GetName() != "":
		return object.GetName()
	case object.GetGenerateName() != "":
		return object.GetGenerateName() + "*"
	}
	return r.Name
}

// addReviews adds a creation and an update of every kind.
func addReviews(f *testing.F) {
	f.Helper()
	for gk := range kinds() {
		all := kinds()[gk]
		metadata, spec := all.pod()
		metadata.Annotations = map[string]string{"hssgate.io/break-glass": "INC-7", "other": ""}
		*spec = corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "setup", Image: "setup:1"}},
			Containers:     []corev1.Container{{Name: "app", Image: "app:1", Env: []corev1.EnvVar{{Name: "A", Value: `"\<é`}}}, {Name: "later"}},
			Volumes:        []corev1.Volume{{Name: "model", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "model:1"}}}},
		}
		all.object.SetGenerateName("web-")
		metadata.Labels = map[string]string{"app": "web"}
		for _, operation := range []admissionv1.Operation{admissionv1.Create, admissionv1.Update} {
			body := reviewOf(f, operation, all.object, nil)
			body = bytes.Replace(body, []byte(`"kind":{"group":"","version":"v1","kind":"Pod"}`),
				[]byte(`"kind":{"group":"`+gk.Group+`","version":"v1","kind":"`+gk.Kind+`"}`), 1)
			f.Add(body)
			f.Add(bytes.Replace(body, []byte(`"userInfo":{`), []byte(`"userInfo":{"username":"u","groups":["a","b"],"extra":{"k":["v"]}`), 1))
		}
	}
}

// What the webhook reads of a review must be what the API server means by it,
// whatever the kind, or images would run that no policy evaluated.
func FuzzReviewMeansWhatTheAPIServerMeans(f *testing.F) {
	addReviews(f)
	f.Add(reviewOf(f, "UPDATE", deployment("new", "old"), deployment("old")))
	f.Add(reviewOf(f, "UPDATE", dying(pod("new")), dying(pod("old"))))
	f.Add(bytes.Replace(reviewOf(f, "CREATE", pod("a"), nil), []byte(`"spec":`), []byte(`"Spec":{"containers":[{"image":"b"}]},"spec":`), 1))
	f.Add(bytes.Replace(reviewOf(f, "CREATE", pod("a"), nil), []byte(`"image":"a"`), []byte(`"image":"\u0061","image":"b"`), 1))
	f.Add(bytes.Replace(reviewOf(f, "UPDATE", pod("a"), pod("b")), []byte(`"oldObject":{`), []byte(`"oldObject":{"spec":null,`), 1))
	for _, body := range [][]byte{
		reviewOf(f, "DELETE", nil, pod("bad")), reviewOf(f, "CREATE", pod("good"), nil)[:400], append(reviewOf(f, "CREATE", pod("good"), nil), '{'),
		bytes.Replace(reviewOf(f, "CREATE", pod("a"), nil), []byte(`"image":"a"`), []byte(`"Image":"b","image":"\u0061"`), 1),
		bytes.Replace(reviewOf(f, "CREATE", pod("a"), nil), []byte(`"image":"a"`), []byte("\"image\":\"\xff\""), 1),
		[]byte(`{"request":{"uid":"1","object":` + strings.Repeat("[", 2000) + `}}`),
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d := &decider{decide: func(context.Context, gate.Request) gate.Decision { return gate.Decision{Outcome: gate.Admitted} }}
		if _, got := serve(t.Context(), t, newHandler(d), "/validate", body); !got.Allowed {
			if got.Result.Message == "" {
				t.Errorf("a denial says nothing: %+v", got)
			}
			return // nothing is missed
		}
		want, asks, ok := typedRequest(body)
		if !ok {
			return // the API server would not have sent it
		}
		if asks != (len(d.requests) == 1) {
			t.Fatalf("%d decisions were made, want one: %t", len(d.requests), asks)
		}
		if !asks {
			return
		}
		equal(t, "the decision is about", want, d.requests[0], cmpopts.EquateEmpty())
	})
}
