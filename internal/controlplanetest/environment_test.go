package controlplanetest_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/hssgate/hssgate/internal/controlplanetest"
)

func TestEnvironment(t *testing.T) {
	env := controlplanetest.Start(t, controlplanetest.WithAuditLog())
	pods := env.Clientset(t).CoreV1().Pods("team-a")
	createNamespace(t, env, "team-a")

	t.Run("a pod without a service account is created", func(t *testing.T) {
		if _, err := pods.Create(t.Context(), newPod("web", "nginx:1.29"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("an invalid pod is refused by the real validation", func(t *testing.T) {
		_, err := pods.Create(t.Context(), newPod("broken", ""), metav1.CreateOptions{})
		if !apierrors.IsInvalid(err) {
			t.Fatalf("got error %v, want Invalid", err)
		}
	})

	t.Run("the audit log holds the request", func(t *testing.T) {
		event := env.AuditEvent(t, func(e *auditv1.Event) bool {
			return e.Verb == "create" && e.ObjectRef != nil && e.ObjectRef.Name == "broken"
		})
		if got := event.ResponseStatus.Code; got != 422 {
			t.Errorf("got code %d, want 422", got)
		}
	})

	t.Run("kubectl knows hssgate's policies", func(t *testing.T) {
		out := kubectl(t, env, "api-resources", "--api-group=hssgate.io", "-o", "name")
		if !bytes.Contains(out, []byte("imagescanpolicies.hssgate.io")) {
			t.Errorf("got %q, want imagescanpolicies.hssgate.io in it", out)
		}
	})

	t.Run("the API server says which version it is", func(t *testing.T) {
		info, err := env.Clientset(t).Discovery().ServerVersion()
		if err != nil {
			t.Fatal(err)
		}
		if info.GitVersion != "v1.37.2" {
			t.Errorf("got %s, want v1.37.2", info.GitVersion)
		}
	})

	t.Run("the API server can be away, and comes back with what it had", func(t *testing.T) {
		if err := env.StopAPIServer(); err != nil {
			t.Fatal(err)
		}
		if _, err := pods.Get(t.Context(), "web", metav1.GetOptions{}); !utilnet.IsConnectionRefused(err) {
			t.Errorf("got error %v, want that the connection is refused", err)
		}
		if err := env.StartAPIServer(); err != nil {
			t.Fatal(err)
		}
		if _, err := pods.Get(t.Context(), "web", metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func createNamespace(t *testing.T, env *controlplanetest.Environment, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := env.Clientset(t).CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func newPod(name, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image}}},
	}
}

func kubectl(t *testing.T, env *controlplanetest.Environment, args ...string) []byte {
	t.Helper()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(config, env.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), env.Kubectl, append([]string{"--kubeconfig", config}, args...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %q: %v\n%s", args, err, out)
	}
	return out
}
