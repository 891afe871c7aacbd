package e2e_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	cleanImage = "main.example.com/prod/places-clean:1"
	badImage   = "main.example.com/prod/places-bad:1"
)

// testPlaces creates pods whose images stand in every place of a pod.
func testPlaces(t *testing.T, f *fixture) {
	add(f.hss["main"], row("places-clean"), row("places-bad", high))
	s := f.newSpace(t)
	s.enforce(t, "p")
	t.Run("init containers", func(t *testing.T) {
		t.Parallel()
		testInitContainer(t, s.with(t))
	})
	t.Run("image volumes", func(t *testing.T) {
		t.Parallel()
		testImageVolume(t, s.with(t))
	})
	t.Run("ephemeral containers", func(t *testing.T) {
		t.Parallel()
		testEphemeralContainer(t, s.with(t))
	})
	t.Run("all places are told at once", func(t *testing.T) {
		t.Parallel()
		s := s.with(t)
		err := s.run(t, newPod("all", badImage, initContainer(badImage), imageVolume(badImage)))
		s.denied(t, err, `pod "all"`, []string{
			`init container "setup": ` + highFinding(s, badImage),
			highLine(s, badImage),
			`image volume "data": ` + highFinding(s, badImage),
		}, adviseRebuild)
	})
}

func initContainer(image string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{{Name: "setup", Image: image}}
	}
}

func imageVolume(image string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image}}}}
	}
}

func testInitContainer(t *testing.T, s *space) {
	err := s.run(t, newPod("init-bad", cleanImage, initContainer(badImage)))
	s.denied(t, err, `pod "init-bad"`, []string{`init container "setup": ` + highFinding(s, badImage)}, adviseRebuild)
	s.admitted(t, s.run(t, newPod("init-clean", cleanImage, initContainer(cleanImage))))
}

func testImageVolume(t *testing.T, s *space) {
	err := s.run(t, newPod("volume-bad", cleanImage, imageVolume(badImage)))
	s.denied(t, err, `pod "volume-bad"`, []string{`image volume "data": ` + highFinding(s, badImage)}, adviseRebuild)
	s.admitted(t, s.run(t, newPod("volume-clean", cleanImage, imageVolume(cleanImage))))
}

func testEphemeralContainer(t *testing.T, s *space) {
	s.admitted(t, s.run(t, newPod("debugged", cleanImage)))

	t.Log("as a person would")
	_, stderr, err := s.cluster.kubectl(t, "", "debug", "--namespace", s.name, "debugged", "--image", badImage, "--container", "shell")
	if want := `ephemeral container "shell": ` + highFinding(s, badImage); err == nil || !strings.Contains(stderr, want) {
		t.Errorf("kubectl debug: got %v and %q, want %q", err, stderr, want)
	}

	t.Log("as a program would")
	err = s.debug(t, "debugged", "shell", badImage)
	s.denied(t, err, `pod "debugged"`, []string{`ephemeral container "shell": ` + highFinding(s, badImage)}, adviseRebuild)
	s.admitted(t, s.debug(t, "debugged", "shell", cleanImage))
}

// debug adds an ephemeral container to a pod.
func (s *space) debug(t *testing.T, pod, name, image string) error {
	t.Helper()
	pods := s.client.CoreV1().Pods(s.name)
	p, err := pods.Get(t.Context(), pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: image},
	})
	_, err = pods.UpdateEphemeralContainers(t.Context(), pod, p, metav1.UpdateOptions{})
	return err
}
