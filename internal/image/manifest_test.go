package image_test

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"github.com/hssgate/hssgate/internal/image"
)

func everyPlace() corev1.PodSpec {
	return corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "setup", Image: "setup:1"}},
		Containers:     []corev1.Container{{Name: "app", Image: "app:1", Env: []corev1.EnvVar{{Name: "image", Value: "not:one"}}}, {Name: "proxy", Image: "proxy:1"}},
		EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "debug", Image: "debug:1"}}},
		Volumes: []corev1.Volume{
			{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "model", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "model:1"}}},
		},
	}
}

var everyUse = []image.Use{
	{Place: image.PlaceInitContainer, Name: "setup", Image: "setup:1"},
	{Place: image.PlaceContainer, Name: "app", Image: "app:1"},
	{Place: image.PlaceContainer, Name: "proxy", Image: "proxy:1"},
	{Place: image.PlaceEphemeralContainer, Name: "debug", Image: "debug:1"},
	{Place: image.PlaceVolume, Name: "model", Image: "model:1"},
}

func TestWorkloadReadsEveryKind(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"app": "web"}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: everyPlace()}
	tests := map[string]struct {
		group, kind string
		object      any
		template    bool
	}{
		"Pod":                   {"", "Pod", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: everyPlace()}, false},
		"PodTemplate":           {"", "PodTemplate", corev1.PodTemplate{Template: template}, true},
		"ReplicationController": {"", "ReplicationController", corev1.ReplicationController{Spec: corev1.ReplicationControllerSpec{Template: &template}}, true},
		"Deployment":            {"apps", "Deployment", appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: template}}, true},
		"StatefulSet":           {"apps", "StatefulSet", appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Template: template}}, true},
		"DaemonSet":             {"apps", "DaemonSet", appsv1.DaemonSet{Spec: appsv1.DaemonSetSpec{Template: template}}, true},
		"ReplicaSet":            {"apps", "ReplicaSet", appsv1.ReplicaSet{Spec: appsv1.ReplicaSetSpec{Template: template}}, true},
		"Job":                   {"batch", "Job", batchv1.Job{Spec: batchv1.JobSpec{Template: template}}, true},
		"CronJob": {"batch", "CronJob", batchv1.CronJob{Spec: batchv1.CronJobSpec{
			JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}}}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := decode(t, tt.object).Workload(tt.group, tt.kind)
			want := image.Workload{Kind: tt.kind, Template: tt.template, Labels: labels, Uses: everyUse}
			if diff := cmp.Diff(want, got); diff != "" || !ok {
				t.Errorf("Workload = %t (-want +got):\n%s", ok, diff)
			}
		})
	}
}

func TestKindsOfOtherGroupsHoldNoImages(t *testing.T) {
	t.Parallel()
	for _, gk := range [][2]string{{"", "Service"}, {"apps", "Pod"}, {"example.com", "Deployment"}, {"autoscaling", "Scale"}, {"", "pod"}} {
		if image.HoldsImages(gk[0], gk[1]) {
			t.Errorf("HoldsImages(%q, %q) = true", gk[0], gk[1])
		}
		if _, ok := new(image.Manifest).Workload(gk[0], gk[1]); ok {
			t.Errorf("Workload(%q, %q) found one", gk[0], gk[1])
		}
	}
}

func TestATemplateMayLeaveAnImageOutAndAPodMayNot(t *testing.T) {
	t.Parallel()
	spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "later"}}}
	deployment, _ := decode(t, appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: spec}}}).Workload("apps", "Deployment")
	if len(deployment.Uses) != 0 {
		t.Errorf("the deployment has uses %v, want none", deployment.Uses)
	}
	pod, _ := decode(t, corev1.Pod{Spec: spec}).Workload("", "Pod")
	if len(pod.Uses) != 1 {
		t.Errorf("the pod has uses %v, want the one without an image", pod.Uses)
	}
}

func TestManifestFieldNamesAreCaseSensitive(t *testing.T) {
	t.Parallel()
	var m image.Manifest
	if err := json.Unmarshal([]byte(`{"Spec":{"containers":[{"image":"a"}]},"spec":{"Containers":[{"image":"b"}],"containers":[{"Image":"c","image":"d"}]}}`), &m); err != nil {
		t.Fatal(err)
	}
	w, _ := m.Workload("", "Pod")
	if diff := cmp.Diff([]image.Use{{Place: image.PlaceContainer, Image: "d"}}, w.Uses); diff != "" {
		t.Errorf("uses (-want +got):\n%s", diff)
	}
}

