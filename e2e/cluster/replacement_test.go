package cluster_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// testReplacement replaces every replica and the certificate, one after the
// other, while the API server asks without a pause.
func testReplacement(t *testing.T, w *world) {
	load := w.startLoad(t)
	before := w.kubelet.starts()
	w.restart(t)
	if got := w.kubelet.starts() - before; got != 2 {
		t.Errorf("%d replicas were started, want 2", got)
	}
	t.Logf("replicas replaced after %s", time.Since(load.started).Round(time.Second))
	w.rotate(t)
	t.Logf("certificate rotated after %s", time.Since(load.started).Round(time.Second))
	// The new authority is also the one that new replicas begin with.
	w.restart(t)
	load.finish(t)
}

// restart replaces the replicas as `kubectl rollout restart` does, and waits
// until those before have gone.
func (w *world) restart(t *testing.T) {
	t.Helper()
	deployments := w.client.AppsV1().Deployments(namespace)
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	if _, err := deployments.Patch(t.Context(), release, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w.awaitReplicas(t, 2)
}

// awaitReplicas waits until just so many replicas of the newest version are
// there and ready.
func (w *world) awaitReplicas(t *testing.T, want int32) {
	t.Helper()
	eventually(t, func() error {
		d, err := w.client.AppsV1().Deployments(namespace).Get(t.Context(), release, metav1.GetOptions{})
		if err != nil {
			return err
		}
		pods, err := w.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: processLabel})
		if err != nil {
			return err
		}
		s := d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != want || s.ReadyReplicas != want || s.Replicas != want || len(pods.Items) != int(want) {
			return fmt.Errorf("%d pods, status %+v, want %d replicas", len(pods.Items), s, want)
		}
		return nil
	})
}

// rotate asks for another authority and waits until it is in use.
func (w *world) rotate(t *testing.T) {
	t.Helper()
	before := w.authority(t)
	secrets := w.client.CoreV1().Secrets(namespace)
	patch := []byte(`{"metadata":{"annotations":{"hssgate.io/rotate":"true"}}}`)
	if _, err := secrets.Patch(t.Context(), release+"-authority", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		after := w.authority(t)
		if after.Annotations["hssgate.io/rotate"] != "" || bytes.Equal(before.Data["ca.crt"], after.Data["ca.crt"]) {
			return errors.New("the authority is still the one before")
		}
		return nil
	})
	w.awaitTrust(t)
}

func (w *world) authority(t *testing.T) *corev1.Secret {
	t.Helper()
	secret, err := w.client.CoreV1().Secrets(namespace).Get(t.Context(), release+"-authority", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// awaitTrust waits until every replica serves by the authority in use.
func (w *world) awaitTrust(t *testing.T) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(w.authority(t).Data["ca.crt"]) {
		t.Fatal("the Secret holds no authority")
	}
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}}
	for _, address := range w.kubelet.ready() {
		eventually(t, func() error {
			connection, err := dialer.DialContext(t.Context(), "tcp", address)
			if err != nil {
				return err
			}
			return connection.Close()
		})
	}
}
