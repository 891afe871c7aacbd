// Package controlplanetest starts a real API server and etcd for tests. The
// binaries come from hack/controlplane: `make controlplane` builds them.
package controlplanetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// assetsVariable is envtest's name for the folder that holds etcd,
// kube-apiserver and kubectl.
const assetsVariable = "KUBEBUILDER_ASSETS"

// startTimeout leaves room for two API servers that start at once on two
// cores under the race detector; envtest's default is 20 s.
const startTimeout = 2 * time.Minute

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

// Start starts an API server with hssgate's CustomResourceDefinitions for the
// time of a test, and fails the test if it can't: it never skips. Tests that can
// share a server should be subtests of one that starts it, which takes seconds.
//
// Without WithControllers the ServiceAccount admission plugin is off, so that
// pods need no service account; nothing schedules or runs them, and no
// controller acts.
func Start(t testing.TB, opts ...Option) *Environment {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	settings := settings{
		flags: map[string][]string{},
		crds:  []string{filepath.Join(root, "charts", "hssgate", "files", "crds")},
		dir:   t.TempDir(),
	}
	for _, opt := range opts {
		if err := opt(&settings); err != nil {
			t.Fatal(err)
		}
	}
	assets, err := findAssets(root, settings.binaries()...)
	if err != nil {
		t.Fatal(err)
	}
	server, config, err := startServer(t, assets, settings)
	if err != nil {
		t.Fatalf("start the control plane: %v", err)
	}
	e := &Environment{
		Config:     config,
		KubeConfig: server.KubeConfig,
		Kubectl:    filepath.Join(assets, "kubectl"),
		auditLog:   settings.auditLog,
		server:     server,
	}
	if settings.controllers {
		e.startControllers(t, assets, settings.dir)
	}
	return e
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
func (e *Environment) StopAPIServer() error {
	if err := e.server.ControlPlane.GetAPIServer().Stop(); err != nil {
		return fmt.Errorf("stop kube-apiserver: %w", err)
	}
	return nil
}

// StartAPIServer starts kube-apiserver after StopAPIServer, with the same
// address, certificates and data, so that clients need nothing new.
func (e *Environment) StartAPIServer() error {
	if err := e.server.ControlPlane.GetAPIServer().Start(); err != nil {
		return fmt.Errorf("start kube-apiserver: %w", err)
	}
	return nil
}

// attempts are how often a control plane is started that a busy machine keeps
// from having its default namespace in the 5 s that envtest gives it.
const attempts = 3

// startServer starts the control plane, and stops it when the test ends.
func startServer(t testing.TB, assets string, s settings) (server *envtest.Environment, config *rest.Config, err error) {
	t.Helper()
	for range attempts {
		if server, err = newServer(assets, s); err != nil {
			return nil, nil, err
		}
		stop := func() {
			if err := server.Stop(); err != nil {
				t.Errorf("stop the control plane: %v", err)
			}
		}
		if config, err = server.Start(); err == nil {
			t.Cleanup(stop)
			return server, config, nil
		}
		stop()
		if !strings.Contains(err.Error(), "default namespace didn't register") {
			break
		}
	}
	return nil, nil, err
}

// newServer keeps the certificates of the API server in a folder of the test's
// own: one of envtest's own goes when the API server is stopped.
func newServer(assets string, s settings) (*envtest.Environment, error) {
	server := &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  startTimeout,
		CRDInstallOptions:        envtest.CRDInstallOptions{MaxTime: startTimeout},
		ErrorIfCRDPathMissing:    true,
		CRDDirectoryPaths:        s.crds,
	}
	apiServer := server.ControlPlane.GetAPIServer()
	apiServer.CertDir = filepath.Join(s.dir, "certificates")
	if err := os.MkdirAll(apiServer.CertDir, 0o700); err != nil {
		return nil, fmt.Errorf("keep the API server's certificates: %w", err)
	}
	for name, values := range s.flags {
		apiServer.Configure().Set(name, values...)
	}
	return server, nil
}

// findAssets returns the folder of the control plane's binaries, or an error
// that says how to get them.
func findAssets(root string, names ...string) (string, error) {
	assets := os.Getenv(assetsVariable)
	if assets == "" {
		assets = filepath.Join(root, ".cache", "controlplane", "bin")
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(assets, name)); err != nil {
			return "", fmt.Errorf("the control plane isn't built: run make controlplane, for the controllers make controllers: %w", err)
		}
	}
	return assets, nil
}
