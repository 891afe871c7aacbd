package charts_test

import (
	"context"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// testRights asks the API server what the gate's service account may not do.
func testRights(t *testing.T, c *cluster) {
	type attributes = authorizationv1.ResourceAttributes
	tests := map[string]struct {
		may   bool
		whats []attributes
	}{
		"it may read policies, and say whether they are in force": {true, []attributes{
			{Group: "hssgate.io", Resource: "imagescanpolicies", Verb: "watch"},
			{Group: "hssgate.io", Resource: "imagescanpolicies", Subresource: "status", Verb: "patch"},
			{Group: "hssgate.io", Resource: "imagescanexceptions", Verb: "watch"},
			{Group: "hssgate.io", Resource: "imagescanexceptions", Verb: "get", Namespace: "default"},
			{Group: "hssgate.io", Resource: "imagescanexceptions", Subresource: "status", Verb: "patch", Namespace: "default"},
			{Group: "hssgate.io", Resource: "imagescanhistories", Verb: "watch"},
			{Group: "events.k8s.io", Resource: "events", Verb: "create", Namespace: "default"},
		}},
		"it may keep its own authority": {true, []attributes{
			{Resource: "secrets", Verb: "update", Namespace: namespace, Name: release + "-authority"},
			{Resource: "secrets", Verb: "create", Namespace: namespace, Name: release + "-authority"},
			{Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Verb: "patch", Name: release},
			{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Verb: "patch", Name: release},
		}},
		"it may audit what runs": {true, []attributes{
			{Resource: "pods", Verb: "list", Namespace: "default"},
			{Group: "hssgate.io", Resource: "imagescanhistories", Verb: "create"},
			{Group: "hssgate.io", Resource: "imagescanhistories", Verb: "update"},
			{Group: "hssgate.io", Resource: "imagescanhistories", Verb: "delete"},
			{Group: "apps", Resource: "replicasets", Verb: "get", Namespace: "default"},
			{Resource: "events", Verb: "create", Namespace: "default"},
			{Group: "openreports.io", Resource: "reports", Verb: "list"},
			{Group: "openreports.io", Resource: "reports", Verb: "patch", Namespace: "default", Name: "hssgate"},
			{Group: "wgpolicyk8s.io", Resource: "policyreports", Verb: "delete", Namespace: "default", Name: "hssgate"},
		}},
		"it can't keep what HSS was asked to scan, since it isn't to ask": {false, []attributes{
			{Resource: "configmaps", Verb: "get", Namespace: namespace, Name: release + "-scans"},
			{Resource: "configmaps", Verb: "update", Namespace: namespace, Name: release + "-scans"},
		}},
		"it can't touch the reports of others, and what events say of them": {false, []attributes{
			{Group: "openreports.io", Resource: "reports", Verb: "patch", Namespace: "default", Name: "kyverno"},
			{Group: "wgpolicyk8s.io", Resource: "policyreports", Verb: "delete", Namespace: "default", Name: "kyverno"},
			{Resource: "events", Verb: "delete", Namespace: "default"},
			{Resource: "events", Verb: "list", Namespace: "default"},
		}},
		"it can't read other Secrets": {false, []attributes{
			{Resource: "secrets", Verb: "get", Namespace: namespace, Name: "hss-keys"},
			{Resource: "secrets", Verb: "list", Namespace: namespace},
			{Resource: "secrets", Verb: "watch", Namespace: namespace},
			{Resource: "secrets", Verb: "get", Namespace: "kube-system", Name: release + "-authority"},
			{Resource: "secrets", Verb: "list"},
		}},
		"it has no right that it does not use": {false, []attributes{
			{Resource: "secrets", Verb: "get", Namespace: namespace, Name: release + "-authority"},
			{Resource: "secrets", Verb: "delete", Namespace: namespace, Name: release + "-authority"},
			{Group: "coordination.k8s.io", Resource: "leases", Verb: "patch", Namespace: namespace, Name: "hssgate"},
			{Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Verb: "update", Name: release},
			{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Verb: "get", Name: release},
		}},
		"it can't make objects that could hold more rights": {false, []attributes{
			{Resource: "secrets", Verb: "create", Namespace: namespace},
			{Resource: "secrets", Verb: "create", Namespace: namespace, Name: "other"},
			{Resource: "serviceaccounts", Subresource: "token", Verb: "create", Namespace: namespace},
			{Group: "rbac.authorization.k8s.io", Resource: "clusterrolebindings", Verb: "create"},
			{Group: "coordination.k8s.io", Resource: "leases", Verb: "create", Namespace: namespace},
		}},
		"it can't change pods or what makes them": {false, []attributes{
			{Resource: "pods", Verb: "create", Namespace: namespace},
			{Resource: "pods", Verb: "delete", Namespace: "default"},
			{Resource: "pods", Verb: "get", Namespace: "default"},
			{Resource: "pods", Subresource: "exec", Verb: "create", Namespace: "default"},
			{Resource: "pods", Subresource: "log", Verb: "get", Namespace: "default"},
			{Group: "apps", Resource: "deployments", Verb: "patch", Namespace: namespace},
			{Resource: "namespaces", Verb: "update", Name: "default"},
		}},
		"it can't change what is asked of images": {false, []attributes{
			{Group: "hssgate.io", Resource: "imagescanexceptions", Verb: "create", Namespace: "default"},
			{Group: "hssgate.io", Resource: "imagescanexceptions", Verb: "patch", Namespace: "default"},
			{Group: "authorization.k8s.io", Resource: "subjectaccessreviews", Verb: "create"},
			{Group: "hssgate.io", Resource: "imagescanpolicies", Verb: "create"},
			{Group: "hssgate.io", Resource: "imagescanpolicies", Verb: "update"},
			{Group: "hssgate.io", Resource: "imagescanpolicies", Verb: "delete"},
			{Group: "hssgate.io", Resource: "exemptions", Verb: "grant"},
		}},
		"it can't touch other webhooks": {false, []attributes{
			{Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Verb: "patch", Name: "other"},
			{Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Verb: "list"},
			{Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Verb: "delete", Name: release},
			{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Verb: "patch", Name: "other"},
			{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Verb: "create"},
			{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Verb: "delete", Name: release},
			{Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicies", Verb: "delete", Name: release + "-exemptions"},
			{Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicies", Verb: "patch", Name: release + "-ca-bundle"},
			{Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicybindings", Verb: "delete", Name: release + "-ca-bundle"},
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, what := range test.whats {
				review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
					User:               "system:serviceaccount:" + namespace + ":" + release,
					Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
					ResourceAttributes: &what,
				}}
				if err := c.client.Create(t.Context(), review); err != nil {
					t.Fatal(err)
				}
				if review.Status.Allowed != test.may {
					t.Errorf("%+v: allowed is %t, want %t", what, review.Status.Allowed, test.may)
				}
			}
		})
	}
}

// testCreateByName shows what the rights to write reports rest upon: server-side
// apply may create an object under a right that is limited to its name.
func testCreateByName(t *testing.T, c *cluster) {
	rules := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"mine"}, Verbs: []string{"create", "patch"}}}
	meta := metav1.ObjectMeta{Name: "by-name", Namespace: "default"}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: rules}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{APIGroup: "rbac.authorization.k8s.io", Kind: "User", Name: "dave"}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := c.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	dave := c.as(t, "dave")
	apply := func(ctx context.Context, name string) error {
		return dave.Apply(ctx, applycorev1.ConfigMap(name, "default"), client.FieldOwner("dave"))
	}
	eventually(t, func(ctx context.Context) string {
		if err := apply(ctx, "mine"); err != nil {
			return err.Error()
		}
		return ""
	})
	if err := apply(t.Context(), "other"); !apierrors.IsForbidden(err) {
		t.Errorf("another name: got %v, want Forbidden", err)
	}
}
