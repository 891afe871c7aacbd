package main

import (
	"encoding/json"
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/image"
)

func newHSS(t *testing.T, images int) *hsstest.Server {
	t.Helper()
	hss := hsstest.NewServer(hsstest.WithImages(imageRows(images)...))
	t.Cleanup(hss.Close)
	return hss
}

func TestReviewsAreOfTheSizeThatIsMeasured(t *testing.T) {
	t.Parallel()
	like, err := readPod()
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]bool{}
	for n := range distinctReviews {
		uid, body, err := newReview(like, n)
		if err != nil {
			t.Fatal(err)
		}
		if len(body) < 5500 || len(body) > 5900 {
			t.Fatalf("the review has %d bytes, want about 5,700", len(body))
		}
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(body, &review); err != nil {
			t.Fatal(err)
		}
		var pod corev1.Pod
		if err := json.Unmarshal(review.Request.Object.Raw, &pod); err != nil {
			t.Fatal(err)
		}
		if review.Request.UID != uid || len(pod.Spec.Containers) != 3 || len(pod.ManagedFields) != 1 {
			t.Fatalf("review %d: UID %q, %d containers, %d managedFields", n, review.Request.UID, len(pod.Spec.Containers), len(pod.ManagedFields))
		}
		for _, use := range image.InPodSpec(&pod.Spec) {
			images[use.Image] = true
		}
	}
	if len(images) != knownImages {
		t.Errorf("the reviews name %d images, want %d", len(images), knownImages)
	}
}

func TestSomeReviewsOfAnOutageNameAnImageThatIsNotKnown(t *testing.T) {
	t.Parallel()
	bodies, err := outageReviews(2 * newImageEvery)
	if err != nil {
		t.Fatal(err)
	}
	for n, body := range bodies {
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(body, &review); err != nil {
			t.Fatal(err)
		}
		var pod corev1.Pod
		if err := json.Unmarshal(review.Request.Object.Raw, &pod); err != nil {
			t.Fatal(err)
		}
		isNew := slices.ContainsFunc(image.InPodSpec(&pod.Spec), func(u image.Use) bool { return u.Image == imageName(knownImages+n) })
		if isNew != hasNewImage(n) {
			t.Errorf("review %d names a new image: %t, want %t", n, isNew, hasNewImage(n))
		}
	}
}
