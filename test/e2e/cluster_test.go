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
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
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
	client.Client // of an administrator, for objects of all kinds

	kubeconfig string
	program    func(testing.TB) string
	// spaces and fences count what has been named after them.
	spaces, fences atomic.Int32
}

func newCluster(t *testing.T, program func(testing.TB) string, options ...controlplanetest.Option) *cluster {
	t.Helper()
	c := &cluster{program: program, Environment: controlplanetest.Start(t, options...)}
	c.Config.QPS = -1 // the limit is meant for controllers
	c.kubeconfig = write(t, "kubeconfig", string(c.KubeConfig))
	kinds := runtime.NewScheme()
	must(t, errors.Join(scheme.AddToScheme(kinds), v1alpha1.AddToScheme(kinds)))
	c.Client = c.newClient(t, rest.NoWarnings{}, client.Options{Scheme: kinds})
	program(t)
	return c
}

func (c *cluster) newClient(t *testing.T, warnings rest.WarningHandlerWithContext, options client.Options) client.Client {
	t.Helper()
	config := rest.CopyConfig(c.Config)
	config.WarningHandlerWithContext = warnings
	k, err := client.New(config, options)
	must(t, err)
	return k
}

// create creates objects.
func (c *cluster) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		must(t, c.Create(t.Context(), o))
	}
}

// delete deletes an object.
func (c *cluster) delete(t *testing.T, o client.Object) {
	t.Helper()
	must(t, c.Delete(t.Context(), o))
}

// patch changes an object as a merge patch says.
func (c *cluster) patch(t *testing.T, o client.Object, patch string) {
	t.Helper()
	must(t, c.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// get returns what is stored now of an object.
func get[T any, P interface {
	client.Object
	*T
}](t *testing.T, c client.Client, o P) P {
	t.Helper()
	now := P(new(T))
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(o), now))
	return now
}

func (c *cluster) newNamespace(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	c.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
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

// must ends a test that can't go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write puts a file into a folder of the test's own.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, []byte(content), 0o600))
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
func start(t *testing.T, program string, environment []string, args ...string) *process {
	t.Helper()
	p := &process{logFile: filepath.Join(t.TempDir(), "log"), exited: make(chan struct{}), command: exec.Command(program, args...)}
	log, err := os.Create(p.logFile)
	must(t, err)
	p.command.Stdout, p.command.Stderr = log, log
	p.command.Env = append(append(os.Environ(), "GORACE=halt_on_error=1"), environment...)
	must(t, p.command.Start())
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

// stop ends the process and checks that it ended well, and that its log is JSON and tells no secret.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.terminate(t)
	<-p.exited
	log := p.log(t)
	if p.err != nil {
		t.Errorf("the program ended with %v", p.err)
	}
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, `{"time":`) {
			t.Errorf("in the log is no JSON: %s", line)
			break
		}
	}
	for _, unwanted := range []string{secretKey, "PRIVATE KEY", `"panic`, "[running]:"} {
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
	must(t, err)
	return string(log)
}

func tail(log string) string {
	const most = 4000
	return log[max(0, len(log)-most):]
}

// runToEnd runs the program until it ends by itself.
func (c *cluster) runToEnd(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), c.program(t), args...)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	// Nothing of the machine's own may stand in for what is left out.
	command.Env = []string{"HOME=" + t.TempDir()}
	err := command.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), out.String(), problems.String()
}