func TestManifestRefuses(t *testing.T) {
	t.Parallel()
	labels := make([]string, 10001)
	for i := range labels {
		labels[i] = fmt.Sprintf(`"l%d":""`, i)
	}
	tests := map[string]struct {
		in      string
		tooMany bool
	}{
		"more containers than any pod has":   {`{"spec":{"containers":[` + strings.Repeat(`{},`, 1000) + `{}]}}`, true},
		"more image volumes than any pod":    {`{"spec":{"volumes":[` + strings.Repeat(`{"image":{}},`, 1000) + `{"image":{}}]}}`, true},
		"more labels than any pod has":       {`{"metadata":{"labels":{` + strings.Join(labels, ",") + `}}}`, true},
		"containers that are no array":       {`{"spec":{"containers":{}}}`, false},
		"labels that are no object":          {`{"metadata":{"labels":[]}}`, false},
		"a label that is no string":          {`{"metadata":{"labels":{"a":1}}}`, false},
		"an image that is no string":         {`{"spec":{"containers":[{"image":7}]}}`, false},
		"a field given twice":                {`{"spec":{"containers":[{"image":"good","image":"bad"}]}}`, false},
		"a pod that ends in the middle":      {`{"spec":{"containers":[{"image":"a"}`, false},
		"labels that end in the middle":      {`{"metadata":{"labels":{"a"`, false},
		"a container that is not an object":  {`{"spec":{"containers":["nginx"]}}`, false},
		"a volume that is not an object":     {`{"spec":{"volumes":["nginx"]}}`, false},
		"labels whose key is no JSON string": {`{"metadata":{"labels":{1:"a"}}}`, false},
		"owners that are no list":            {`{"metadata":{"ownerReferences":{}}}`, false},
	}
	for name, tt := range tests {
		var m image.Manifest
		if err := json.Unmarshal([]byte(tt.in), &m); err == nil || errors.Is(err, image.ErrTooMany) != tt.tooMany {
			t.Errorf("%s: Unmarshal = %v, want an error with ErrTooMany: %t", name, err, tt.tooMany)
		}
	}
}

func TestController(t *testing.T) {
	t.Parallel()
	for owners, want := range map[string]image.Owner{
		`[]`: {}, `null`: {},
		`[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-1","uid":"1","controller":true,"blockOwnerDeletion":true}]`: {"apps/v1", "ReplicaSet", "web-1", "1"},
		`[{"kind":"Node","name":"n"}]`: {},
		`[{"kind":"Node","name":"n","controller":false},{"kind":"Job","name":"j","controller":true}]`:         {Kind: "Job", Name: "j"},
		`[` + strings.Repeat(`{"kind":"A","name":"a"},`, 5000) + `{"kind":"B","name":"b","controller":true}]`: {Kind: "B", Name: "b"},
	} {
		var m image.Manifest
		if err := json.Unmarshal([]byte(`{"metadata":{"ownerReferences":`+owners+`}}`), &m); err != nil || m.Metadata.Controller != want {
			t.Errorf("%.200s: got %+v, %v, want %+v", owners, m.Metadata.Controller, err, want)
		}
	}
}

func TestManifestTakesNullForNothing(t *testing.T) {
	t.Parallel()
	var m image.Manifest
	if err := json.Unmarshal([]byte(`{"metadata":{"labels":null},"spec":{"containers":null,"volumes":null,"template":null}}`), &m); err != nil {
		t.Fatal(err)
	}
	if w, ok := m.Workload("", "Pod"); !ok || len(w.Uses) != 0 || len(w.Labels) != 0 {
		t.Errorf("Workload = %+v, %t, want an empty one", w, ok)
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	use := func(name, img string) image.Use {
		return image.Use{Place: image.PlaceContainer, Name: name, Image: img}
	}
	tests := map[string]struct{ now, old, want []image.Use }{
		"everything is new to an empty object":      {[]image.Use{use("a", "x")}, nil, []image.Use{use("a", "x")}},
		"nothing is new if no image changed":        {[]image.Use{use("a", "x")}, []image.Use{use("a", "x")}, nil},
		"an image in another container is known":    {[]image.Use{use("b", "x")}, []image.Use{use("a", "x")}, nil},
		"only the changed image is new":             {[]image.Use{use("a", "x"), use("b", "y")}, []image.Use{use("a", "x"), use("b", "z")}, []image.Use{use("b", "y")}},
		"an image that became empty is new, a typo": {[]image.Use{use("a", "")}, []image.Use{use("a", "x")}, []image.Use{use("a", "")}},
	}
	for name, tt := range tests {
		if diff := cmp.Diff(tt.want, image.Missing(tt.now, tt.old), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestDisplayName(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]image.Metadata{
		"web": {Name: "web", GenerateName: "we"}, "web-7d4-*": {GenerateName: "web-7d4-"}, "": {},
	} {
		if got := m.DisplayName(); got != want {
			t.Errorf("DisplayName of %+v = %q, want %q", m, got, want)
		}
	}
}

func decode(t *testing.T, object any) *image.Manifest {
	t.Helper()
	data, err := stdjson.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	m := &image.Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// What both decoders accept must mean the same: images that hssgate doesn't
// see but the API server does would run unevaluated.
func FuzzManifestMeansWhatTheAPIServerMeans(f *testing.F) {
	pod, err := stdjson.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Spec: everyPlace()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pod)
	f.Add([]byte(`{"spec":{"Containers":[{"image":"b"}],"containers":[{"image":"\u0061:1"}]}}`))
	f.Add([]byte(`{"spec":{"volumes":[{"image":{"reference":"m:1"}},{"image":null}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var m image.Manifest
		if json.Unmarshal(data, &m) != nil {
			return
		}
		var typed corev1.Pod
		if kjson.UnmarshalCaseSensitivePreserveInts(data, &typed) != nil {
			return
		}
		w, _ := m.Workload("", "Pod")
		if diff := cmp.Diff(image.InPodSpec(&typed.Spec), w.Uses, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("uses (-typed +selective):\n%s", diff)
		}
		if diff := cmp.Diff(typed.Labels, w.Labels, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("labels (-typed +selective):\n%s", diff)
		}
	})
}
