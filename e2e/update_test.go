package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// testUpdates changes pods that are there. Only an image that an update brings
// in is judged.
func testUpdates(t *testing.T, f *fixture) {
	add(f.hss["main"], row("updates-clean"), row("updates-bad", high))
	s := f.newSpace(t)
	const hanging = "hang.example.com/prod/updates:1"
	// These two are older than the policy.
	s.admitted(t, s.run(t, newPod("dying", hanging, func(p *corev1.Pod) { p.Finalizers = []string{"example.com/wait"} })))
	s.admitted(t, s.run(t, newPod("old", hanging)))
	s.enforce(t, "p")
	t.Run("labels and finalizers don't ask HSS", func(t *testing.T) {
		t.Parallel()
		s := s.with(t)
		s.admitted(t, s.patch(t, "old", `{"metadata":{"labels":{"a":"b"},"finalizers":["example.com/wait"]}}`))
		s.admitted(t, s.patch(t, "old", `{"metadata":{"finalizers":null}}`))
	})
	t.Run("a pod that is being deleted isn't held up while HSS is dead", func(t *testing.T) {
		t.Parallel()
		testDeletion(t, s.with(t))
	})
	t.Run("a pod whose image has turned bad can be labelled", func(t *testing.T) {
		t.Parallel()
		testTurned(t, f, s.with(t))
	})
	t.Run("an update that brings in an image is judged", func(t *testing.T) {
		t.Parallel()
		testNewImage(t, s.with(t))
	})
}

// patch patches a pod.
func (s *space) patch(t *testing.T, pod, patch string) error {
	t.Helper()
	_, err := s.client.CoreV1().Pods(s.name).Patch(t.Context(), pod, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// swap changes the image of a pod's only container.
func (s *space) swap(t *testing.T, pod, image string) error {
	t.Helper()
	return s.patch(t, pod, fmt.Sprintf(`{"spec":{"containers":[{"name":"app","image":%q}]}}`, image))
}

func testDeletion(t *testing.T, s *space) {
	if err := s.client.CoreV1().Pods(s.name).Delete(t.Context(), "dying", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.swap(t, "dying", "hang.example.com/prod/other:1"); err == nil || !strings.Contains(err.Error(), "denied by 1 policy") { // 403, or 503 if HSS took all the time
		t.Errorf("a new image in a pod that is being deleted: %v", err)
	}
	s.admitted(t, s.patch(t, "dying", `{"metadata":{"finalizers":null}}`))
}

func testTurned(t *testing.T, f *fixture, s *space) {
	add(f.hss["main"], row("updates-turns"))
	const image = "main.example.com/prod/updates-turns:1"
	s.admitted(t, s.run(t, newPod("turned", image)))
	change(f.hss["main"], "updates-turns", func(i *hsstest.Image) { high(i) })
	eventually(t, func() error {
		if err := s.try(t, newPod("new", image)); err == nil {
			return errNotYet
		}
		return nil
	})
	s.warnings.take()
	s.admitted(t, s.patch(t, "turned", `{"metadata":{"labels":{"a":"b"}}}`))
}

func testNewImage(t *testing.T, s *space) {
	const clean, bad = "main.example.com/prod/updates-clean:1", "main.example.com/prod/updates-bad:1"
	s.admitted(t, s.run(t, newPod("swapped", clean)))
	s.denied(t, s.swap(t, "swapped", bad), `pod "swapped"`, []string{highLine(s, bad)}, adviseRebuild)
	s.admitted(t, s.swap(t, "swapped", clean+"@"+digest("a")))
	// The pod that is older than the policy, too.
	s.denied(t, s.swap(t, "old", bad), `pod "old"`, []string{highLine(s, bad)}, adviseRebuild)
}
