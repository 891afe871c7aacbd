package cluster_test

import (
	"context"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const user = "system:serviceaccount:" + namespace + ":" + release

// testRights reads in the API server's audit log what hssgate has asked for so
// far, in all that the tests before have put it through.
func testRights(t *testing.T, w *world) {
	calls := 0
	for _, event := range w.AuditEvents(t) {
		if event.User.Username != user || event.ResponseStatus == nil {
			continue
		}
		calls++
		if code := event.ResponseStatus.Code; code == http.StatusForbidden || code == http.StatusUnauthorized {
			t.Errorf("answered %d: %s %s", code, event.Verb, event.RequestURI)
		}
	}
	if calls < 100 {
		t.Errorf("the audit log has %d calls of %s, want 100 at least", calls, user)
	}
	t.Logf("%d calls of %s", calls, user)
	testForbidden(t, w.asItself(t))
}

// asItself returns a client with a token of hssgate's service account.
func (w *world) asItself(t *testing.T) kubernetes.Interface {
	t.Helper()
	token, err := w.client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), release, newTokenRequest(), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(w.Config)
	config.BearerToken = token.Status.Token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// testForbidden tries what a stolen token must not be good for. The chart's own
// tests ask the API server for the whole list.
func testForbidden(t *testing.T, stolen kubernetes.Interface) {
	core, options := stolen.CoreV1(), metav1.GetOptions{}
	for name, try := range map[string]func(context.Context) error{
		"read its own credentials": func(ctx context.Context) error {
			_, err := core.Secrets(namespace).Get(ctx, release+"-credentials", options)
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
		"take its webhook away": func(ctx context.Context) error {
			return stolen.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, release, metav1.DeleteOptions{})
		},
		"get another token": func(ctx context.Context) error {
			_, err := core.ServiceAccounts(namespace).CreateToken(ctx, release, newTokenRequest(), metav1.CreateOptions{})
			return err
		},
	} {
		if err := try(t.Context()); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want Forbidden", name, err)
		}
	}
}
