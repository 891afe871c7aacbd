package controlplanetest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
)

// StartBuild begins to build hssgate with the flags of go build, so that the
// control plane can start meanwhile. It returns where the program will be, once
// built gives nil.
func StartBuild(t testing.TB, flags ...string) (program string, built <-chan error) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "hssgate")
	args := append(append([]string{"build"}, flags...), "-o", program, "github.com/hssgate/hssgate/cmd/hssgate")
	command := exec.CommandContext(t.Context(), "go", args...)
	done := make(chan error, 1)
	go func() {
		out, err := command.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("go build: %w\n%s", err, out)
		}
		done <- err
	}()
	return program, done
}
