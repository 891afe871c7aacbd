package e2e_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// process is the program as a child process.
type process struct {
	command *exec.Cmd
	logFile string
	exited  chan struct{}
	err     error
}

// start starts the program with its log in a file, and stops it in the end.
func (c *cluster) start(t *testing.T, args ...string) *process {
	t.Helper()
	return c.startWith(t, nil, args...)
}

// startWith starts the program with more in its environment.
func (c *cluster) startWith(t *testing.T, environment []string, args ...string) *process {
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
