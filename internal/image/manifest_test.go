package image_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"

	"github.com/hssgate/hssgate/internal/image"
)

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

// What both decoders accept must mean the same: images that hssgate doesn't
// see but the API server does would run unevaluated.
func FuzzManifestMeansWhatTheAPIServerMeans(f *testing.F) {
	f.Add([]byte(`{"metadata":{"labels":{"a":"b"}},"spec":{"initContainers":[{"name":"setup","image":"setup:1"}],` +
		`"containers":[{"name":"app","image":"app:1","env":[{"name":"image","value":"not:one"}]},{"name":"proxy","image":"proxy:1"}],` +
		`"ephemeralContainers":[{"name":"debug","image":"debug:1"}],` +
		`"volumes":[{"name":"scratch","emptyDir":{}},{"name":"model","image":{"reference":"model:1"}}]}}`))
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
