package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
	return write(t, "kubeconfig", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
current-context: c
`, server.URL))
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

func TestASelectionOfNothingIsToldSo(t *testing.T) {
	tests := map[string]struct {
		args   []string
		status int
		want   int
		says   string
	}{
		"a namespace that isn't there":           {[]string{"check", "-n", "nosuch"}, http.StatusNotFound, exitUnknown, `there is no namespace "nosuch" in the cluster`},
		"a namespace that nobody may see":        {[]string{"check", "-n", "nosuch"}, http.StatusForbidden, 0, `nothing to judge: no pod is running in namespace "nosuch"`},
		"labels that no pod has":                 {[]string{"check", "-A", "-l", "app=nope"}, http.StatusNotFound, 0, "nothing to judge: no pod with the labels app=nope is running in the cluster"},
		"labels that no pod of a namespace has":  {[]string{"check", "-n", "shop", "-l", "app=nope"}, http.StatusNotFound, 0, `no pod with the labels app=nope is running in namespace "shop"`},
		"an audit of a namespace that isn't":     {[]string{"audit", "-n", "nosuch"}, http.StatusNotFound, exitUnknown, `there is no namespace "nosuch" in the cluster`},
		"an audit of nothing":                    {[]string{"audit", "-l", "app=nope"}, http.StatusNotFound, 0, "nothing to judge"},
		"a simulation in a namespace that isn't": {[]string{"policy", "simulate", "-f", samplePolicies, "-n", "nosuch"}, http.StatusNotFound, exitUnknown, `there is no namespace "nosuch"`},
		"something":                              {[]string{"check", "-n", "shop"}, http.StatusNotFound, 0, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			kubeconfig := apiServer(t, tt.status, "clean")
			_, stderr, err := run(t, append(tt.args, "--preset", "baseline", "--inventory", sampleInventory, "--kubeconfig", kubeconfig)...)
			code := 0
			if err != nil {
				code, stderr = exitCode(err), stderr+err.Error()
			}
			if code != tt.want || !strings.Contains(stderr, tt.says) || tt.says == "" && stderr != "" {
				t.Errorf("got exit code %d and %q, want %d and %q", code, stderr, tt.want, tt.says)
			}
		})
	}
}

func TestTheNamespaceIsShownWhereMoreThanOneIsJudged(t *testing.T) {
	kubeconfig := apiServer(t, http.StatusNotFound, "high")
	for name, tt := range map[string]struct {
		args []string
		want bool
	}{
		"all namespaces":        {[]string{"check", "-A"}, true},
		"all, explained":        {[]string{"check", "-A", "--explain"}, true},
		"one namespace":         {[]string{"check", "-n", "shop"}, false},
		"an audit":              {[]string{"audit"}, true},
		"an audit of one":       {[]string{"audit", "-n", "shop"}, true},
		"all namespaces, again": {[]string{"check", "-A", "-o", "wide"}, true},
	} {
		stdout, _, err := run(t, append(tt.args, "--preset", "baseline", "--inventory", sampleInventory, "--kubeconfig", kubeconfig)...)
		if err == nil || exitCode(err) != exitFailure || !strings.Contains(stdout, "Pod/high") || strings.Contains(stdout, "shop: Pod/high") != tt.want {
			t.Errorf("%s: got %v and\n%s", name, err, stdout)
		}
	}
}
