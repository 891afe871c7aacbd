package charts_test

import (
	"context"
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/certificate"
)

const guardMessage = "only caBundle may change"

// configurationChanges are JSON patches that each change one thing of a webhook
// configuration.
var configurationChanges = map[string]string{
	"the URL":                  `[{"op": "replace", "path": "/webhooks/0/clientConfig/url", "value": "https://evil.example.com/"}]`,
	"the URL's path":           `[{"op": "replace", "path": "/webhooks/0/clientConfig/url", "value": "https://127.0.0.1/other"}]`,
	"the URL for a Service":    `[{"op": "replace", "path": "/webhooks/0/clientConfig", "value": {"service": {"namespace": "default", "name": "evil"}}}]`,
	"the resources of a rule":  `[{"op": "replace", "path": "/webhooks/0/rules/0/resources", "value": ["secrets"]}]`,
	"the operations of a rule": `[{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]`,
	"one more rule":            `[{"op": "add", "path": "/webhooks/0/rules/-", "value": {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["*"]}}]`,
	"no rules":                 `[{"op": "remove", "path": "/webhooks/0/rules"}]`,
	"the namespaces":           `[{"op": "replace", "path": "/webhooks/0/namespaceSelector", "value": {}}]`,
	"the objects":              `[{"op": "replace", "path": "/webhooks/0/objectSelector", "value": {"matchLabels": {"none": "such"}}}]`,
	"one more match condition": `[{"op": "add", "path": "/webhooks/0/matchConditions/-", "value": {"name": "never", "expression": "false"}}]`,
	"no match conditions":      `[{"op": "remove", "path": "/webhooks/0/matchConditions"}]`,
	"the failure policy":       `[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"}]`,
	"the match policy":         `[{"op": "replace", "path": "/webhooks/0/matchPolicy", "value": "Exact"}]`,
	"the timeout":              `[{"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 1}]`,
	"the versions of reviews":  `[{"op": "replace", "path": "/webhooks/0/admissionReviewVersions", "value": ["v1", "v1beta1"]}]`,
	"the name":                 `[{"op": "replace", "path": "/webhooks/0/name", "value": "other.hssgate.io"}]`,
	"one more webhook":         `[{"op": "copy", "from": "/webhooks/0", "path": "/webhooks/-"}, {"op": "replace", "path": "/webhooks/0/name", "value": "other.hssgate.io"}]`,
	"one webhook less":         `[{"op": "remove", "path": "/webhooks/0"}]`,
	"no webhooks":              `[{"op": "remove", "path": "/webhooks"}]`,
	"a label":                  `[{"op": "add", "path": "/metadata/labels/team", "value": "a"}]`,
	"no labels":                `[{"op": "remove", "path": "/metadata/labels"}]`,
	"an annotation":            `[{"op": "add", "path": "/metadata/annotations/cert-manager.io~1inject-ca-from", "value": "default/evil"}]`,
	"an owner":                 `[{"op": "add", "path": "/metadata/ownerReferences", "value": [{"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "1"}]}]`,
	"a finalizer":              `[{"op": "add", "path": "/metadata/finalizers", "value": ["example.com/mine"]}]`,
	"the caBundle and a rule":  `[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}, {"op": "remove", "path": "/webhooks/0/rules"}]`,
}

