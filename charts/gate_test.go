package charts_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/internal/controlplanetest"
	"github.com/hssgate/hssgate/server"
)

// testGate is the real gate, run in the test's process with the rights of the
// chart's service account.
type testGate struct {
	webhook, health, metrics int
	log                      lockedBuffer
	cancel                   context.CancelFunc
	done                     chan error

	mu      sync.Mutex
	refused []string
}

func newTestGate(t *testing.T) *testGate {
	t.Helper()
	ports, err := controlplanetest.FreePorts(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	return &testGate{webhook: ports[0], health: ports[1], metrics: ports[2], done: make(chan error, 1)}
}

// values are those by which the chart sends the API server here.
func (g *testGate) values() []string {
	return set(
		"ports.webhook="+strconv.Itoa(g.webhook), "ports.health="+strconv.Itoa(g.health), "ports.metrics="+strconv.Itoa(g.metrics),
		fmt.Sprintf("webhook.url=https://127.0.0.1:%d", g.webhook), "certificates.extraHosts={127.0.0.1}", "config.shutdownDelay=0s")
}

// start runs the gate until the test ends, and waits until it is ready.
func (g *testGate) start(t *testing.T, c *cluster, configuration *config.Configuration) {
	t.Helper()
	user := rest.CopyConfig(c.config)
	user.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":" + release,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	user.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) { return g.watch(next, r) })
	})
	gate := &server.Server{
		Config: configuration, Cluster: user, Log: slog.New(slog.NewTextHandler(&g.log, nil)),
		UserAgent: "hssgate/test", LeaderElect: true, Namespace: namespace,
	}
	var ctx context.Context
	ctx, g.cancel = context.WithCancel(t.Context())
	go func() { g.done <- gate.Run(ctx) }()
	eventually(t, func(ctx context.Context) string { return g.unready(ctx, t) })
}

// startProgram is start for the program itself, which a test's process can hold
// only once, with all rights.
func (g *testGate) startProgram(t *testing.T, c *cluster, program, configFile string) {
	t.Helper()
	command := exec.Command(program, "serve", "--config", configFile, "--kubeconfig", c.kubeconfig)
	command.Env = append(os.Environ(), "POD_NAMESPACE="+namespace)
	command.Stdout, command.Stderr = &g.log, &g.log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		g.done <- command.Wait()
	}()
	g.cancel = func() { _ = command.Process.Signal(syscall.SIGTERM) } // it may have ended, which stop tells
	t.Cleanup(func() { g.cancel(); <-ended })
	eventually(t, func(ctx context.Context) string { return g.unready(ctx, t) })
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// watch notes which calls the API server refuses.
func (g *testGate) watch(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	response, err := next.RoundTrip(r)
	if err == nil && (response.StatusCode == http.StatusForbidden || response.StatusCode == http.StatusUnauthorized) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.refused = append(g.refused, r.Method+" "+r.URL.String())
	}
	return response, err
}

func (g *testGate) unready(ctx context.Context, t testing.TB) string {
	t.Helper()
	select {
	case err := <-g.done:
		t.Fatalf("the gate ended: %v\n%s", err, g.log.String())
	default:
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz?verbose", g.health), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Sprintf("not ready: %s\n%s", response.Status, g.log.String())
	}
	return ""
}

// stop ends the gate as the end of its pod would.
func (g *testGate) stop(t *testing.T) {
	t.Helper()
	g.cancel()
	select {
	case err := <-g.done:
		if err != nil {
			t.Errorf("the gate ended with %v\n%s", err, g.log.String())
		}
	case <-time.After(time.Minute):
		t.Fatalf("the gate doesn't end\n%s", g.log.String())
	}
}

// verify fails the test for every call that the gate had no right to.
func (g *testGate) verify(t *testing.T) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, call := range g.refused {
		t.Errorf("the chart's roles don't allow a call that the gate makes: %s", call)
	}
}

// lockedBuffer is a buffer for a log that is read while it is written.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
