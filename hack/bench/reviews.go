package main

import (
	_ "embed"
	"encoding/json"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// distinctReviews is how many reviews a load is made of. They differ in what
// real ones differ in, and fit into a processor's cache no better.
const distinctReviews = 256

//go:embed pod.yaml
var podYAML []byte

// newReview returns the creation of the n-th pod as the API server sends it. Each of its three containers has another
// one of the known images.
func newReview(n int) (types.UID, []byte, error) {
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict(podYAML, pod); err != nil {
		return "", nil, fmt.Errorf("read pod.yaml: %w", err)
	}
	pod.Name = fmt.Sprintf("web-7d4b9c6f5d-%05d", n)
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].Image = imageName((3*n + i) % knownImages)
	}
	object, err := json.Marshal(pod)
	if err != nil {
		return "", nil, err
	}
	uid := types.UID(fmt.Sprintf("0f5f4a2e-4c2b-4d7e-9a3b-%012d", n))
	kind := metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}
	resource := metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: uid, Kind: kind, Resource: resource, RequestKind: &kind, RequestResource: &resource,
			Name: pod.Name, Namespace: pod.Namespace, Operation: admissionv1.Create,
			UserInfo: authenticationv1.UserInfo{
				Username: "system:serviceaccount:kube-system:replicaset-controller",
				UID:      "5a0c3d1e-8b7f-4f57-a1c7-2d1f6f3e9b8a",
				Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"},
			},
			Object:  runtime.RawExtension{Raw: object},
			DryRun:  new(false),
			Options: runtime.RawExtension{Raw: []byte(`{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}`)},
		},
	})
	return uid, body, err
}
