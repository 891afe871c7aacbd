package cluster_test

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testImageID has containerd know a bad image, and names that by its ID, which
// looks like an image of docker.io that the policy is not for.
func testImageID(t *testing.T, c *cluster) {
	c.enforce(t)
	c.startPod(t, "hss", "bad", badImage) // exempt, so the node has the image
	c.kubectl(t, "-n", "hss", "delete", "pod", "bad")
	c.deploy(t, helm4, "enforce", "--set", "policies.images={swr.cn-north-4.myhuaweicloud.com/**}", "--set", "policies.excludeImages={docker.io/**}")
	eventually(t, func() error { return c.enforces(t.Context()) }) // by the policy as it is now
	id := c.imageID(t, "prod/bad", "1")
	for name, image := range map[string]string{"id": id, "short-id": id[:len("sha256:")+12]} {
		pod := newPod(name, image)
		pod.Spec.Containers[0].ImagePullPolicy = corev1.PullNever
		_, err := c.client.CoreV1().Pods(shop).Create(t.Context(), pod, metav1.CreateOptions{})
		if err == nil {
			c.awaitPod(t, shop, name)
			t.Fatalf("a pod with image %s is admitted and runs %q", image, c.kubectl(t, "-n", shop, "exec", name, "--", "/bin/busybox", "cat", "/www/index.html"))
		}
		if !isDenial(err) {
			t.Errorf("image %s: got %v, want a denial", image, err)
		}
	}
}

// imageID returns the ID of an image in the registry: the digest of its
// configuration.
func (c *cluster) imageID(t *testing.T, repository, reference string) string {
	t.Helper()
	var manifest struct {
		Config    struct{ Digest string }
		Manifests []struct{ Digest string }
	}
	accept := "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
	out := c.exec(t, "curl", "-fsS", "-H", accept, "http://"+registry+"/v2/"+repository+"/manifests/"+reference)
	if err := json.Unmarshal([]byte(out), &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) > 0 {
		return c.imageID(t, repository, manifest.Manifests[0].Digest)
	}
	return manifest.Config.Digest
}

// isDenial reports whether hssgate denied a request, rather than failed to answer.
func isDenial(err error) bool {
	return err != nil && strings.Contains(err.Error(), "denied the request")
}
