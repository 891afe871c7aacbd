package controlplanetest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// FreeAddresses returns n different addresses of this host's loopback interface,
// as host:port, that nobody listens on. Their ports are below those that a system
// gives to connections it makes, so that none of these takes one before it is
// listened on.
func FreeAddresses(t testing.TB, n int) []string {
	t.Helper()
	const firstPort, lastPort, tries = 20000, 32000, 200
	var addresses []string
	for range n * tries {
		if len(addresses) == n {
			return addresses
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		if err != nil {
			continue
		}
		defer listener.Close()
		addresses = append(addresses, address)
	}
	t.Fatalf("found %d of %d free ports from %d to %d", len(addresses), n, firstPort, lastPort)
	return nil
}

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
