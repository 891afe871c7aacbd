package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/internal/controlplanetest"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// apiServer serves pods of namespace shop, each of its name as label app, and
// answers status for any other namespace. It returns the kubeconfig to reach it.
func apiServer(t *testing.T, status int, pods ...string) string {
	t.Helper()
	mux := http.NewServeMux()
	list := func(w http.ResponseWriter, r *http.Request) {
		items := []any{}
		for _, name := range pods {
			if selector := r.URL.Query().Get("labelSelector"); selector == "" || selector == "app="+name {
				items = append(items, map[string]any{
					"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name, "namespace": "shop", "labels": map[string]string{"app": name}},
					"spec": map[string]any{"containers": []any{map[string]any{"name": "a", "image": sampleHost + "/prod/" + name + ":1.0"}}},
				})
			}
		}
		answer(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "PodList", "metadata": map[string]any{}, "items": items})
	}
	mux.HandleFunc("/api/v1/pods", list)
	mux.HandleFunc("/api/v1/namespaces/shop/pods", list)
	mux.HandleFunc("/api/v1/namespaces/{namespace}/pods", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "PodList", "metadata": map[string]any{}, "items": []any{}})
	})
	mux.HandleFunc("/api/v1/namespaces/shop", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "shop"}})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		code := http.StatusNotFound
		if strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/") {
			code = status
		}
		reason := map[int]string{http.StatusNotFound: "NotFound", http.StatusForbidden: "Forbidden"}[code]
		answer(w, code, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "code": code})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return kubeconfig(t, server.URL)
}

