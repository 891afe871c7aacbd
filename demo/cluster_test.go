package demo_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hssgate/hssgate/demo"
)

// controlPlane is the folder of etcd, kube-apiserver and kubectl.
func controlPlane(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("KUBEBUILDER_ASSETS")
	if dir == "" {
		dir = filepath.Join("..", ".cache", "controlplane", "bin")
	}
	if _, err := os.Stat(filepath.Join(dir, "kube-apiserver")); err != nil {
		t.Fatalf("the control plane isn't built: run make controlplane: %v", err)
	}
	return dir
}

// What the demonstration shows by itself is what an API server and kubectl show.
func TestAnAPIServerGivesTheSameVerdicts(t *testing.T) {
	t.Parallel()
	want, err := demo.Run(t.Context(), demo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var progress []string
	got, err := demo.Run(t.Context(), demo.Options{
		ControlPlane: controlPlane(t),
		Progress:     func(line string) { progress = append(progress, line) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Check(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(demo.Result{})); diff != "" {
		t.Errorf("results (-without +with an API server):\n%s", diff)
	}
	if len(progress) < 3 {
		t.Errorf("only %d lines of progress: %q", len(progress), progress)
	}
}

func TestAnIncompleteControlPlaneIsAnError(t *testing.T) {
	t.Parallel()
	_, err := demo.Run(t.Context(), demo.Options{ControlPlane: t.TempDir()})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "etcd") {
		t.Errorf("got error %v, want one that names etcd", err)
	}
}

func TestAnInterruptedDemonstrationLeavesNothing(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := demo.Run(ctx, demo.Options{
		ControlPlane: controlPlane(t),
		Progress: func(line string) {
			if strings.HasPrefix(line, "creating") {
				cancel()
			}
		},
	})
	if err == nil {
		t.Error("got no error")
	}
	left, err := os.ReadDir(temporary)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("%s is left behind", entry.Name())
	}
}
