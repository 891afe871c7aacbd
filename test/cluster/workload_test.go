package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testImages tries a bad image in each place of a pod that can name one.
func testImages(t *testing.T, c *cluster) {
	c.enforce(t)
	for place, put := range map[string]func(*corev1.PodSpec, string){
		"container": func(s *corev1.PodSpec, image string) { s.Containers[0].Image = image },
		"init-container": func(s *corev1.PodSpec, image string) {
			s.InitContainers = []corev1.Container{newContainer("init", image)}
			s.InitContainers[0].Command = []string{"/bin/busybox", "true"}
		},
		"image-volume": func(s *corev1.PodSpec, image string) {
			s.Volumes = []corev1.Volume{{Name: "files", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image}}}}
			s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "files", MountPath: "/files"}}
		},
	} {
		t.Run(place, func(t *testing.T) {
			good, bad := newPod("good-"+place, goodImage), newPod("bad-"+place, goodImage)
			put(&good.Spec, goodImage)
			put(&bad.Spec, badImage)
			c.startPod(t, shop, good)
			if place == "image-volume" {
				if got := c.kubectl(t, "-n", shop, "exec", good.Name, "--", "/bin/busybox", "cat", "/files/www/index.html"); got != "good" {
					t.Errorf("the file of the image volume holds %q", got)
				}
			}
			checkDenied(t, c.createPod(t.Context(), shop, bad))
		})
	}
	t.Run("ephemeral container", func(t *testing.T) { testEphemeral(t, c) })
}

// testEphemeral adds containers to a pod that runs.
func testEphemeral(t *testing.T, c *cluster) {
	pod := c.startPod(t, shop, newPod("debugged", goodImage))
	for _, image := range []string{badImage, goodImage} {
		container := newContainer("debugger", image)
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: container.Name, Image: image, SecurityContext: container.SecurityContext,
			Command: []string{"/bin/busybox", "sleep", "3600"},
		}}}
		_, err := c.client.CoreV1().Pods(shop).UpdateEphemeralContainers(t.Context(), pod.Name, pod, metav1.UpdateOptions{})
		if image == badImage {
			checkDenied(t, err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	c.awaitPod(t, shop, pod.Name, func(pod *corev1.Pod) bool {
		return len(pod.Status.EphemeralContainerStatuses) > 0 && pod.Status.EphemeralContainerStatuses[0].State.Running != nil
	})
}

func checkDenied(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "severity High") {
		t.Errorf("got %v, want a denial that names severity High", err)
	}
}

// workloads are the kinds that make pods, and the kind whose controller creates
// them and says why it can't.
var workloads = map[string]string{
	"Deployment": "ReplicaSet", "StatefulSet": "StatefulSet", "DaemonSet": "DaemonSet", "Job": "Job", "CronJob": "Job",
}

// testWorkloads has controllers make pods of good and bad images. A bad workload
// is created with a warning; its pods are denied.
func testWorkloads(t *testing.T, c *cluster) {
	c.enforce(t)
	for kind := range workloads {
		c.apply(t, workload(t, kind, goodImage))
		if out := c.apply(t, workload(t, kind, badImage)); !strings.Contains(out, "Warning:") || !strings.Contains(out, "severity High") {
			t.Errorf("%s: want a warning that names severity High, got %s", kind, out)
		}
	}
	for kind, creator := range workloads {
		c.awaitWorkload(t, strings.ToLower(kind)+"-good")
		c.awaitRefusal(t, creator, strings.ToLower(kind)+"-bad")
	}
	pods, err := c.client.CoreV1().Pods(shop).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	for _, pod := range pods.Items {
		if strings.HasSuffix(pod.Labels["app"], "-bad") {
			t.Errorf("pod %s has a bad image", pod.Name)
		}
	}
	c.kubectl(t, "-n", shop, "delete", "deployments,statefulsets,daemonsets,cronjobs,jobs", "--all")
}

// workload returns the manifest of a workload whose pods are labelled with its
// name.
func workload(t *testing.T, kind, image string) string {
	t.Helper()
	type object = map[string]any
	name := strings.ToLower(kind) + "-good"
	if image == badImage {
		name = strings.ToLower(kind) + "-bad"
	}
	labels := object{"app": name}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}}, Spec: podSpec(image)}
	spec, version := object{"selector": object{"matchLabels": labels}, "template": &template}, "apps/v1"
	if kind == "Job" || kind == "CronJob" {
		version = "batch/v1"
		template.Spec.RestartPolicy = corev1.RestartPolicyNever
		template.Spec.Containers[0].Command = []string{"/bin/busybox", "true"}
		spec = object{"template": &template}
	}
	if kind == "CronJob" {
		spec = object{"schedule": "* * * * *", "jobTemplate": object{"spec": spec}}
	}
	return toYAML(t, object{"apiVersion": version, "kind": kind, "metadata": object{"name": name, "namespace": shop}, "spec": spec})
}

