package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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
const patience = 5 * time.Minute

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
	binary, built := controlplanetest.StartBuild(t, raceFlag())
	c := &cluster{binary: binary, Environment: controlplanetest.Start(t, options...)}
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

// raceFlag makes the program under test what the tests are, so that a race in it
// ends it.
func raceFlag() string {
	info, _ := debug.ReadBuildInfo()
	return fmt.Sprintf("-race=%t", slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}))
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

// mustKubectl runs kubectl, which must succeed.
func (c *cluster) mustKubectl(t *testing.T, stdin string, args ...string) {
	t.Helper()
	if _, stderr, err := c.kubectl(t, stdin, args...); err != nil {
		t.Fatalf("kubectl %q: %v\n%s", args, err, stderr)
	}
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

// process is the program as a child process.
type process struct {
	command *exec.Cmd
	logFile string
	exited  chan struct{}
	err     error
}

// start starts the program with its log in a file and more in its environment, and
// stops it in the end.
func (c *cluster) start(t *testing.T, environment []string, args ...string) *process {
	t.Helper()
	p := &process{logFile: filepath.Join(t.TempDir(), "log"), exited: make(chan struct{})}
	log, err := os.Create(p.logFile)
	if err != nil {
		t.Fatal(err)
	}
	p.command = exec.Command(c.binary, args...)
	p.command.Stdout, p.command.Stderr = log, log
	p.command.Env = append(append(os.Environ(), "GORACE=halt_on_error=1"), environment...)
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		p.err = p.command.Wait()
		_ = log.Close() // the process has closed its own
	}()
	t.Cleanup(func() { p.stop(t) })
	return p
}

// terminate asks the process to end, as a kubelet does.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("SIGTERM: %v", err)
	}
}

// stop ends the process and checks that it ended well and told no secret.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.terminate(t)
	<-p.exited
	log := p.log(t)
	if p.err != nil {
		t.Errorf("the program ended with %v", p.err)
	}
	for _, unwanted := range []string{secretKey, "DATA RACE", `"panic`, "[running]:"} {
		if strings.Contains(log, unwanted) {
			t.Errorf("%q is in the log", unwanted)
		}
	}
	if t.Failed() {
		t.Logf("the end of the log of %q:\n%s", p.command.Args, tail(log))
	}
}

func (p *process) log(t *testing.T) string {
	t.Helper()
	log, err := os.ReadFile(p.logFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}

func tail(log string) string {
	const most = 4000
	return log[max(0, len(log)-most):]
}

// runToEnd runs the program until it ends by itself.
func (c *cluster) runToEnd(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), c.binary, args...)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	// Nothing of the machine's own may stand in for what is left out.
	command.Env = []string{"HOME=" + t.TempDir()}
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), out.String(), problems.String()
}
