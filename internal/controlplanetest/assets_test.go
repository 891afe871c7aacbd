package controlplanetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindAssets(t *testing.T) {
	built := filepath.Join(t.TempDir(), "built")
	writeAssets(t, built)
	checkout := t.TempDir()
	writeAssets(t, filepath.Join(checkout, ".cache", "controlplane", "bin"))

	tests := map[string]struct {
		variable, root, want, wantErr string
	}{
		"the variable wins over the checkout's cache":    {variable: built, root: checkout, want: built},
		"without the variable it's the checkout's cache": {root: checkout, want: filepath.Join(checkout, ".cache", "controlplane", "bin")},
		"missing binaries name the command to run":       {root: t.TempDir(), wantErr: "run make controlplane"},
		"an empty folder in the variable is an error":    {variable: t.TempDir(), root: checkout, wantErr: "run make controlplane"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv(assetsVariable, test.variable)
			got, err := findAssets(test.root, new(settings).binaries()...)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("got error %v, want one with %q", err, test.wantErr)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestControllersNeedMore(t *testing.T) {
	t.Setenv(assetsVariable, "")
	root := t.TempDir()
	writeAssets(t, filepath.Join(root, ".cache", "controlplane", "bin"))
	withControllers := settings{flags: map[string][]string{}}
	if err := WithControllers()(&withControllers); err != nil {
		t.Fatal(err)
	}
	_, err := findAssets(root, withControllers.binaries()...)
	if err == nil || !strings.Contains(err.Error(), "make controllers") || !strings.Contains(err.Error(), "kube-controller-manager") {
		t.Errorf("got error %v, want one that names kube-controller-manager and make controllers", err)
	}
}

func TestModuleRoot(t *testing.T) {
	t.Run("it is above the package's folder", func(t *testing.T) {
		root, err := moduleRoot()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(root, "internal", "controlplanetest", "module.go")); err != nil {
			t.Error(err)
		}
	})
	t.Run("other modules in between don't count", func(t *testing.T) {
		root := t.TempDir()
		below := filepath.Join(root, "hack", "tools")
		writeFile(t, filepath.Join(root, "go.mod"), moduleLine)
		writeFile(t, filepath.Join(below, "go.mod"), "module github.com/hssgate/hssgate/hack/tools\n")
		t.Chdir(below)
		got, err := moduleRoot()
		if err != nil || !sameFile(t, got, root) {
			t.Errorf("got %q, %v, want %q", got, err, root)
		}
	})
	t.Run("outside of a checkout it's an error", func(t *testing.T) {
		t.Chdir(t.TempDir())
		if got, err := moduleRoot(); err == nil {
			t.Errorf("got %q, want an error", got)
		}
	})
}

func writeAssets(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		writeFile(t, filepath.Join(dir, name), "")
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sameFile compares files, not paths: a temporary folder may be a symbolic link.
func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	first, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(first, second)
}