// awaitWorkload waits until a pod of the workload is ready or done.
func (c *cluster) awaitWorkload(t *testing.T, name string) {
	t.Helper()
	eventually(t, func() error {
		pods, err := c.client.CoreV1().Pods(shop).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if isReady(&pod) || pod.Status.Phase == corev1.PodSucceeded {
				return nil
			}
		}
		return fmt.Errorf("%s has %d pods, none of which is ready or done", name, len(pods.Items))
	})
}

// awaitRefusal waits for the event that tells a user why there are no pods.
func (c *cluster) awaitRefusal(t *testing.T, kind, name string) {
	t.Helper()
	eventually(t, func() error {
		events, err := c.client.CoreV1().Events(shop).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=FailedCreate,involvedObject.kind=" + kind})
		if err != nil {
			return err
		}
		for _, event := range events.Items {
			if strings.HasPrefix(event.InvolvedObject.Name, name) && strings.Contains(event.Message, "severity High") {
				return nil
			}
		}
		return fmt.Errorf("%s %s has no FailedCreate event with the reason, among %d", kind, name, len(events.Items))
	})
}

// testStaticPod shows a limit: kubelet runs the manifests in its folder whatever
// the API server says. The API server only refuses to show such a pod.
func testStaticPod(t *testing.T, c *cluster) {
	c.enforce(t)
	file := filepath.Join(c.data, "static-pods", "static.yaml")
	pod := newPod("static", badImage)
	pod.Namespace, pod.APIVersion, pod.Kind = shop, "v1", "Pod"
	pod.Spec.Containers[0].Args = []string{"sleep", "987654"}
	must(t, os.WriteFile(file, []byte(toYAML(t, pod)), 0o600))
	t.Cleanup(func() { _ = os.Remove(file) })
	eventually(t, func() error {
		return c.command(t.Context(), "exec", "pgrep", "-f", "^/bin/busybox sleep 987654").Run()
	})
	if _, err := c.client.CoreV1().Pods(shop).Get(t.Context(), "static-node1", metav1.GetOptions{}); err == nil {
		t.Error("the API server shows the static pod, want it denied")
	}
}

// testPinning moves a tag after HSS has scanned it: the pod runs what was
// scanned.
func testPinning(t *testing.T, c *cluster) {
	c.enforce(t)
	scanned := c.pushApp(t, "pinned", "scanned")
	c.hss.know(t, newImageRow("pinned", scanned))
	if moved := c.pushApp(t, "pinned", "moved"); moved == scanned {
		t.Fatal("both images have the same digest")
	}
	c.newNamespace(t, "pinned", "pinned=yes")
	c.apply(t, `{apiVersion: hssgate.io/v1alpha1, kind: ImageScanPolicy, metadata: {name: pinned},
		spec: {pin: true, match: {namespaceSelector: {matchLabels: {pinned: "yes"}}}}}`)
	var pod *corev1.Pod
	eventually(t, func() error { // the policy and the inventory take a moment
		var err error
		pod = newPod("app", "swr.cn-north-4.myhuaweicloud.com/prod/pinned:1")
		pod, err = c.client.CoreV1().Pods("pinned").Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && !strings.HasSuffix(pod.Spec.Containers[0].Image, "@"+scanned) {
			err = fmt.Errorf("the image is %s", pod.Spec.Containers[0].Image)
		}
		return err
	})
	pod = c.startPod(t, "pinned", newPod("app", "swr.cn-north-4.myhuaweicloud.com/prod/pinned:1"))
	if id := pod.Status.ContainerStatuses[0].ImageID; !strings.HasSuffix(id, scanned) {
		t.Errorf("the container runs %s, want %s", id, scanned)
	}
	if got := c.kubectl(t, "-n", "pinned", "exec", "app", "--", "/bin/busybox", "cat", "/www/index.html"); got != "scanned" {
		t.Errorf("it serves %q", got)
	}
	c.kubectl(t, "delete", "imagescanpolicy", "pinned")
	c.deleteNamespace(t, "pinned")
}
