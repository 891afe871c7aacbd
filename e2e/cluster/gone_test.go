package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// testGone takes hssgate away, without a word to its webhook configuration, and
// puts it back as an operator would: by Helm, through the same API server.
func testGone(t *testing.T, w *world) {
	w.startPod(t, shop, "before")
	foreground := metav1.DeletePropagationForeground
	if err := w.client.AppsV1().Deployments(namespace).Delete(t.Context(), release, metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		t.Fatal(err)
	}
	w.awaitNoReplica(t)

	t.Run("pods in judged namespaces are refused", func(t *testing.T) {
		if err := w.try(t.Context(), goodImage); err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
			t.Errorf("got %v, want that the webhook can't be called", err)
		}
	})
	for _, spared := range []string{metav1.NamespaceSystem, namespace} {
		t.Run("pods in "+spared+" start", func(t *testing.T) {
			w.awaitServiceAccount(t, spared)
			w.startPod(t, spared, "spared")
			w.deletePod(t, spared, "spared")
		})
	}
	t.Run("what runs in judged namespaces can be labelled and deleted", func(t *testing.T) {
		label := []byte(`{"metadata":{"labels":{"seen":"true"}}}`)
		if _, err := w.client.CoreV1().Pods(shop).Patch(t.Context(), "before", types.MergePatchType, label, metav1.PatchOptions{}); err != nil {
			t.Error(err)
		}
		w.deletePod(t, shop, "before")
	})
	t.Run("Helm brings it back, and it decides", func(t *testing.T) {
		w.deploy(t, "upgrade", "enforce")
		w.awaitReplicas(t, 2)
		eventually(t, func() error { return w.judges(t.Context()) })
	})
}

func (w *world) awaitNoReplica(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		pods, err := w.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: processLabel})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d replicas are left", len(pods.Items))
		}
		return err
	})
}

// startPod creates a pod and waits until it is ready.
func (w *world) startPod(t *testing.T, namespace, name string) {
	t.Helper()
	pods := w.client.CoreV1().Pods(namespace)
	if _, err := pods.Create(t.Context(), newPod(name, goodImage), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		var current *corev1.Pod
		current, err := pods.Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && !isReady(current) {
			err = fmt.Errorf("pod %s is not ready: %+v", name, current.Status.Conditions)
		}
		return err
	})
}

func (w *world) deletePod(t *testing.T, namespace, name string) {
	t.Helper()
	if err := w.client.CoreV1().Pods(namespace).Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}
