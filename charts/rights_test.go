package charts_test

import (
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// right is one to do each of some verbs, to what is named "[NAMESPACE/][NAME]".
type right struct{ group, resource, verbs, of string }

// testRights asks the API server what the gate's service account may do, and what
// it may not.
func testRights(t *testing.T, c *cluster) {
	const webhooks, own = "admissionregistration.k8s.io", namespace + "/"
	tests := map[string]struct {
		may    bool
		rights []right
	}{
		"it may read policies, and say whether they are in force": {true, []right{
			{"hssgate.io", "imagescanpolicies", "watch", ""},
			{"hssgate.io", "imagescanpolicies/status", "patch", ""},
			{"hssgate.io", "imagescanexceptions", "watch", ""},
			{"hssgate.io", "imagescanexceptions", "get", "default/"},
			{"hssgate.io", "imagescanexceptions/status", "patch", "default/"},
			{"events.k8s.io", "events", "create", "default/"},
		}},
		"it may keep its own CA": {true, []right{
			{"", "secrets", "create update", own + release + "-serving-ca"},
			{webhooks, "validatingwebhookconfigurations", "patch", release},
			{webhooks, "mutatingwebhookconfigurations", "patch", release},
		}},
		"it may audit what runs": {true, []right{
			{"", "pods", "list", "default/"},
			{"hssgate.io", "imagescanexceptions", "create delete", "default/"},
			{"apps", "replicasets", "get", "default/"},
			{"", "events", "create", "default/"},
			{"openreports.io", "reports", "list", ""},
			{"openreports.io", "reports", "patch", "default/hssgate"},
			{"wgpolicyk8s.io", "policyreports", "delete", "default/hssgate"},
		}},
		"it can't touch the reports of others, and what events say of them": {false, []right{
			{"openreports.io", "reports", "patch", "default/kyverno"},
			{"wgpolicyk8s.io", "policyreports", "delete", "default/kyverno"},
			{"", "events", "delete list", "default/"},
		}},
		"it can't read Secrets": {false, []right{
			{"", "secrets", "get", own + "hss-keys"},
			{"", "secrets", "list watch", own},
			{"", "secrets", "get", "kube-system/" + release + "-serving-ca"},
			{"", "secrets", "list", ""},
		}},
		"it has no right that it does not use": {false, []right{
			{"", "secrets", "get delete", own + release + "-serving-ca"},
			{"coordination.k8s.io", "leases", "patch", own + "hssgate"},
			{webhooks, "validatingwebhookconfigurations", "update", release},
			{webhooks, "mutatingwebhookconfigurations", "get", release},
		}},
		"it can't make objects that could hold more rights": {false, []right{
			{"", "secrets", "create", own},
			{"", "secrets", "create", own + "other"},
			{"", "serviceaccounts/token", "create", own},
			{"rbac.authorization.k8s.io", "clusterrolebindings", "create", ""},
			{"coordination.k8s.io", "leases", "create", own},
		}},
		"it can't change pods or what makes them": {false, []right{
			{"", "pods", "create", own},
			{"", "pods", "delete get", "default/"},
			{"", "pods/exec", "create", "default/"},
			{"", "pods/log", "get", "default/"},
			{"apps", "deployments", "patch", own},
			{"", "namespaces", "update", "default"},
		}},
		"it can't change what is asked of images": {false, []right{
			{"hssgate.io", "imagescanexceptions", "update patch", "default/"},
			{"authorization.k8s.io", "subjectaccessreviews", "create", ""},
			{"hssgate.io", "imagescanpolicies", "create update delete", ""},
			{"hssgate.io", "exemptions", "grant", ""},
		}},
		"it can't touch other webhooks": {false, []right{
			{webhooks, "validatingwebhookconfigurations", "patch", "other"},
			{webhooks, "validatingwebhookconfigurations", "list", ""},
			{webhooks, "validatingwebhookconfigurations", "delete", release},
			{webhooks, "mutatingwebhookconfigurations", "patch create", "other"},
			{webhooks, "mutatingwebhookconfigurations", "delete", release},
			{webhooks, "validatingadmissionpolicies", "delete", release + "-exemptions"},
			{webhooks, "validatingadmissionpolicies", "patch", release + "-ca-bundle"},
			{webhooks, "validatingadmissionpolicybindings", "delete", release + "-ca-bundle"},
			{webhooks, "validatingadmissionpolicybindings", "delete", release + "-grace"},
		}},
	}
	for name, test := range tests {
		for _, r := range test.rights {
			for verb := range strings.FieldsSeq(r.verbs) {
				if got := c.mayHssgate(t, verb, r); got != test.may {
					t.Errorf("%s: %s %+v: allowed is %t", name, verb, r, got)
				}
			}
		}
	}
}

// mayHssgate reports whether the gate's service account has a right.
func (c *cluster) mayHssgate(t *testing.T, verb string, r right) bool {
	t.Helper()
	what := authorizationv1.ResourceAttributes{Verb: verb, Group: r.group, Name: r.of}
	what.Resource, what.Subresource, _ = strings.Cut(r.resource, "/")
	if ns, name, namespaced := strings.Cut(r.of, "/"); namespaced {
		what.Namespace, what.Name = ns, name
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: serviceAccount, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}, ResourceAttributes: &what,
	}}
	if err := c.client.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}
