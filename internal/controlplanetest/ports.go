package controlplanetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// The ports from which FreePorts chooses: below those that a system gives to
// connections it makes, so that none of these takes one before it is listened
// on.
const (
	firstPort = 20000
	lastPort  = 32000
	// portTries is how many are tried for each that is needed.
	portTries = 200
)

// FreePorts returns n different TCP ports of this host's loopback interface that
// nobody listens on.
func FreePorts(ctx context.Context, n int) ([]int, error) {
	var ports []int
	for range n * portTries {
		if len(ports) == n {
			break
		}
		port := firstPort + rand.IntN(lastPort-firstPort)
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", loopback(port))
		if err != nil {
			continue
		}
		defer listener.Close()
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil, fmt.Errorf("found %d of %d free ports from %d to %d", len(ports), n, firstPort, lastPort)
	}
	return ports, nil
}

// FreeAddresses returns n different addresses of this host's loopback interface,
// as host:port, that nobody listens on.
func FreeAddresses(t testing.TB, n int) []string {
	t.Helper()
	ports, err := FreePorts(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	addresses := make([]string, 0, n)
	for _, port := range ports {
		addresses = append(addresses, loopback(port))
	}
	return addresses
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