// kubeconfig writes the kubeconfig of an API server.
func kubeconfig(t *testing.T, url string) string {
	t.Helper()
	return write(t, "kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: it, contexts: [{name: it, context: {cluster: it}}], clusters: [{name: it, cluster: {server: %q}}]}`, url))
}

func answer(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

func TestASelectionOfNothingIsReported(t *testing.T) {
	tests := map[string]struct {
		args   []string
		status int
		want   int
		says   string
	}{
		"a namespace that isn't there":           {[]string{"check", "-n", "nosuch"}, http.StatusNotFound, exitUnknown, `there is no namespace "nosuch" in the cluster`},
		"a namespace that nobody may see":        {[]string{"check", "-n", "nosuch"}, http.StatusForbidden, 0, "nothing to evaluate"},
		"labels that no pod has":                 {[]string{"check", "-A", "-l", "app=nope"}, http.StatusNotFound, 0, "nothing to evaluate"},
		"labels that no pod of a namespace has":  {[]string{"check", "-n", "shop", "-l", "app=nope"}, http.StatusNotFound, 0, "nothing to evaluate"},
		"a simulation in a namespace that isn't": {[]string{"policy", "simulate", "-f", samplePolicies, "-n", "nosuch"}, http.StatusNotFound, exitUnknown, `there is no namespace "nosuch"`},
		"something":                              {[]string{"check", "-n", "shop"}, http.StatusNotFound, 0, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, stderr, err := run(t, append(tt.args, "--preset", "baseline", "--inventory", sampleInventory, "--kubeconfig", apiServer(t, tt.status, "clean"))...)
			if err != nil {
				stderr += err.Error()
			}
			if code := codeOf(err); code != tt.want || !strings.Contains(stderr, tt.says) || tt.says == "" && stderr != "" {
				t.Errorf("got exit code %d and %q, want %d and %q", code, stderr, tt.want, tt.says)
			}
		})
	}
}

// TestACheckOfACluster evaluates the pods of a real API server, by its policies
// (there are none) and by a preset.
func TestACheckOfACluster(t *testing.T) {
	env := controlplanetest.Start(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, env.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	pods := env.Clientset(t).CoreV1().Pods("default")
	for name, image := range map[string]string{"clean": "clean", "high": "high", "ended": "high"} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}}}
		pod.Spec.Containers = []corev1.Container{{Name: "app", Image: sampleHost + "/prod/" + image + ":1.0"}}
		created, err := pods.Create(t.Context(), pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if name == "ended" {
			created.Status.Phase = corev1.PodSucceeded
			if _, err := pods.UpdateStatus(t.Context(), created, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	exempt := write(t, "config.yaml", readFile(t, "../../config/samples/config.yaml")+"\nexemptNamespaces: [default]\n")
	tests := map[string]struct {
		args []string
		want int
		// pods are all that are evaluated; of these, so many are denied, and violate
		// a policy, whatever its enforcement.
		pods, denied, violating int
	}{
		"all namespaces":       {[]string{"-A", "--preset", "baseline"}, exitFailure, 2, 1, 1},
		"one namespace":        {[]string{"-n", "default", "--preset", "baseline"}, exitFailure, 2, 1, 1},
		"another namespace":    {[]string{"-n", "kube-public", "--preset", "baseline"}, 0, 0, 0, 0},
		"with labels":          {[]string{"-A", "-l", "app=clean", "--preset", "baseline"}, 0, 1, 0, 0},
		"by its own policies":  {[]string{"-A"}, 0, 2, 0, 0},
		"an image by its own":  {[]string{sampleHost + "/prod/high:1.0"}, 0, 1, 0, 0},
		"a context not there":  {[]string{"-A", "--context", "nowhere"}, exitUnknown, 0, 0, 0},
		"a policy that audits": {[]string{"-A", "--preset", "audit"}, 0, 2, 0, 1},
		"a clean pod":          {[]string{"-A", "--preset", "audit", "-l", "app=clean"}, 0, 1, 0, 0},
		"an exempt namespace":  {[]string{"-A", "--preset", "audit", "--config", exempt}, 0, 2, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			stdout, code := checked(t, append([]string{"--kubeconfig", kubeconfig, "-o", "json"}, tt.args...)...)
			r := report.Report{Audit: &report.Audit{}}
			if stdout != "" {
				if err := json.Unmarshal([]byte(stdout), &r); err != nil {
					t.Fatal(err)
				}
			}
			if code != tt.want || r.Summary.Objects != tt.pods || r.Summary.Denied != tt.denied || r.Audit.Violating != tt.violating {
				t.Errorf("got exit code %d, %+v and %+v, want %d, %d denied and %d violating of %d", code, r.Summary, r.Audit, tt.want, tt.denied, tt.violating, tt.pods)
			}
		})
	}
	useException(t, env, kubeconfig)
}

// useException has an image denied by a policy in force, in namespaces by their
// labels, until allow admits it into one of them.
func useException(t *testing.T, env *controlplanetest.Environment, kubeconfig string) {
	t.Helper()
	high := sampleHost + "/prod/high:1.0"
	denied := func(namespace string) bool {
		stdout, code := checked(t, high, "-n", namespace, "--kubeconfig", kubeconfig)
		return code == exitFailure && !strings.Contains(stdout, "Excepted")
	}
	allow := func(more ...string) {
		if _, _, err := run(t, append([]string{"allow", high, "-n", "shop", "--for", "1h", "--reason", "INC-7", "--kubeconfig", kubeconfig}, more...)...); err != nil {
			t.Fatal(err)
		}
	}
	for name, stage := range map[string]string{"shop": "prod", "other": "prod", "quiet": "dev"} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"env": stage}}}
		if _, err := env.Clientset(t).CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	policy := strings.Replace(strictProduction, "digest: Required", "vulnerabilities: {max: 0}", 1)
	fields := map[string]any{}
	if err := yaml.Unmarshal([]byte(policy), &fields); err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	policies := client.Resource(v1alpha1.GroupVersion.WithResource("imagescanpolicies"))
	if _, err := policies.Create(t.Context(), &unstructured.Unstructured{Object: fields}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	allow("--dry-run", "server")
	if !denied("shop") || !denied("other") || denied("quiet") {
		t.Error("the policy does not deny the image in namespaces that it selects")
	}
	allow()
	if denied("shop") || !denied("other") {
		t.Error("the exception does not admit the image in its namespace only")
	}
}
