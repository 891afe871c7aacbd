package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// scripted is a kubectl that does what a shell script says; "$@" are its
// arguments.
func scripted(t *testing.T, script string) *kubectl {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubectl")
	// A program that another test forks meanwhile would hold the file open, and
	// what is open for writing can't be run: golang/go#22315.
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	return &kubectl{path: path, kubeconfig: "the-config", cache: "the-cache"}
}

func TestKubectlIsAskedAsAPersonWould(t *testing.T) {
	t.Parallel()
	const plain, debug = `{"containers":[{"image":"a:1"}]}`, `{"ephemeralContainers":[{"image":"a:1"}]}`
	tests := map[string]struct {
		spec   string
		update bool
		want   string
	}{
		"an object is created":         {plain, false, "create --save-config -f -"},
		"an update is applied":         {plain, true, "apply -f -"},
		"a debug container is patched": {debug, true, `patch pod web --namespace shop --subresource ephemeralcontainers --type strategic --patch {"spec":{"ephemeralContainers":[{"image":"a:1"}]}}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := scripted(t, `echo "$@" >&2`)
			out, err := k.send(t.Context(), newTestSample(t, podJSON(tt.spec), tt.update))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff("--kubeconfig the-config --cache-dir the-cache "+tt.want, out.stderr); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestKubectlGetsTheObject(t *testing.T) {
	t.Parallel()
	out, err := scripted(t, "cat >&2").send(t.Context(), newTestSample(t, podJSON(`{"containers":[{"image":"a:1"}]}`), false))
	if err != nil || !strings.Contains(out.stderr, `"image":"a:1"`) {
		t.Errorf("it got %q, %v", out.stderr, err)
	}
}

func TestAFailureOfKubectlIsOneOfTheSample(t *testing.T) {
	t.Parallel()
	s := newTestSample(t, podJSON(`{"containers":[{"image":"a:1"}]}`), false)
	out, err := scripted(t, "echo 'Error from server: broken' >&2; exit 1").send(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if got := out.answer(); got.verdict != Failed || got.message != "Error from server: broken" {
		t.Errorf("got %+v", got)
	}
}

func TestAKubectlThatCannotRunIsAnError(t *testing.T) {
	t.Parallel()
	s := newTestSample(t, podJSON(`{"containers":[{"image":"a:1"}]}`), false)
	k := &kubectl{path: filepath.Join(t.TempDir(), "kubectl")}
	if _, err := k.send(t.Context(), s); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got error %v, want os.ErrNotExist", err)
	}
	if err := k.create(t.Context(), s.object); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got error %v, want os.ErrNotExist", err)
	}
}

func TestAnInterruptionIsNoVerdict(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := newTestSample(t, podJSON(`{"containers":[{"image":"a:1"}]}`), false)
	if _, err := scripted(t, "exit 1").send(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want context.Canceled", err)
	}
}

func TestAPreparationThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	object := newTestSample(t, podJSON(`{"containers":[{"image":"a:1"}]}`), false).object
	err := scripted(t, "echo already there >&2; exit 1").create(t.Context(), object)
	if err == nil || !strings.Contains(err.Error(), "already there") {
		t.Errorf("got error %v", err)
	}
}
