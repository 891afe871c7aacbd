package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/controlplanetest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// patience is how long a test waits for what must come: long, for a busy
// machine, and never spent when all is well.
const patience = 90 * time.Second

// cluster is a running API server, and the program to be tested with it.
type cluster struct {
	*controlplanetest.Environment
	kubeconfig string
	binary     string
	// policies reads and writes ImageScanPolicies.
	policies client.Client
	// spaces and fences count what has been named after them.
	spaces, fences atomic.Int32
}

func newCluster(t *testing.T, options ...controlplanetest.Option) *cluster {
	t.Helper()
	binary, built := controlplanetest.StartBuild(t, raceFlag)
	c := &cluster{binary: binary, Environment: controlplanetest.Start(t, append(options, controlplanetest.WithAuditLog())...)}
	// The limit is meant for controllers.
	c.Config.QPS = -1
	if err := <-built; err != nil {
		t.Fatal(err)
	}
	c.kubeconfig = write(t, "kubeconfig", string(c.KubeConfig))
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.policies, err = client.New(c.Config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	return c
}

// client returns a client whose warnings are kept apart.
func (c *cluster) client(t *testing.T) (kubernetes.Interface, *warnings) {
	t.Helper()
	w := &warnings{}
	config := rest.CopyConfig(c.Config)
	config.WarningHandlerWithContext = w
	k, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return k, w
}

// kubectl runs kubectl and returns what it writes for people.
func (c *cluster) kubectl(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), c.Kubectl, append([]string{"--kubeconfig", c.kubeconfig}, args...)...)
	var out, problems bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &out, &problems
	// kubectl keeps what it learns of the API server below $HOME.
	command.Env = append(os.Environ(), "HOME="+t.TempDir())
	err = command.Run()
	return out.String(), problems.String(), err
}

// warnings are the API server's warnings to a client.
type warnings struct {
	mu   sync.Mutex
	list []string
}

// HandleWarningHeaderWithContext keeps a warning.
func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, code int, _, text string) {
	if code != 299 || text == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, text)
}

// take returns the warnings since the last time.
func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.list
	w.list = nil
	return list
}

// write puts a file into a folder of the test's own.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// errNotYet is for conditions that have nothing more to say.
var errNotYet = errors.New("not yet")

// eventually waits until condition returns nil.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("after %s: %v", patience, err)
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
