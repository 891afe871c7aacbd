package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds a program")
	}
	static := build(t, "CGO_ENABLED=0")
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no binary"), 0o600); err != nil {
		t.Fatal(err)
	}

	tested, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		path    string
		limit   int64
		wantErr string
	}{
		"a static binary below the limit passes": {path: static, limit: 50 * mebibyte},
		"one byte over the limit is too large":   {path: static, limit: size(t, static) - 1, wantErr: "allowed are"},
		"just the limit passes":                  {path: static, limit: size(t, static)},
		"a binary with test code fails":          {path: tested, limit: 100 * mebibyte, wantErr: "contains test code"},
		"a file that is no binary fails":         {path: text, limit: mebibyte, wantErr: "is no Linux binary"},
		"a file that is missing fails":           {path: text + "-missing", limit: mebibyte, wantErr: "no such file"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := verify(test.path, test.limit)
			switch {
			case test.wantErr == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case test.wantErr == "" && got != size(t, test.path):
				t.Errorf("got %d bytes, want %d", got, size(t, test.path))
			case test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr)):
				t.Errorf("got error %v, want one with %q", err, test.wantErr)
			}
		})
	}
}

func TestVerifyDynamic(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds a program")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("a dynamic binary needs a C compiler")
	}
	// The race detector's runtime is C, so this binary needs the C library.
	dynamic := build(t, "CGO_ENABLED=1", "-race")
	_, err := verify(dynamic, 100*mebibyte)
	if err == nil || !strings.Contains(err.Error(), "is dynamically linked") {
		t.Errorf("got error %v, want one that says it's dynamically linked", err)
	}
}

// build builds this command itself and returns the file.
func build(t *testing.T, env string, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "binary")
	args := append([]string{"build", "-o", path}, flags...)
	command := exec.CommandContext(t.Context(), "go", append(args, ".")...)
	command.Env = append(os.Environ(), env)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go %q: %v\n%s", args, err, out)
	}
	return path
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
