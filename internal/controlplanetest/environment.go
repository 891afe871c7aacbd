// Package controlplanetest starts a real API server and etcd for tests. The
// binaries come from hack/controlplane: `make controlplane` builds them.
package controlplanetest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	// startTimeout leaves room for two API servers that start at once on two
	// cores under the race detector; envtest's default is 20 s.
	startTimeout = 2 * time.Minute
	// attempts are how often a control plane is started that a busy machine keeps
	// from having its default namespace in the 5 s that envtest gives it.
	attempts = 3
)

// auditPolicy records every request once, with annotations and without bodies.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// Environment is a running API server with its etcd.
type Environment struct {
	// Config is a client configuration of a user in group system:masters.
	Config *rest.Config
	// KubeConfig is the same as a file for kubectl.
	KubeConfig []byte
	// Kubectl is the path of a kubectl of the API server's version.
	Kubectl string

	auditLog string
	server   *envtest.Environment
}

// Option changes how Start starts the API server.
type Option func(*settings)

type settings struct {
	flags               map[string][]string
	noCRDs, controllers bool
}

// WithFlag sets a flag of kube-apiserver, named without its dashes, in place of
// envtest's default for it.
func WithFlag(name string, values ...string) Option {
	return func(s *settings) { s.flags[name] = values }
}

// WithoutCRDs starts without hssgate's CustomResourceDefinitions.
func WithoutCRDs() Option { return func(s *settings) { s.noCRDs = true } }

// WithControllers also starts kube-controller-manager and kube-scheduler, and
// switches on the admission plugin ServiceAccount, as in a cluster: workloads
// make pods, pods get nodes, and owners take what they own with them. Nodes,
// and who runs pods on them, are the test's to bring.
func WithControllers() Option {
	return func(s *settings) {
		s.controllers = true
		s.flags["disable-admission-plugins"] = nil // envtest switches ServiceAccount off
	}
}

// Start starts an API server with hssgate's CustomResourceDefinitions for the
// time of a test, and fails the test if it can't: it never skips. Tests that can
// share a server should be subtests of one that starts it, which takes seconds.
//
// Without WithControllers the ServiceAccount admission plugin is off, so that
// pods need no service account; nothing schedules or runs them, and no
// controller acts.
func Start(t testing.TB, opts ...Option) *Environment {
	t.Helper()
	dir := t.TempDir()
	e, policy := &Environment{auditLog: filepath.Join(dir, "audit.log")}, filepath.Join(dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	s := settings{flags: map[string][]string{"audit-policy-file": {policy}, "audit-log-path": {e.auditLog}, "audit-log-mode": {"blocking"}}}
	for _, opt := range opts {
		opt(&s)
	}
	assets := findAssets(t, s.controllers)
	e.Kubectl = filepath.Join(assets, "kubectl")
	e.start(t, assets, dir, &s)
	if s.controllers {
		e.startControllers(t, assets, dir)
	}
	return e
}

// moduleRoot returns the folder of hssgate's go.mod.
func moduleRoot() string {
	_, file, _, known := runtime.Caller(0)
	if !known {
		panic("a program without line numbers doesn't know its source")
	}
	return filepath.Join(filepath.Dir(file), "..", "..")
}

func findAssets(t testing.TB, controllers bool) string {
	t.Helper()
	assets := cmp.Or(os.Getenv("KUBEBUILDER_ASSETS"), filepath.Join(moduleRoot(), ".cache", "controlplane", "bin"))
	names := []string{"etcd", "kube-apiserver", "kubectl"}
	if controllers {
		names = append(names, "kube-controller-manager", "kube-scheduler")
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(assets, name)); err != nil {
			t.Fatalf("the control plane isn't built: run make controlplane, for the controllers make controllers: %v", err)
		}
	}
	return assets
}

// start starts the control plane, and stops it when the test ends.
func (e *Environment) start(t testing.TB, assets, dir string, s *settings) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		e.server = newServer(t, assets, dir, s)
		stop := func() {
			if err := e.server.Stop(); err != nil {
				t.Errorf("stop the control plane: %v", err)
			}
		}
		config, err := e.server.Start()
		if err == nil {
			e.Config, e.KubeConfig = config, e.server.KubeConfig
			t.Cleanup(stop)
			return
		}
		stop()
		if attempt == attempts || !strings.Contains(err.Error(), "default namespace didn't register") {
			t.Fatalf("start the control plane: %v", err)
		}
	}
}

