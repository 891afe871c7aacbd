package cluster_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// testFlood connects from a pod to all ports of both replicas, more often than
// they can take if each connection costs what its client wants it to cost.
func testFlood(t *testing.T, c *cluster) {
	c.enforce(t)
	network := c.startAttacker(t)
	before := c.health(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	load := c.load(t)
	var floods []*flood
	var attack sync.WaitGroup
	for _, replica := range c.replicas(t) {
		for _, port := range replica.Spec.Containers[0].Ports {
			address := net.JoinHostPort(replica.Status.PodIP, strconv.Itoa(int(port.ContainerPort)))
			f := &flood{netns: network, address: address, tls: port.Name == "webhook", dials: time.NewTicker(20 * time.Millisecond)}
			defer f.dials.Stop()
			floods = append(floods, f)
			attack.Go(func() { f.run(ctx) })
		}
	}
	for _, f := range floods {
		eventually(t, func() error {
			if n := f.connections.Load(); n < 800 {
				return fmt.Errorf("%d connections to %s, want 800", n, f.address)
			}
			return nil
		})
	}
	load.await(t, 10*rate)
	stop()
	attack.Wait()
	load.finish(t, 0)
	if after := c.health(t); after != before {
		t.Errorf("the replicas have been restarted or not ready:\n%s\nbefore:\n%s", after, before)
	}
	for _, pid := range c.processes(t) {
		t.Logf("process %s: %s", pid, c.exec(t, "grep", "VmHWM", "/proc/"+pid+"/status"))
	}
	c.deleteNamespace(t, evil)
}

// startAttacker starts a pod and returns the file of its network namespace.
func (c *cluster) startAttacker(t *testing.T) string {
	t.Helper()
	c.newNamespace(t, evil)
	pod := newPod("attacker", goodImage)
	pod.Spec.Containers[0].Args = []string{"sleep", "987655"}
	c.startPod(t, evil, pod)
	pid := strings.TrimSpace(c.exec(t, "pgrep", "-f", "^/bin/busybox sleep 987655"))
	return filepath.Join(filepath.Dir(filepath.Dir(c.netns)), "root", "proc", pid, "ns", "net")
}

// health returns hssgate's pods, how often each has been restarted, and since
// when each has been ready.
func (c *cluster) health(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, pod := range c.replicas(t) {
		status := pod.Status.ContainerStatuses[0]
		line := fmt.Sprintf("%s restarted %d times", pod.Name, status.RestartCount)
		if last := status.LastTerminationState.Terminated; last != nil {
			line += ", the last time after " + last.Reason
		}
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady {
				line += ", ready since " + condition.LastTransitionTime.String()
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// flood connects to one port from the network of a pod.
type flood struct {
	netns, address string
	tls            bool
	// dials paces the connections: handshakes at full speed would leave no time for
	// what is tested.
	dials       *time.Ticker
	connections atomic.Int64
}

// run keeps connections of all kinds open until ctx ends.
func (f *flood) run(ctx context.Context) {
	var clients sync.WaitGroup
	defer clients.Wait()
	for _, kind := range []struct {
		clients int
		send    func(context.Context, net.Conn) error
	}{
		{650, sendLargeHead}, {25, sendSlowHead}, {25, sendNothing}, {5, sendRequests},
	} {
		for range kind.clients {
			clients.Go(func() { f.repeat(ctx, kind.send) })
		}
	}
}

// repeat connects again when a connection has ended.
func (f *flood) repeat(ctx context.Context, send func(context.Context, net.Conn) error) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.dials.C:
			_ = f.connect(ctx, send) // the server may refuse and close as it likes
		}
	}
}

// connect sends on one connection, and then waits until the server closes it.
func (f *flood) connect(ctx context.Context, send func(context.Context, net.Conn) error) error {
	connection, err := dialFrom(ctx, f.netns, "tcp", f.address)
	if err != nil {
		return err
	}
	f.connections.Add(1)
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { _ = connection.Close() })()
	if f.tls {
		connection = tls.Client(connection, &tls.Config{InsecureSkipVerify: true})
	}
	if err := send(ctx, connection); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, connection)
	return err
}

const head = "POST /validate HTTP/1.1\r\nHost: gate\r\n"

// largeHeader is what a server of net/http reads of a head by default.
var largeHeader = "X: " + strings.Repeat("x", 1<<20-1024)

func sendLargeHead(_ context.Context, w net.Conn) error {
	_, err := io.WriteString(w, head+largeHeader)
	return err
}

func sendSlowHead(ctx context.Context, w net.Conn) error {
	_, err := io.WriteString(w, head+"X: ")
	for err == nil && ctx.Err() == nil {
		_, err = io.WriteString(w, "x")
		time.Sleep(time.Second)
	}
	return err
}

// sendNothing leaves the server waiting; over TLS for the handshake.
func sendNothing(_ context.Context, w net.Conn) error {
	if secure, ok := w.(*tls.Conn); ok {
		w = secure.NetConn()
	}
	_, err := io.Copy(io.Discard, w)
	return err
}

// sendRequests sends requests whose answers it doesn't read.
func sendRequests(ctx context.Context, w net.Conn) error {
	var err error
	for err == nil && ctx.Err() == nil {
		_, err = io.WriteString(w, "GET /metrics HTTP/1.1\r\nHost: gate\r\n\r\n")
	}
	return err
}
