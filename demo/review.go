package demo

import (
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// newReview makes the AdmissionReview that an API server would send for a
// sample.
func newReview(s *sample) (*admissionv1.AdmissionReview, error) {
	kind := s.object.GroupVersionKind()
	object, err := raw(s.object)
	if err != nil {
		return nil, err
	}
	old, err := raw(s.old)
	if err != nil {
		return nil, err
	}
	dryRun := false
	request := &admissionv1.AdmissionRequest{
		UID:         uuid.NewUUID(),
		Kind:        metav1.GroupVersionKind(kind),
		Resource:    metav1.GroupVersionResource(resource(kind)),
		SubResource: s.subResource(),
		Name:        s.object.GetName(),
		Namespace:   s.object.GetNamespace(),
		Operation:   s.operation(),
		UserInfo:    authenticationv1.UserInfo{Username: "demo", Groups: []string{"system:authenticated"}},
		Object:      object,
		OldObject:   old,
		DryRun:      &dryRun,
	}
	request.RequestKind, request.RequestResource, request.RequestSubResource = &request.Kind, &request.Resource, request.SubResource
	return &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request:  request,
	}, nil
}

func raw(o *unstructured.Unstructured) (runtime.RawExtension, error) {
	if o == nil {
		return runtime.RawExtension{}, nil
	}
	data, err := o.MarshalJSON()
	if err != nil {
		return runtime.RawExtension{}, fmt.Errorf("write as JSON: %w", err)
	}
	return runtime.RawExtension{Raw: data}, nil
}