// newServer keeps the certificates of the API server in a folder of the test's
// own: one of envtest's own goes when the API server is stopped.
func newServer(t testing.TB, assets, dir string, s *settings) *envtest.Environment {
	t.Helper()
	server := &envtest.Environment{
		BinaryAssetsDirectory: assets, ControlPlaneStartTimeout: startTimeout, ControlPlaneStopTimeout: startTimeout,
		CRDInstallOptions: envtest.CRDInstallOptions{MaxTime: startTimeout}, ErrorIfCRDPathMissing: true,
	}
	if !s.noCRDs {
		server.CRDDirectoryPaths = []string{filepath.Join(moduleRoot(), "charts", "hssgate", "files", "crds")}
	}
	apiServer := server.ControlPlane.GetAPIServer()
	apiServer.CertDir = filepath.Join(dir, "certificates")
	if err := os.MkdirAll(apiServer.CertDir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, values := range s.flags {
		apiServer.Configure().Set(name, values...)
	}
	return server
}

// startControllers starts them until the end of the test, which shows their log
// if it fails.
func (e *Environment) startControllers(t testing.TB, assets, dir string) {
	t.Helper()
	kubeconfig := filepath.Join(dir, "controllers.kubeconfig")
	if err := os.WriteFile(kubeconfig, e.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kube-controller-manager", "kube-scheduler"} {
		// They are killed: what they leave undone matters no more. By default they make 20 and 50
		// requests a second, which is slow for thousands of pods.
		command := exec.CommandContext(t.Context(), filepath.Join(assets, name), "--kubeconfig", kubeconfig, "--leader-elect=false",
			"--secure-port=0", "--kube-api-qps=1000", "--kube-api-burst=2000")
		command.Stdout, command.Stderr = t.Output(), t.Output()
		if err := command.Start(); err != nil {
			t.Fatalf("start %s: %v", name, err)
		}
		t.Cleanup(func() { _ = command.Wait() })
	}
}

// Clientset returns a typed client of Kubernetes' own resources.
func (e *Environment) Clientset(t testing.TB) kubernetes.Interface {
	t.Helper()
	clientset, err := kubernetes.NewForConfig(e.Config)
	if err != nil {
		t.Fatal(err)
	}
	return clientset
}

// StopAPIServer ends kube-apiserver; etcd goes on.
func (e *Environment) StopAPIServer() error { return e.server.ControlPlane.GetAPIServer().Stop() }

// StartAPIServer starts kube-apiserver after StopAPIServer, with the same
// address, certificates and data, so that clients need nothing new.
func (e *Environment) StartAPIServer() error { return e.server.ControlPlane.GetAPIServer().Start() }

// AuditEvent returns the first event of the API server's audit log that match accepts among those that mention a text, and
// fails the test if there's none: the API server may write it a moment after it has answered.
func (e *Environment) AuditEvent(t testing.TB, mention string, match func(*auditv1.Event) bool) *auditv1.Event {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		log, _ := os.ReadFile(e.auditLog) // it is made with the first event
		for line := range bytes.Lines(log) {
			event := new(auditv1.Event) // most of them need no decoding, which takes seconds
			if bytes.Contains(line, []byte(mention)) && json.Unmarshal(line, event) == nil && match(event) {
				return event
			}
		}
	}
	t.Fatal("no such event in the audit log")
	return nil
}

// FreeAddresses returns n different addresses of this host's loopback interface,
// as host:port, without a listener. Their ports are below those that a system
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

// StartBuild begins to build hssgate, so that the control plane can start meanwhile: with the race detector, or as it is
// shipped. It returns a function that waits for the program, and returns its path.
func StartBuild(t testing.TB, race bool) (built func(testing.TB) string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "hssgate")
	flags, environment := []string{"-trimpath"}, append(os.Environ(), "CGO_ENABLED=0") // those of make build, whose cache it uses
	if race {
		flags, environment = []string{"-race"}, nil
	}
	args := append([]string{"build", "-ldflags=-s -w", "-o", program}, flags...)
	command := exec.CommandContext(t.Context(), "go", append(args, "github.com/hssgate/hssgate/cmd/hssgate")...)
	command.Env = environment
	var out []byte
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		out, err = command.CombinedOutput()
	}()
	t.Cleanup(func() { <-done }) // before its folder is removed
	return func(t testing.TB) string {
		t.Helper()
		if <-done; err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
		return program
	}
}
