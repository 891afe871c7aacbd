package cluster_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const user = "system:serviceaccount:" + namespace + ":" + release

// testRights reads in the API server's audit log what hssgate requested in all
// the scenarios before, and tries what a stolen token must not be good for.
func testRights(t *testing.T, c *cluster) {
	log, err := os.Open(c.auditLog())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.Seek(c.auditStart, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	requests := 0
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Verb, RequestURI string
			User             struct{ Username string }
			ResponseStatus   struct{ Code int }
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			t.Fatal(err)
		}
		if event.User.Username != user {
			continue
		}
		requests++
		if code := event.ResponseStatus.Code; code == http.StatusForbidden || code == http.StatusUnauthorized {
			t.Errorf("answered %d: %s %s", code, event.Verb, event.RequestURI)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if requests < 50 {
		t.Errorf("the audit log has %d requests of %s, want 50 at least", requests, user)
	}
	t.Logf("%d requests of %s", requests, user)
	c.enforce(t)
	testForbidden(t, c.asItself(t))
}

func (c *cluster) auditLog() string { return filepath.Join(c.data, "log", "audit.log") }

// asItself returns a client with a token of hssgate's service account.
func (c *cluster) asItself(t *testing.T) kubernetes.Interface {
	t.Helper()
	token, err := c.client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), release, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = token.Status.Token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// testForbidden tries some requests. The chart's own tests have the whole list.
func testForbidden(t *testing.T, stolen kubernetes.Interface) {
	core, options := stolen.CoreV1(), metav1.GetOptions{}
	for name, request := range map[string]func(context.Context) error{
		"read its own credentials": func(ctx context.Context) error {
			_, err := core.Secrets(namespace).Get(ctx, "hss-keys", options)
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
		"delete its webhook": func(ctx context.Context) error {
			return stolen.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, release, metav1.DeleteOptions{})
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
