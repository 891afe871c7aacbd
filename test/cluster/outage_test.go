package cluster_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testKubeletKilled kills what runs containers; those go on.
func testKubeletKilled(t *testing.T, c *cluster) {
	c.enforce(t)
	before := c.restarts(t)
	load := c.load(t)
	c.control(t, "kill", "KILL", "kubelet", "containerd")
	c.control(t, "start", "containerd", "kubelet")
	c.startPod(t, shop, newPod("after-kubelet", goodImage))
	load.finish(t, 0)
	if after := c.restarts(t); after != before {
		t.Errorf("hssgate has been restarted: %s, before %s", after, before)
	}
	c.kubectl(t, "-n", shop, "delete", "pod", "after-kubelet")
}

// testAPIServerGone has no API server for a minute: longer than the Lease lasts,
// and than the node's, so that kubelet has to report the node anew.
func testAPIServerGone(t *testing.T, c *cluster) {
	const strict = `{apiVersion: hssgate.io/v1alpha1, kind: ImageScanPolicy, metadata: {name: strict}, spec: {require: {scanAge: {max: 1h}}}}`
	c.enforce(t)
	before := c.restarts(t)
	c.control(t, "kill", "KILL", "kube-apiserver")
	time.Sleep(time.Minute) // the outage itself
	started := time.Now()
	c.control(t, "start", "kube-apiserver")
	c.awaitEnforcement(t, started, "the API server starts")
	c.failsNone(t, 5*rate)
	t.Logf("restarts of hssgate: %s, before %s", c.restarts(t), before)

	c.apply(t, strict)
	applied := time.Now()
	eventually(t, func() error {
		if err := c.review(t.Context(), goodImage); err == nil || !strings.Contains(err.Error(), "[policy strict]") {
			return fmt.Errorf("the new policy is not in force: %w", err)
		}
		return nil
	})
	t.Logf("a new policy is in force %s after its creation", time.Since(applied).Round(100*time.Millisecond))
	c.kubectl(t, "delete", "imagescanpolicy", "strict")
	eventually(t, func() error { return c.enforces(t.Context()) })
}

// testPowerCut ends everything at once. All that starts then waits for nothing
// that waits for hssgate.
func testPowerCut(t *testing.T, c *cluster) {
	c.enforce(t)
	c.createDeployment(t, "powered", goodImage, 2)
	c.awaitDeployment(t, "powered")
	c.control(t, "down")
	booted := time.Now()
	c.control(t, "up")
	t.Logf("the API server, kubelet and kube-proxy run %s after the node starts", time.Since(booted).Round(100*time.Millisecond))
	c.findNetwork(t)
	c.connect(t)
	c.awaitRestarted(t, booted)
	c.awaitEnforcement(t, booted, "the node starts")
	c.failsNone(t, 5*rate)
	c.startPod(t, shop, newPod("after-power-cut", goodImage))
	c.kubectl(t, "-n", shop, "delete", "deployment/powered", "pod/after-power-cut")
}

// testGateGone has no gate while pods are deleted. The ReplicaSet tries again
// after ever longer times, at last after 1,000 s, and goes on waiting when hssgate
// is back, until the command of the emergency page.
func testGateGone(t *testing.T, c *cluster) {
	c.enforce(t)
	c.createDeployment(t, "refused", goodImage, 3)
	c.awaitDeployment(t, "refused")
	c.kubectl(t, "-n", namespace, "scale", "deployment/"+release, "--replicas=0")
	c.kubectl(t, "-n", namespace, "wait", "--for=delete", "pod", "-l", selector, "--timeout", patience.String())
	c.kubectl(t, "-n", shop, "delete", "pod", "-l", "app=refused")
	time.Sleep(100 * time.Second) // the outage itself: each wait of the ReplicaSet is twice the one before
	scaled := time.Now()
	c.kubectl(t, "-n", namespace, "scale", "deployment/"+release, "--replicas=2") // as many as in the chart, so Helm sees no conflict
	c.awaitEnforcement(t, scaled, "hssgate is scaled up")
	deployment, err := c.client.AppsV1().Deployments(shop).Get(t.Context(), "refused", metav1.GetOptions{})
	must(t, err)
	t.Logf("%d of 3 pods are back by then", deployment.Status.Replicas)

	command := emergencyCommand(t, "Bring the pods back")
	annotated := time.Now()
	c.exec(t, "sh", "-c", command)
	c.awaitDeployment(t, "refused")
	t.Logf("all pods are back %s after the command; without it, up to 1,000 s", time.Since(annotated).Round(100*time.Millisecond))
	c.kubectl(t, "-n", shop, "delete", "deployment/refused")
}

