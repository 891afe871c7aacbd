package cluster_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// processLabel is that of the pods that are processes; kwok pretends the rest.
const processLabel = "e2e.hssgate.io/process"

// syncPeriod is how often the kubelet looks for pods, and how late the balancer
// learns that one is ready or leaves, as endpoints do.
const syncPeriod = 250 * time.Millisecond

// kubelet runs the pods of hssgate's Deployment as processes.
type kubelet struct {
	t          *testing.T
	client     kubernetes.Interface
	kubeconfig []byte
	binary     string
	ctx        context.Context // that of the test, for what runs in the background

	running sync.WaitGroup
	mu      sync.Mutex
	pods    map[types.UID]*pod
	serving []*pod
	started int
}

func newKubelet(t *testing.T, w *world, binary string) *kubelet {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	k := &kubelet{t: t, client: w.client, kubeconfig: w.KubeConfig, binary: binary, ctx: ctx, pods: map[types.UID]*pod{}}
	k.running.Go(k.run)
	t.Cleanup(func() {
		cancel()
		k.running.Wait()
	})
	return k
}

func (k *kubelet) run() {
	for ticks := time.Tick(syncPeriod); ; {
		select {
		case <-k.ctx.Done():
			return
		case <-ticks:
			k.sync()
		}
	}
}

// sync starts the pods that got a node, and stops those that are to go.
func (k *kubelet) sync() {
	list, err := k.client.CoreV1().Pods(namespace).List(k.ctx, metav1.ListOptions{LabelSelector: processLabel})
	if err != nil {
		return // the next one will tell
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.serving = nil
	for _, object := range list.Items {
		if object.Spec.NodeName == "" {
			continue
		}
		p := k.pods[object.UID]
		if p == nil {
			p = k.start(&object)
		}
		switch {
		case object.DeletionTimestamp != nil:
			p.leave()
		case isReady(&object):
			k.serving = append(k.serving, p)
		}
	}
}

// start makes a pod a process.
func (k *kubelet) start(object *corev1.Pod) *pod {
	p := &pod{kubelet: k, object: object, leaving: make(chan struct{})}
	k.pods[object.UID] = p
	k.started++
	k.running.Go(p.run)
	return p
}

// replicas returns the pods that are ready.
func (k *kubelet) replicas() []*pod {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.serving)
}

// ready returns where the pods that are ready listen.
func (k *kubelet) ready() []string {
	var addresses []string
	for _, p := range k.replicas() {
		addresses = append(addresses, p.webhook)
	}
	return addresses
}

// starts returns how many pods have been started.
func (k *kubelet) starts() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.started
}

func isReady(object *corev1.Pod) bool {
	return slices.ContainsFunc(object.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// report writes the pod's status as a kubelet does.
func (k *kubelet) report(object *corev1.Pod, ready bool) {
	err := retry.RetryOnConflict(wait.Backoff{Steps: 100, Duration: 10 * time.Millisecond, Factor: 1.2, Cap: time.Second}, func() error {
		return k.write(object, ready)
	})
	if err != nil && !apierrors.IsNotFound(err) && k.ctx.Err() == nil {
		k.t.Errorf("report that pod %s is ready %t: %v", object.Name, ready, err)
	}
}

func (k *kubelet) write(object *corev1.Pod, ready bool) error {
	status, now := corev1.ConditionFalse, metav1.Now()
	if ready {
		status = corev1.ConditionTrue
	}
	current, err := k.client.CoreV1().Pods(object.Namespace).Get(k.ctx, object.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	current.Status.Phase, current.Status.StartTime = corev1.PodRunning, &now
	current.Status.Conditions = slices.DeleteFunc(current.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady || c.Type == corev1.ContainersReady
	})
	for _, kind := range []corev1.PodConditionType{corev1.PodReady, corev1.ContainersReady} {
		current.Status.Conditions = append(current.Status.Conditions, corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: now})
	}
	current.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: object.Spec.Containers[0].Name, Image: object.Spec.Containers[0].Image, Ready: ready,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
	}}
	_, err = k.client.CoreV1().Pods(object.Namespace).UpdateStatus(k.ctx, current, metav1.UpdateOptions{})
	return err
}
