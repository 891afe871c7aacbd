package cluster_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// evil is the attacker's namespace.
const evil = "evil"

// testStolenToken uses the token in a replica's file system. The chart's own tests
// try everything that it must not change.
func testStolenToken(t *testing.T, c *cluster) {
	c.enforce(t)
	stolen := c.asItself(t)
	core, webhooks := stolen.CoreV1(), stolen.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	change := func(ctx context.Context, path, value string) error {
		patch := fmt.Appendf(nil, `[{"op": "add", "path": "/webhooks/0/%s", "value": %q}]`, path, value)
		_, err := webhooks.Patch(ctx, release, types.JSONPatchType, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	for name, request := range map[string]func(context.Context) error{
		"read its own credentials": func(ctx context.Context) error {
			_, err := core.Secrets(namespace).Get(ctx, "hss-keys", metav1.GetOptions{})
			return err
		},
		"delete its webhooks":           func(ctx context.Context) error { return webhooks.Delete(ctx, release, metav1.DeleteOptions{}) },
		"let failed reviews admit pods": func(ctx context.Context) error { return change(ctx, "failurePolicy", "Ignore") },
		"have its reviews sent elsewhere": func(ctx context.Context) error {
			return change(ctx, "clientConfig/service/namespace", evil)
		},
	} {
		if err := request(t.Context()); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want Forbidden", name, err)
		}
	}
	if err := change(t.Context(), "clientConfig/caBundle", base64.StdEncoding.EncodeToString([]byte(c.hss.ca))); err != nil {
		t.Errorf("change the caBundle: %v", err)
	}
}

// asItself returns a client with the token of a replica.
func (c *cluster) asItself(t *testing.T) kubernetes.Interface {
	t.Helper()
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = c.exec(t, "cat", "/proc/"+c.process(t, c.replicas(t)[0])+"/root/var/run/secrets/kubernetes.io/serviceaccount/token")
	client, err := kubernetes.NewForConfig(config)
	must(t, err)
	return client
}

// isDenial reports whether hssgate denied a request, rather than failed to answer.
func isDenial(err error) bool {
	return err != nil && strings.Contains(err.Error(), "denied the request")
}

// testAllow has users with and without the chart's role allow the image of a
// Deployment whose pods are denied.
func testAllow(t *testing.T, c *cluster) {
	c.enforce(t)
	c.deploy(t, helm4, "enforce", "--set", "rbac.exceptionEditor=true")
	c.kubectl(t, "-n", shop, "create", "rolebinding", "alice", "--clusterrole="+release+"-exception-editor", "--user=alice")
	allow := func(user string) (string, error) {
		out, err := c.plugin(t, "allow", badImage, "-n", shop, "--for", "2h", "--reason", "INC-7: the shop is down", "--as", user).CombinedOutput()
		return string(out), err
	}

	if out, err := allow("mallory"); err == nil || !strings.Contains(out, "-exception-editor") {
		t.Errorf("without the role: got %v, want an error that names the role: %s", err, out)
	}
	if err := c.denies(t.Context()); err != nil {
		t.Error(err)
	}

	c.createDeployment(t, "allowed", badImage, 2)
	c.awaitRefusal(t, "ReplicaSet", "allowed")
	if out, err := allow("alice"); err != nil {
		t.Fatalf("with the role: %v\n%s", err, out)
	}
	eventually(t, func() error { return c.review(t.Context(), badImage) })
	c.exec(t, "sh", "-c", emergencyCommand(t, "Bring the pods back"))
	c.awaitDeployment(t, "allowed")
	c.newNamespace(t, evil)
	if err := c.createPod(t.Context(), evil, newPod("elsewhere", badImage)); !isDenial(err) {
		t.Errorf("in another namespace: got %v, want a denial", err)
	}

	c.kubectl(t, "-n", shop, "delete", "imagescanexceptions", "--all")
	eventually(t, func() error { return c.denies(t.Context()) })
	c.kubectl(t, "-n", shop, "delete", "deployment/allowed", "rolebinding/alice")
}
