package cluster_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// testAnnotations plants the annotation that an earlier version took for
// break-glass, on behalf of users who may do everything.
func testAnnotations(t *testing.T, c *cluster) {
	c.enforce(t)
	// It was honoured under policies with this field, which is gone too: the API server drops it.
	c.kubectl(t, "patch", "imagescanpolicy", auditedPolicy, "--type=merge", "-p", `{"spec": {"breakGlass": "Allow"}}`)
	annotations := map[string]string{"hssgate.io/break-glass": "INC-7: planted", "hssgate.io/exempt": "INC-7", "hssgate.io/grace": "INC-7"}
	c.kubectl(t, "create", "clusterrolebinding", "gitops", "--clusterrole=cluster-admin", "--serviceaccount="+shop+":gitops")
	t.Cleanup(func() {
		_ = c.command(context.WithoutCancel(t.Context()), "exec", "kubectl", "delete", "clusterrolebinding", "gitops").Run()
	})

	for name, client := range map[string]kubernetes.Interface{
		"administrator": c.client, "controller": c.as(t, "system:serviceaccount:"+shop+":gitops"),
	} {
		t.Run(name, func(t *testing.T) {
			pods := client.CoreV1().Pods(shop)
			bad := newPod("annotated-"+name, badImage)
			bad.Annotations = annotations
			_, err := pods.Create(t.Context(), bad, metav1.CreateOptions{})
			checkDenied(t, err)

			good := newPod("planted-"+name, goodImage)
			good.Annotations = annotations
			if good, err = pods.Create(t.Context(), good, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			good.ResourceVersion = "" // kubelet writes its status meanwhile
			container := newContainer("debugger", badImage)
			good.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
				Name: container.Name, Image: container.Image, SecurityContext: container.SecurityContext,
			}}}
			_, err = pods.UpdateEphemeralContainers(t.Context(), good.Name, good, metav1.UpdateOptions{})
			checkDenied(t, err)
		})
	}
	c.createDeployment(t, "planted", badImage, 1, annotations)
	c.awaitRefusal(t, "ReplicaSet", "planted")
	if pods := c.kubectl(t, "-n", shop, "get", "pods", "-l", "app=planted", "-o", "name"); pods != "" {
		t.Errorf("the Deployment has pods: %s", pods)
	}
	c.kubectl(t, "-n", shop, "delete", "deployment/planted", "pod/planted-administrator", "pod/planted-controller")
}

// as returns a client that impersonates a user.
func (c *cluster) as(t *testing.T, user string) kubernetes.Interface {
	t.Helper()
	config := rest.CopyConfig(c.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// testAllow has users with and without the chart's role allow the image of a
// Deployment whose pods are denied.
func testAllow(t *testing.T, c *cluster) {
	c.enforce(t)
	c.deploy(t, helm4, "enforce", "--set", "rbac.exceptionEditor=true")
	c.kubectl(t, "-n", shop, "create", "rolebinding", "alice", "--clusterrole="+release+"-exception-editor", "--user=alice")
	plugin := filepath.Join(c.bin, "kubectl-hssgate")
	if err := os.Symlink("hssgate", plugin); err != nil {
		t.Fatal(err)
	}
	allow := func(user, duration string) (string, error) {
		out, err := c.command(t.Context(), "exec", "sh", "-c", `PATH=$0:$PATH exec kubectl hssgate "$@"`, c.bin,
			"allow", badImage, "-n", shop, "--for", duration, "--reason", "INC-7: the shop is down", "--as", user).CombinedOutput()
		return string(out), err
	}

	if out, err := allow("mallory", "2h"); err == nil || !strings.Contains(out, "-exception-editor") {
		t.Errorf("without the role: got %v, want an error that names the role: %s", err, out)
	}
	if err := c.denies(t.Context()); err != nil {
		t.Error(err)
	}

	c.createDeployment(t, "allowed", badImage, 2, nil)
	c.awaitRefusal(t, "ReplicaSet", "allowed")
	if out, err := allow("alice", "2h"); err != nil {
		t.Fatalf("with the role: %v\n%s", err, out)
	}
	eventually(t, func() error { return c.review(t.Context(), badImage) })
	c.exec(t, "sh", "-c", emergencyCommand(t, "Bring the pods back"))
	c.awaitDeployment(t, shop, "allowed")
	c.newNamespace(t, evil)
	if _, err := c.client.CoreV1().Pods(evil).Create(t.Context(), newPod("elsewhere", badImage), metav1.CreateOptions{}); !isDenial(err) {
		t.Errorf("in another namespace: got %v, want a denial", err)
	}

	c.kubectl(t, "-n", shop, "delete", "imagescanexceptions", "--all")
	eventually(t, func() error { return c.denies(t.Context()) })
	if out, err := allow("alice", "10s"); err != nil {
		t.Fatalf("for 10 s: %v\n%s", err, out)
	}
	eventually(t, func() error { return c.review(t.Context(), badImage) })
	eventually(t, func() error { return c.denies(t.Context()) })
	c.kubectl(t, "-n", shop, "delete", "deployment/allowed", "rolebinding/alice")
}