// emergencyCommand returns the first command below a heading of the emergency page.
func emergencyCommand(t *testing.T, heading string) string {
	t.Helper()
	page, err := os.ReadFile(root + "/docs/emergency.md")
	must(t, err)
	_, section, _ := strings.Cut(string(page), "\n## "+heading+"\n")
	_, block, _ := strings.Cut(section, "\n```sh\n")
	command, _, found := strings.Cut(block, "\n```\n")
	if !found {
		t.Fatalf("docs/emergency.md has no command below %q", heading)
	}
	return command
}

// awaitEnforcement waits until hssgate admits and denies, and logs how long that
// took after an event.
func (c *cluster) awaitEnforcement(t *testing.T, since time.Time, event string) {
	t.Helper()
	eventually(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a connection may be one that leads nowhere
		defer cancel()
		return c.enforces(ctx)
	})
	t.Logf("admissions work %s after %s", time.Since(since).Round(100*time.Millisecond), event)
}

// restarts returns hssgate's pods and how often each has been restarted.
func (c *cluster) restarts(t *testing.T) string {
	t.Helper()
	var restarts []string
	for _, pod := range c.replicas(t) {
		restarts = append(restarts, fmt.Sprintf("%s %d times", pod.Name, pod.Status.ContainerStatuses[0].RestartCount))
	}
	return strings.Join(restarts, ", ")
}

// awaitRestarted waits until the containers of all pods have started since a time
// and are ready. Until kubelet reports a pod anew, the API shows it, and its
// Service routes to it, as it was before the power cut.
func (c *cluster) awaitRestarted(t *testing.T, since time.Time) {
	t.Helper()
	since = since.Truncate(time.Second) // as exact as kubelet's report
	eventually(t, func() error {
		pods, err := c.client.CoreV1().Pods(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
				continue
			}
			for _, container := range pod.Status.ContainerStatuses {
				if running := container.State.Running; running == nil || running.StartedAt.Time.Before(since) || !container.Ready {
					return fmt.Errorf("container %s of pod %s/%s has not restarted: %+v", container.Name, pod.Namespace, pod.Name, container)
				}
			}
		}
		return nil
	})
	t.Logf("all pods are ready again after %s", time.Since(since).Round(100*time.Millisecond))
}

// createDeployment creates a Deployment in the shop.
func (c *cluster) createDeployment(t *testing.T, name, image string, replicas int32) {
	t.Helper()
	labels := map[string]string{"app": name}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec(image)},
		},
	}
	_, err := c.client.AppsV1().Deployments(shop).Create(t.Context(), deployment, metav1.CreateOptions{})
	must(t, err)
}

// awaitDeployment waits until all pods of a Deployment are ready.
func (c *cluster) awaitDeployment(t *testing.T, name string) {
	t.Helper()
	eventually(t, func() error {
		deployment, err := c.client.AppsV1().Deployments(shop).Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && deployment.Status.ReadyReplicas != *deployment.Spec.Replicas {
			err = fmt.Errorf("%d pods of %s are ready, want %d", deployment.Status.ReadyReplicas, name, *deployment.Spec.Replicas)
		}
		return err
	})
}
