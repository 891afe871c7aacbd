package cluster_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	root     = "../.."
	script   = root + "/hack/node/node.sh"
	registry = "127.0.0.1:5000"
)

// node is a real node in namespaces of its own.
type node struct {
	data string
	env  []string
	// netns is the file of its network namespace.
	netns string
}

// startNode starts a node that ends with the test, however that ends: the script
// removes it when its standard input is closed. With NODE_DATA set, the node
// that runs there is used, and left running.
func startNode(t *testing.T) *node {
	t.Helper()
	n := &node{data: os.Getenv("NODE_DATA"), env: os.Environ()}
	if n.data == "" {
		n.data = t.TempDir()
		n.env = append(n.env, "NODE_DATA="+n.data, fmt.Sprintf("NODE_NAME=hssgate-node-%d", os.Getpid()))
		n.keepRunning(t)
	}
	n.findNetwork(t)
	return n
}

// keepRunning starts the node, which runs until the end of the test.
func (n *node) keepRunning(t *testing.T) {
	t.Helper()
	command := exec.Command(script, "run")
	command.Env, command.Stderr = n.env, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt of the test must not interrupt the removal
	lifeline, err := command.StdinPipe()
	must(t, err)
	output, err := command.StdoutPipe()
	must(t, err)
	must(t, command.Start())
	t.Cleanup(func() {
		_ = lifeline.Close()
		if err := command.Wait(); err != nil {
			t.Errorf("remove the node: %v", err)
		}
	})
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the node did not start: got %q, %v", line, err)
	}
}

// control runs a verb of the script.
func (n *node) control(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, n.command(t.Context(), args...))
}

func (n *node) command(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, script, args...)
	command.Env = n.env
	return command
}

// exec runs a program on the node and returns its output.
func (n *node) exec(t *testing.T, args ...string) string {
	t.Helper()
	return n.control(t, append([]string{"exec"}, args...)...)
}

// run returns the output of a command that must succeed.
func run(t *testing.T, command *exec.Cmd) string {
	t.Helper()
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command.Args, " "), err, out)
	}
	return string(out)
}

func (n *node) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return n.exec(t, append([]string{"kubectl"}, args...)...)
}

// apply applies manifests and returns what kubectl prints, warnings included.
func (n *node) apply(t *testing.T, manifests string) string {
	t.Helper()
	command := n.command(t.Context(), "exec", "kubectl", "apply", "-f", "-")
	command.Stdin = strings.NewReader(manifests)
	return run(t, command)
}

// push builds an image from a Dockerfile and pushes it to the node's registry,
// which is every registry for the node. It returns the digest.
func (n *node) push(t *testing.T, reference, dockerfile, bin, context string) string {
	t.Helper()
	return strings.TrimSpace(n.exec(t, "image", "-f", dockerfile, "-bin", bin, "-platform", "linux/"+runtime.GOARCH, "-push", registry+"/"+reference, context))
}

// findNetwork finds the network of the node, a new one after each boot.
func (n *node) findNetwork(t *testing.T) {
	t.Helper()
	n.netns = fmt.Sprintf("/proc/%s/ns/net", strings.TrimSpace(n.control(t, "pid")))
}

// newConfig returns what a client needs to reach the API server as an administrator.
func (n *node) newConfig(t *testing.T) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(n.data, "pki", "admin.kubeconfig"))
	must(t, err)
	config.Dial = n.dial
	config.QPS = -1 // the limit is meant for controllers
	config.WarningHandler = rest.NoWarnings{}
	return config
}

// dial connects from the node's network.
func (n *node) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return dialFrom(ctx, n.netns, network, address)
}

// dialFrom connects from the network of the file netns. A socket belongs to the
// network namespace of the thread that creates it.
func dialFrom(ctx context.Context, netns, network, address string) (net.Conn, error) {
	type result struct {
		connection net.Conn
		err        error
	}
	dialled := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		connection, err := dialHere(ctx, netns, network, address)
		dialled <- result{connection, err}
	}()
	r := <-dialled
	return r.connection, r.err
}

func dialHere(ctx context.Context, netns, network, address string) (net.Conn, error) {
	namespace, err := os.Open(netns)
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter the network of %s: %w", netns, err)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
