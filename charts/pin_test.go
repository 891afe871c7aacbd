package charts_test

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/image"
)

// testPins has the API server ask the real gate by what the chart has rendered.
func testPins(t *testing.T, c *cluster) {
	c.kubectl(t, "create", "namespace", "pinned")
	c.kubectl(t, "apply", "-f", writeFile(t, "policy.yaml", pinningPolicy))
	const digested = scannedReference + "@" + scannedDigest
	// The condition by which calls are spared looks at every place.
	for name, with := range map[string]func(*corev1.PodSpec){
		"container": func(p *corev1.PodSpec) { p.Containers[0].Image = scannedReference },
		"init container": func(p *corev1.PodSpec) {
			p.InitContainers = []corev1.Container{{Name: "setup", Image: scannedReference}}
		},
		"image volume": func(p *corev1.PodSpec) {
			p.Volumes[0].VolumeSource = corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: scannedReference}}
		},
	} {
		eventually(t, func(ctx context.Context) string {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "pinned"}, Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Name: "app", Image: digested}},
				Volumes:    []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			}}
			with(&pod.Spec)
			if err := c.client.Create(ctx, pod, client.DryRunAll); err != nil {
				return err.Error()
			}
			for _, use := range image.InPodSpec(&pod.Spec) {
				if use.Image != digested {
					return fmt.Sprintf("%s: %s has image %s, want %s", name, use, use.Image, digested)
				}
			}
			return ""
		})
	}
	c.kubectl(t, "delete", "imagescanpolicy", "pinning")
	c.kubectl(t, "delete", "namespace", "pinned", "--wait=false")
}

const pinningPolicy = `apiVersion: hssgate.io/v1alpha1
kind: ImageScanPolicy
metadata: {name: pinning}
spec:
  pin: true
  match: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: pinned}}}
  require: {digest: Required}
`
