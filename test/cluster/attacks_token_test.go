package cluster_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	admissionregistrationv1apply "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// testStolenToken uses the token in a replica's file system.
func testStolenToken(t *testing.T, c *cluster) {
	c.enforce(t)
	stolen := c.asItself(t)
	testForbidden(t, stolen)
	for kind, patch := range map[string]func(ctx context.Context, patch string, options metav1.PatchOptions) error{
		"validating": func(ctx context.Context, patch string, options metav1.PatchOptions) error {
			_, err := stolen.AdmissionregistrationV1().ValidatingWebhookConfigurations().Patch(ctx, release, types.JSONPatchType, []byte(patch), options)
			return err
		},
		"mutating": func(ctx context.Context, patch string, options metav1.PatchOptions) error {
			_, err := stolen.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(ctx, release, types.JSONPatchType, []byte(patch), options)
			return err
		},
	} {
		dryRun := metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}
		for _, change := range webhookChanges {
			if err := patch(t.Context(), change, dryRun); !apierrors.IsForbidden(err) {
				t.Errorf("%s: %s: got %v, want Forbidden", kind, change, err)
			}
		}
		caBundle := fmt.Sprintf(`[{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": %q}]`, base64.StdEncoding.EncodeToString([]byte(c.hss.ca)))
		if err := patch(t.Context(), caBundle, dryRun); err != nil {
			t.Errorf("%s: change the caBundle: %v", kind, err)
		}
	}
}

// webhookChanges are JSON patches of a webhook configuration: each would turn it
// against the cluster, or off.
var webhookChanges = []string{
	`[{"op": "add", "path": "/webhooks/0/rules", "value": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["*"]}]}]`,
	`[{"op": "add", "path": "/webhooks/0/rules/-", "value": {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["*"]}}]`,
	`[{"op": "add", "path": "/webhooks/0/clientConfig", "value": {"url": "https://10.244.0.99/"}}]`,
	`[{"op": "add", "path": "/webhooks/0/clientConfig/service/namespace", "value": "evil"}]`,
	`[{"op": "add", "path": "/webhooks/0/clientConfig/service/name", "value": "evil"}]`,
	`[{"op": "add", "path": "/webhooks/0/clientConfig/service/port", "value": 8443}]`,
	`[{"op": "add", "path": "/webhooks/0/clientConfig/service/path", "value": "/evil"}]`,
	`[{"op": "add", "path": "/webhooks/0/namespaceSelector", "value": {}}]`,
	`[{"op": "add", "path": "/webhooks/0/namespaceSelector", "value": {"matchLabels": {"none": "such"}}}]`,
	`[{"op": "add", "path": "/webhooks/0/objectSelector", "value": {"matchLabels": {"none": "such"}}}]`,
	`[{"op": "add", "path": "/webhooks/0/matchConditions", "value": [{"name": "never", "expression": "false"}]}]`,
	`[{"op": "add", "path": "/webhooks/0/matchPolicy", "value": "Exact"}]`,
	`[{"op": "add", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}, {"op": "add", "path": "/webhooks/0/timeoutSeconds", "value": 1}]`,
	`[{"op": "add", "path": "/webhooks/0/timeoutSeconds", "value": 30}]`,
	`[{"op": "add", "path": "/webhooks/0/admissionReviewVersions", "value": ["v1beta1", "v1"]}]`,
	`[{"op": "add", "path": "/webhooks/0/name", "value": "evil.hssgate.io"}]`,
	`[{"op": "remove", "path": "/webhooks/0"}]`,
	`[{"op": "remove", "path": "/webhooks"}]`,
	`[{"op": "copy", "from": "/webhooks/0", "path": "/webhooks/-"}, {"op": "add", "path": "/webhooks/0/name", "value": "second.hssgate.io"}]`,
	`[{"op": "add", "path": "/metadata/labels/evil", "value": "yes"}]`,
	`[{"op": "add", "path": "/metadata/annotations", "value": {"evil": "yes"}}]`,
	`[{"op": "add", "path": "/metadata/finalizers", "value": ["evil.example.com/keep"]}]`,
	`[{"op": "add", "path": "/metadata/ownerReferences", "value": [{"apiVersion": "v1", "kind": "Namespace", "name": "none", "uid": "1"}]}]`,
}

// asItself returns a client with the token of a replica.
func (c *cluster) asItself(t *testing.T) kubernetes.Interface {
	t.Helper()
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = c.exec(t, "cat", "/proc/"+c.process(t, c.replicas(t)[0])+"/root/var/run/secrets/kubernetes.io/serviceaccount/token")
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// testForbidden tries some requests. The chart's own tests have the whole list.
func testForbidden(t *testing.T, stolen kubernetes.Interface) {
	core, options := stolen.CoreV1(), metav1.GetOptions{}
	webhooks := stolen.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	for name, request := range map[string]func(context.Context) error{
		"read its own credentials": func(ctx context.Context) error {
			_, err := core.Secrets(namespace).Get(ctx, "hss-keys", options)
			return err
		},
		"list the Secrets of its namespace": func(ctx context.Context) error {
			_, err := core.Secrets(namespace).List(ctx, metav1.ListOptions{})
			return err
		},
		"read Secrets elsewhere": func(ctx context.Context) error {
			_, err := core.Secrets(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{})
			return err
		},
		"create a pod": func(ctx context.Context) error {
			_, err := core.Pods(namespace).Create(ctx, newPod("stolen", goodImage), metav1.CreateOptions{})
			return err
		},
		"exempt a namespace": func(ctx context.Context) error {
			_, err := core.Namespaces().Update(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: shop}}, metav1.UpdateOptions{})
			return err
		},
		"delete its webhooks": func(ctx context.Context) error {
			return webhooks.Delete(ctx, release, metav1.DeleteOptions{})
		},
		"delete all webhooks": func(ctx context.Context) error {
			return webhooks.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name=" + release})
		},
		"create webhooks": func(ctx context.Context) error {
			_, err := webhooks.Create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "evil"}}, metav1.CreateOptions{})
			return err
		},
		"take its own webhooks away by an update": func(ctx context.Context) error {
			_, err := webhooks.Update(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: release}}, metav1.UpdateOptions{})
			return err
		},
		"turn its webhooks off by server-side apply": func(ctx context.Context) error {
			ignore := admissionregistrationv1apply.ValidatingWebhook().WithName("pods.hssgate.io").WithFailurePolicy("Ignore")
			_, err := webhooks.Apply(ctx, admissionregistrationv1apply.ValidatingWebhookConfiguration(release).WithWebhooks(ignore),
				metav1.ApplyOptions{FieldManager: "evil", Force: true, DryRun: []string{metav1.DryRunAll}})
			return err
		},
		"delete the policy that guards its webhooks": func(ctx context.Context) error {
			return stolen.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Delete(ctx, release+"-ca-bundle", metav1.DeleteOptions{})
		},
		"get another token": func(ctx context.Context) error {
			_, err := core.ServiceAccounts(namespace).CreateToken(ctx, release, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
			return err
		},
	} {
		if err := request(t.Context()); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want Forbidden", name, err)
		}
	}
}
