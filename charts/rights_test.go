package charts_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// right is one to do each of some verbs, to what is named "[NAMESPACE/][NAME]".
type right struct{ group, resource, verbs, of string }

// testRights asks the API server what the gate's service account may do besides what
// the gate does in testRelease (see hadAllRights), and what it may not.
func testRights(t *testing.T, c *cluster) {
	const webhooks, reports, policies, own, ca = "admissionregistration.k8s.io", "openreports.io", "hssgate.io", namespace + "/", release + "-serving-ca"
	for may, rights := range map[bool][]right{
		true: {
			{policies, "imagescanexceptions/status", "patch", "default/"},
			{policies, "clusterimagescanexceptions/status", "patch", ""},
			{"events.k8s.io", "events", "create", "default/"},
			// The audit.
			{policies, "imagescanexceptions", "create delete", "default/"},
			{"apps", "replicasets", "get", "default/"},
			{"", "events", "create", "default/"},
			{reports, "reports", "list", ""},
			{reports, "reports", "patch", "default/hssgate"},
			{"wgpolicyk8s.io", "policyreports", "delete", "default/hssgate"},
		},
		false: {
			// The reports of others, and what events say of them.
			{reports, "reports", "patch", "default/kyverno"},
			{"wgpolicyk8s.io", "policyreports", "delete", "default/kyverno"},
			{"", "events", "delete list", "default/"},
			// Secrets, but for the CA.
			{"", "secrets", "get", own + "hss-keys"},
			{"", "secrets", "list watch create", own},
			{"", "secrets", "create", own + "other"},
			{"", "secrets", "get", "kube-system/" + ca},
			{"", "secrets", "list", ""},
			{"", "secrets", "get update delete", own + ca},
			// What could hold more rights.
			{"", "serviceaccounts/token", "create", own},
			{"rbac.authorization.k8s.io", "clusterrolebindings", "create", ""},
			{"coordination.k8s.io", "leases", "create", own},
			{"coordination.k8s.io", "leases", "patch", own + "hssgate"},
			// Pods, and what makes them.
			{"", "pods", "create", own},
			{"", "pods", "delete get", "default/"},
			{"", "pods/exec", "create", "default/"},
			{"", "pods/log", "get", "default/"},
			{"apps", "deployments", "patch", own},
			{"", "namespaces", "update", "default"},
			// What is asked of images.
			{policies, "imagescanexceptions", "update patch", "default/"},
			{policies, "clusterimagescanexceptions", "create update patch delete", ""},
			{policies, "imagescanpolicies", "create update delete", ""},
			{policies, "exemptions", "grant", ""},
			{"authorization.k8s.io", "subjectaccessreviews", "create", ""},
			// Webhooks, and what guards them.
			{webhooks, "validatingwebhookconfigurations", "patch", "other"},
			{webhooks, "validatingwebhookconfigurations", "list", ""},
			{webhooks, "validatingwebhookconfigurations", "update delete", release},
			{webhooks, "mutatingwebhookconfigurations", "patch create", "other"},
			{webhooks, "mutatingwebhookconfigurations", "get delete", release},
			{webhooks, "validatingadmissionpolicies", "delete", release + "-exemptions"},
			{webhooks, "validatingadmissionpolicies", "patch", release + "-ca-bundle"},
			{webhooks, "validatingadmissionpolicybindings", "delete", release + "-ca-bundle"},
			{webhooks, "validatingadmissionpolicybindings", "delete", release + "-grace"},
		},
	} {
		for _, r := range rights {
			for verb := range strings.FieldsSeq(r.verbs) {
				equal(t, fmt.Sprintf("allowed to %s %+v", verb, r), may, c.may(t.Context(), t, serviceAccount, verb, r))
			}
		}
	}
	for _, role := range []string{"exception-editor", "cluster-exception-editor"} {
		c.kubectl(t, "create", "clusterrolebinding", role, "--clusterrole", release+"-"+role, "--user", role)
		inOne, inAll := right{policies, "imagescanexceptions", "", "default/"}, right{policies, "clusterimagescanexceptions", "", ""}
		eventually(t, func(ctx context.Context) string { // the API server learns of a binding a little later
			if !c.may(ctx, t, role, "create", inOne) && !c.may(ctx, t, role, "create", inAll) {
				return "the role " + role + " grants nothing"
			}
			return ""
		})
		for _, verb := range []string{"create", "delete", "list"} {
			equal(t, "the role "+role+" may "+verb+" exceptions of a namespace and of all",
				[2]bool{role == "exception-editor", role != "exception-editor"}, [2]bool{c.may(t.Context(), t, role, verb, inOne), c.may(t.Context(), t, role, verb, inAll)})
		}
		c.kubectl(t, "delete", "clusterrolebinding", role)
	}
}

// may reports whether a user has a right.
func (c *cluster) may(ctx context.Context, t *testing.T, user, verb string, r right) bool {
	t.Helper()
	what := authorizationv1.ResourceAttributes{Verb: verb, Group: r.group, Name: r.of}
	what.Resource, what.Subresource, _ = strings.Cut(r.resource, "/")
	if ns, name, namespaced := strings.Cut(r.of, "/"); namespaced {
		what.Namespace, what.Name = ns, name
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}, ResourceAttributes: &what,
	}}
	must(t, c.client.Create(ctx, review))
	return review.Status.Allowed
}
