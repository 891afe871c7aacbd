package cluster_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fewReviews is how many may fail when a replica is killed or hangs. One fails for
// each connection on which it waits, and until kubelet notices, for each new
// connection that leads to this replica: half of them, so the next one or two don't.
const fewReviews = 20

// testRollingUpdate replaces both replicas one after the other.
func testRollingUpdate(t *testing.T, c *cluster) {
	c.enforce(t)
	before := c.replicas(t)
	load := c.load(t)
	c.kubectl(t, "-n", namespace, "rollout", "restart", "deployment/"+release)
	c.awaitReplaced(t, before...)
	load.finish(t, 0)
}

// testEviction evicts one replica, as a drain of its node does.
func testEviction(t *testing.T, c *cluster) {
	c.enforce(t)
	before := c.replicas(t)
	load := c.load(t)
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: before[0].Name, Namespace: namespace}}
	must(t, c.client.PolicyV1().Evictions(namespace).Evict(t.Context(), eviction))
	c.awaitReplaced(t, before[0])
	load.finish(t, 0)
}

// testAllDeleted deletes both replicas at once. Those that terminate serve until
// new ones are ready, or for the 15 s of preStopSleepSeconds and shutdownDelay.
func testAllDeleted(t *testing.T, c *cluster) {
	c.enforce(t)
	before := c.replicas(t)
	load := c.load(t)
	c.kubectl(t, "-n", namespace, "delete", "--wait=false", "pod", before[0].Name, before[1].Name)
	c.replicas(t)
	inTime := !c.isGone(t, before[0]) && !c.isGone(t, before[1])
	c.awaitReplaced(t, before...)
	if inTime {
		load.finish(t, 0)
	} else {
		t.Log("on this machine, new replicas take longer to start than the old ones go on serving")
		load.finish(t, len(load.times))
	}
}

// testLeaderKilled kills the process of the leader, as the kernel does when its
// memory is used up. The API server sends no review twice.
func testLeaderKilled(t *testing.T, c *cluster) {
	c.enforce(t)
	leader, identity := c.leader(t)
	load := c.load(t)
	c.exec(t, "kill", "-s", "KILL", c.process(t, leader))
	c.awaitPod(t, namespace, leader.Name, func(pod *corev1.Pod) bool {
		return pod.Status.ContainerStatuses[0].RestartCount > leader.Status.ContainerStatuses[0].RestartCount && isReady(pod)
	})
	eventually(t, func() error {
		if _, now := c.leader(t); now == identity {
			return fmt.Errorf("the leader is still %s, which was killed", now)
		}
		return nil
	})
	load.finish(t, fewReviews)
}

// testReplicaStopped stops one replica without ending it, as a machine does that
// hangs: its port accepts connections, and nothing answers.
func testReplicaStopped(t *testing.T, c *cluster) {
	c.enforce(t)
	stopped := c.replicas(t)[0]
	process := c.process(t, stopped)
	load := c.load(t)
	c.exec(t, "kill", "-s", "STOP", process)
	c.awaitPod(t, namespace, stopped.Name, func(pod *corev1.Pod) bool { return !isReady(pod) })
	load.finish(t, fewReviews)

	// Reviews work while the replica is still stopped.
	c.failsNone(t, 5*rate)
	if status := c.exec(t, "cat", "/proc/"+process+"/status"); !strings.Contains(status, "State:\tT (stopped)") {
		t.Errorf("the replica is not stopped any more, so the reviews prove nothing:\n%s", status)
	}
	c.exec(t, "kill", "-s", "CONT", process)
}

// replicas returns hssgate's pods, without those that terminate, once two are ready.
func (c *cluster) replicas(t *testing.T) []corev1.Pod {
	t.Helper()
	var replicas []corev1.Pod
	eventually(t, func() error {
		pods, err := c.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return err
		}
		replicas = slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil || !isReady(&pod) })
		if len(replicas) != 2 {
			return fmt.Errorf("%d replicas are ready, want 2", len(replicas))
		}
		return nil
	})
	return replicas
}

// awaitReplaced waits until pods are gone and two replicas are ready.
func (c *cluster) awaitReplaced(t *testing.T, pods ...corev1.Pod) {
	t.Helper()
	for _, pod := range pods {
		eventually(t, func() error {
			if !c.isGone(t, pod) {
				return fmt.Errorf("pod %s still exists", pod.Name)
			}
			return nil
		})
	}
	c.replicas(t)
}

func (c *cluster) isGone(t *testing.T, pod corev1.Pod) bool {
	t.Helper()
	_, err := c.client.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err != nil
}

// leader returns the replica that is the leader, and the identity by which it is.
func (c *cluster) leader(t *testing.T) (leader corev1.Pod, identity string) {
	t.Helper()
	eventually(t, func() error {
		lease, err := c.client.CoordinationV1().Leases(namespace).Get(t.Context(), release, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if lease.Spec.HolderIdentity != nil {
			identity = *lease.Spec.HolderIdentity
		}
		name, _, _ := strings.Cut(identity, "_")
		pod, err := c.client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("the pod of the leader %q: %w", identity, err)
		}
		leader = *pod
		return nil
	})
	return leader, identity
}

// process returns the ID of a replica's process on the node.
func (c *cluster) process(t *testing.T, pod corev1.Pod) string {
	t.Helper()
	for _, pid := range c.processes(t) {
		if strings.Contains(c.exec(t, "cat", "/proc/"+pid+"/environ"), "HOSTNAME="+pod.Name+"\x00") {
			return pid
		}
	}
	t.Fatalf("no process of pod %s", pod.Name)
	return ""
}

// processes returns the IDs of hssgate's processes on the node.
func (c *cluster) processes(t *testing.T) []string {
	t.Helper()
	return strings.Fields(c.exec(t, "pgrep", "-f", "^/hssgate serve"))
}
