package controlplanetest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

func TestEnvironment(t *testing.T) {
	env := Start(t, WithAuditLog())
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

func createNamespace(t *testing.T, env *Environment, name string) {
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

func kubectl(t *testing.T, env *Environment, args ...string) []byte {
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

func TestMissingBinariesAreNamedWithTheCommandThatBuildsThem(t *testing.T) {
	built := filepath.Join(t.TempDir(), ".cache", "controlplane", "bin")
	if err := os.MkdirAll(built, 0o750); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if err := os.WriteFile(filepath.Join(built, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	checkout, empty := filepath.Dir(filepath.Dir(filepath.Dir(built))), t.TempDir()
	for name, tt := range map[string]struct {
		variable, root string
		controllers    bool
		wantErr        string
	}{
		"the variable wins over the checkout's cache":    {variable: built, root: empty},
		"without the variable it's the checkout's cache": {root: checkout},
		"missing binaries name the command to run":       {root: empty, wantErr: "run make controlplane"},
		"an empty folder in the variable is an error":    {variable: empty, root: checkout, wantErr: "run make controlplane"},
		"controllers need more":                          {root: checkout, controllers: true, wantErr: "kube-controller-manager"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBEBUILDER_ASSETS", tt.variable)
			got, err := findAssets(tt.root, tt.controllers)
			switch {
			case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
				t.Errorf("got error %v, want one with %q", err, tt.wantErr)
			case tt.wantErr == "" && (err != nil || got != built):
				t.Errorf("got %q, %v, want %q", got, err, built)
			}
		})
	}
}
