package controlplanetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// logTail is how much of a controller's log a failed test shows, in bytes.
const logTail = 4000

// WithControllers also starts kube-controller-manager and kube-scheduler, and
// switches on the admission plugin ServiceAccount, as in a cluster: workloads
// make pods, pods get nodes, and owners take what they own with them. Nodes,
// and who runs pods on them, are the test's to bring.
func WithControllers() Option {
	return func(s *settings) error {
		s.controllers = true
		// envtest switches ServiceAccount off.
		s.flags["disable-admission-plugins"] = nil
		return nil
	}
}

// startControllers starts them until the end of the test.
func (e *Environment) startControllers(t testing.TB, assets, dir string) {
	t.Helper()
	kubeconfig := filepath.Join(dir, "controllers.kubeconfig")
	if err := os.WriteFile(kubeconfig, e.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kube-controller-manager", "kube-scheduler"} {
		startProcess(t, filepath.Join(assets, name), "--kubeconfig", kubeconfig, "--leader-elect=false", "--secure-port=0",
			// By default they make 20 and 50 requests a second, which is slow for thousands of pods.
			"--kube-api-qps=1000", "--kube-api-burst=2000")
	}
}

// startProcess starts a part of a cluster until the end of the test, and shows
// the end of its log if the test fails.
func startProcess(t testing.TB, path string, args ...string) {
	t.Helper()
	name := filepath.Base(path)
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(path, args...)
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	exited := make(chan struct{})
	var ended error
	go func() { defer close(exited); ended = command.Wait() }()
	t.Cleanup(func() {
		select {
		case <-exited:
			t.Errorf("%s ended by itself: %v", name, ended)
		default:
		}
		// What a controller leaves undone matters no more.
		if err := command.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("stop %s: %v", name, err)
		}
		<-exited
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", name, tailOf(log.Name()))
		}
	})
}

func tailOf(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprintf("unreadable: %v", err)
	}
	return string(content[max(0, len(content)-logTail):])
}
