package cluster_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

// chart is the chart's folder.
const chart = "../../charts/hssgate"

// runHelm runs the real Helm, which knows nothing of the user's own.
func (w *world) runHelm(t *testing.T, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), w.helm, append(args, "--namespace", namespace, "--timeout", "5m")...)
	home := t.TempDir()
	command.Env = append(os.Environ(), "KUBECONFIG="+w.kubeconfig, "HELM_CACHE_HOME="+filepath.Join(home, "cache"),
		"HELM_CONFIG_HOME="+filepath.Join(home, "config"), "HELM_DATA_HOME="+filepath.Join(home, "data"))
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("helm %q: %v\n%s", args, err, out)
	}
}

// deploy runs `helm install` or `helm upgrade`, and waits for the replicas.
func (w *world) deploy(t *testing.T, verb, mode string, args ...string) {
	t.Helper()
	values := write(t, "values.yaml", w.values(t, mode))
	w.runHelm(t, slices.Concat([]string{verb, release, chart, "--values", values, "--wait"}, args)...)
}

// values are those that a user would give, and the addresses of this cluster:
// the API server reaches hssgate by the balancer, and hssgate HSS by its port.
func (w *world) values(t *testing.T, mode string) string {
	t.Helper()
	type object = map[string]any
	values, err := yaml.Marshal(object{
		"mode":         mode,
		"policies":     object{"preset": "baseline"},
		"credentials":  object{"accessKey": accessKey, "secretKey": secretKey},
		"webhook":      object{"url": "https://" + w.balancer.address()},
		"deployment":   object{"enabled": true},
		"certificates": object{"extraHosts": []string{"127.0.0.1"}},
		"podLabels":    object{processLabel: "true"},
		"config": object{
			"projects":   []object{{"name": "main", "endpoint": w.hss.URL, "projectID": "p1"}},
			"registries": []object{{"name": "main", "hosts": []string{"registry.example.com"}, "project": "main"}},
			// An API server learns of a new authority at once here.
			"webhook": object{"authorityPropagation": "5s"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(values)
}
