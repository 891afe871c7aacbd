package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOfANamespaceOnlyWhatIsAskedForIsKept(t *testing.T) {
	t.Parallel()
	namespace := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: "prod", Labels: map[string]string{"env": "prod"}, Annotations: map[string]string{"a": "b"}, ManagedFields: []metav1.ManagedFieldsEntry{{}},
	}}
	kept, err := keepLabels(namespace)
	want := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "prod", Labels: map[string]string{"env": "prod"}}}
	if diff := cmp.Diff(want, kept); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	if other, err := keepLabels("a tombstone"); other != "a tombstone" || err != nil {
		t.Errorf("got %v, error %v", other, err)
	}
}
