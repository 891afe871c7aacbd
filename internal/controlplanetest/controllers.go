package controlplanetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// startControllers starts them until the end of the test, which shows their log
// if it fails.
func (e *Environment) startControllers(t testing.TB, assets, dir string) {
	t.Helper()
	kubeconfig := filepath.Join(dir, "controllers.kubeconfig")
	if err := os.WriteFile(kubeconfig, e.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kube-controller-manager", "kube-scheduler"} {
		// They are killed: what they leave undone matters no more. By default they make 20 and 50
		// requests a second, which is slow for thousands of pods.
		command := exec.CommandContext(t.Context(), filepath.Join(assets, name), "--kubeconfig", kubeconfig, "--leader-elect=false",
			"--secure-port=0", "--kube-api-qps=1000", "--kube-api-burst=2000")
		command.Stdout, command.Stderr = t.Output(), t.Output()
		if err := command.Start(); err != nil {
			t.Fatalf("start %s: %v", name, err)
		}
		t.Cleanup(func() { _ = command.Wait() })
	}
}
