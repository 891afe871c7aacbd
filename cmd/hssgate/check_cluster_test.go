package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/internal/controlplanetest"
	"github.com/hssgate/hssgate/report"
)

// TestACheckOfACluster judges the pods of a real API server, by its policies
// (there are none) and by a preset.
func TestACheckOfACluster(t *testing.T) {
	env := controlplanetest.Start(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, env.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, image := range map[string]string{"clean": "/prod/clean:1.0", "high": "/prod/high:1.0"} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}}}
		pod.Spec.Containers = []corev1.Container{{Name: "app", Image: sampleHost + image}}
		if _, err := env.Clientset(t).CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		args   []string
		want   int
		denied int
		all    int
	}{
		"all namespaces":       {[]string{"-A", "--preset", "baseline"}, exitFailure, 1, 2},
		"one namespace":        {[]string{"-n", "default", "--preset", "baseline"}, exitFailure, 1, 2},
		"another namespace":    {[]string{"-n", "kube-public", "--preset", "baseline"}, 0, 0, 0},
		"with labels":          {[]string{"-A", "-l", "app=clean", "--preset", "baseline"}, 0, 0, 1},
		"by its own policies":  {[]string{"-A"}, 0, 0, 2},
		"an image by its own":  {[]string{sampleHost + "/prod/high:1.0"}, 0, 0, 1},
		"a context not there":  {[]string{"-A", "--context", "nowhere"}, exitUnknown, 0, 0},
		"a preset that audits": {[]string{"-A", "--preset", "audit"}, 0, 0, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			stdout, code := checked(t, append([]string{"--kubeconfig", kubeconfig, "-o", "json"}, tt.args...)...)
			var r report.Report
			if stdout != "" {
				if err := json.Unmarshal([]byte(stdout), &r); err != nil {
					t.Fatal(err)
				}
			}
			if r.Audit != nil {
				t.Error("a check is an audit")
			}
			if code != tt.want || r.Summary.Denied != tt.denied || r.Summary.Objects != tt.all {
				t.Errorf("got exit code %d and %+v, want %d, %d denied of %d", code, r.Summary, tt.want, tt.denied, tt.all)
			}
		})
	}
	auditCluster(t, kubeconfig)
}

// auditCluster audits the same pods.
func auditCluster(t *testing.T, kubeconfig string) {
	t.Helper()
	tests := map[string]struct {
		args                  []string
		want, violating, pods int
	}{
		"a policy that denies":   {[]string{"--preset", "baseline"}, exitFailure, 1, 2},
		"a policy that audits":   {[]string{"--preset", "audit"}, exitFailure, 1, 2},
		"no policy":              {nil, 0, 0, 2},
		"what is well":           {[]string{"--preset", "audit", "-l", "app=clean"}, 0, 0, 1},
		"another namespace":      {[]string{"--preset", "audit", "-n", "kube-public"}, 0, 0, 0},
		"an exempt namespace":    {[]string{"--preset", "audit", "--config", write(t, "config.yaml", readFile(t, "../../config/samples/config.yaml")+"\nexemptNamespaces: [default]\n")}, 0, 0, 0},
		"a cluster not there":    {[]string{"--context", "nowhere"}, exitUnknown, 0, 0},
		"files":                  {[]string{"-f", "pods.yaml"}, exitUsage, 0, 0},
		"an image":               {[]string{sampleHost + "/prod/high:1.0"}, exitUsage, 0, 0},
		"an output of pipelines": {[]string{"-o", "sarif"}, exitUsage, 0, 0},
	}
	for name, tt := range tests {
		t.Run("audit of "+name, func(t *testing.T) {
			stdout, _, err := run(t, append([]string{"audit", "--inventory", sampleInventory, "--kubeconfig", kubeconfig, "-o", "json"}, tt.args...)...)
			code := 0
			if err != nil {
				code = exitCode(err)
			}
			r := report.Report{Audit: &report.Audit{}}
			if stdout != "" {
				if err := json.Unmarshal([]byte(stdout), &r); err != nil {
					t.Fatal(err)
				}
			}
			if code != tt.want || r.Audit.Violating != tt.violating || r.Audit.Pods != tt.pods {
				t.Errorf("got exit code %d (%v) and %+v, want %d, %d of %d violating", code, err, r.Audit, tt.want, tt.violating, tt.pods)
			}
		})
	}
}
