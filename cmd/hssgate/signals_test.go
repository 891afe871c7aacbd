package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// asVictim has this test's program wait for signals instead of testing.
const asVictim = "HSSGATE_TEST_WAIT_FOR_SIGNALS"

func TestMain(m *testing.M) {
	if os.Getenv(asVictim) == "" {
		os.Exit(m.Run())
	}
	ctx := untilSignal()
	fmt.Println("waiting")
	<-ctx.Done()
	fmt.Println("told")
	time.Sleep(time.Hour)
}

// startVictim starts a program that hears signals, and gives what it prints.
func startVictim(t *testing.T) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	victim := exec.CommandContext(t.Context(), os.Args[0])
	victim.Env = append(os.Environ(), asVictim+"=1")
	stdout, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	expectLine(t, lines, "waiting")
	return victim, lines
}

func expectLine(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	if !lines.Scan() || lines.Text() != want {
		t.Fatalf("it printed %q, want %q", lines.Text(), want)
	}
}

func TestTheFirstSignalEndsTheContextAndTheSecondTheProcess(t *testing.T) {
	t.Parallel()
	victim, lines := startVictim(t)
	for _, step := range []struct {
		signal os.Signal
		then   func()
	}{
		{syscall.SIGINT, func() { expectLine(t, lines, "told") }},
		{syscall.SIGTERM, func() {}},
	} {
		if err := victim.Process.Signal(step.signal); err != nil {
			t.Fatal(err)
		}
		step.then()
	}
	_ = victim.Wait()
	if got := victim.ProcessState.ExitCode(); got != 143 {
		t.Errorf("it exited with %d, want 143", got)
	}
}

// A person who presses Ctrl-C twice doesn't wait for the first to be heard.
func TestASecondSignalOnTheHeelsOfTheFirstIsNotLost(t *testing.T) {
	t.Parallel()
	for range 20 {
		victim, _ := startVictim(t)
		// Two of a kind could become one on their way.
		for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
			if err := victim.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
		ended := make(chan struct{})
		go func() { _ = victim.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatal("it goes on after the second signal")
		}
		if got := victim.ProcessState.ExitCode(); got != 130 && got != 143 {
			t.Errorf("it exited with %d, want 130 or 143", got)
		}
	}
}

func TestOneInterruptEndsACheckThatWaitsForStandardInput(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	silent, writer := io.Pipe()
	defer writer.Close()
	root := newRootCommand()
	root.SetArgs([]string{"check", "-f", "-", "--preset", "baseline", "--inventory", "../../config/samples/inventory.yaml"})
	root.SetIn(silent)
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	ended := make(chan error, 1)
	go func() { ended <- execute(ctx, root) }()
	// Wherever the check is by then, the interrupt has to end it.
	time.AfterFunc(100*time.Millisecond, interrupt)
	select {
	case err := <-ended:
		if err == nil || err.Error() != "check: interrupted" || exitCode(err) != exitUnknown {
			t.Errorf("got %v with exit code %d, want %d since it was interrupted", err, exitCode(err), exitUnknown)
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on waiting")
	}
}
