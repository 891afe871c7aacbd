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

// What both decoders accept must mean the same: images that hssgate doesn't
// see but the API server does would run unevaluated.
func FuzzManifestMeansWhatTheAPIServerMeans(f *testing.F) {
	pod, err := stdjson.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Spec: everyPlace()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pod)
	f.Add([]byte(`{"spec":{"Containers":[{"image":"b"}],"containers":[{"image":"\u0061:1"}]}}`))
	f.Add([]byte(`{"metadata":{"labels":null},"spec":{"containers":null,"volumes":null}}`))
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