// testStolenToken tries to change the release's webhook configurations by a token
// of hssgate's service account, which has the right to patch their caBundle.
func testStolenToken(t *testing.T, c *cluster) {
	thief := c.withToken(t)
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: release}}
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: release}}
	ca, err := certificate.NewAuthority(clock.RealClock{}, "evil.example.com")
	if err != nil {
		t.Fatal(err)
	}
	caBundle := base64.StdEncoding.EncodeToString(ca.PEM())
	try := func(ctx context.Context, configuration client.Object, patch string) error {
		changed, _ := configuration.DeepCopyObject().(client.Object)
		return thief.Patch(ctx, changed, client.RawPatch(types.JSONPatchType, []byte(patch)), client.DryRunAll)
	}
	eventually(t, func(ctx context.Context) string {
		if err := try(ctx, mutating, configurationChanges["no rules"]); err == nil {
			return "the API server hasn't learned of the guard yet"
		}
		return ""
	})
	for _, test := range []struct {
		configuration client.Object
		name          string
		more          map[string]string
	}{
		{validating, "the validating one", map[string]string{
			"the order":        `[{"op": "move", "from": "/webhooks/0", "path": "/webhooks/1"}]`,
			"the side effects": `[{"op": "replace", "path": "/webhooks/0/sideEffects", "value": "None"}]`,
		}},
		{mutating, "the mutating one", map[string]string{
			"the reinvocation policy": `[{"op": "replace", "path": "/webhooks/0/reinvocationPolicy", "value": "Never"}]`,
			"the side effects":        `[{"op": "replace", "path": "/webhooks/0/sideEffects", "value": "NoneOnDryRun"}]`,
		}},
	} {
		changes := maps.Clone(configurationChanges)
		maps.Copy(changes, test.more)
		for name, change := range changes {
			t.Run("a stolen token can't change in "+test.name+" "+name, func(t *testing.T) {
				if err := try(t.Context(), test.configuration, change); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), guardMessage) {
					t.Errorf("got %v, want Forbidden with %q", err, guardMessage)
				}
			})
		}
		t.Run("it can change in "+test.name+" a caBundle", func(t *testing.T) {
			for _, change := range []string{
				`[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]`,
				`[{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": "` + caBundle + `"}]`,
			} {
				if err := try(t.Context(), test.configuration, change); err != nil {
					t.Error(err)
				}
			}
		})
	}
	c.testGuardWithoutRBAC(t, thief, validating, mutating)
}

// testGuardWithoutRBAC gives hssgate's service account every right to webhook
// configurations, as roles of the user's own may, and leaves it to the guard.
func (c *cluster) testGuardWithoutRBAC(t *testing.T, thief client.Client, configurations ...client.Object) {
	meta := metav1.ObjectMeta{Name: "too-much"}
	role := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{admissionregistrationv1.GroupName}, Resources: []string{"*"}, Verbs: []string{"*"}}}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: release, Namespace: namespace}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := c.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := c.client.Delete(context.WithoutCancel(t.Context()), object); err != nil {
				t.Error(err)
			}
		}()
	}
	for _, configuration := range configurations {
		c.get(t.Context(), t, client.ObjectKeyFromObject(configuration), configuration)
		updated, _ := configuration.DeepCopyObject().(client.Object)
		updated.SetLabels(nil)
		created, _ := configuration.DeepCopyObject().(client.Object)
		created.SetName("another")
		created.SetResourceVersion("")
		for name, try := range map[string]func(context.Context) error{
			"update": func(ctx context.Context) error { return thief.Update(ctx, updated, client.DryRunAll) },
			"create": func(ctx context.Context) error { return thief.Create(ctx, created, client.DryRunAll) },
			"delete": func(ctx context.Context) error { return thief.Delete(ctx, configuration, client.DryRunAll) },
		} {
			// RBAC refuses until it has learned of the role.
			eventually(t, func(ctx context.Context) string {
				if err := try(ctx); err == nil {
					t.Errorf("%s of a %T by hssgate's service account, with RBAC's leave: got no error", name, configuration)
				} else if !strings.Contains(err.Error(), guardMessage) {
					return err.Error()
				}
				return ""
			})
		}
	}
}

// withToken returns a client that has nothing but a token of hssgate's service
// account.
func (c *cluster) withToken(t *testing.T) client.Client {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: release, Namespace: namespace}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(time.Hour.Seconds()))}}
	if err := c.client.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = request.Status.Token
	thief, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return thief
}
