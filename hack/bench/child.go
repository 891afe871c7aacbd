package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// usage is what a process has used so far.
type usage struct {
	// CPU is the time on a processor, user and system.
	CPU time.Duration `json:"cpu"`
	// Mallocs counts what was allocated, in objects and in bytes.
	Mallocs    uint64 `json:"mallocs"`
	TotalAlloc uint64 `json:"totalAlloc"`
	// Heap is what is live or not yet collected, MaxRSS the largest resident
	// size, both in bytes.
	Heap   uint64 `json:"heap"`
	MaxRSS uint64 `json:"maxRss"`
}

func usageOfSelf() (usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}, fmt.Errorf("getrusage: %w", err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{
		CPU:     time.Duration(r.Utime.Nano() + r.Stime.Nano()),
		Mallocs: m.Mallocs, TotalAlloc: m.TotalAlloc, Heap: m.HeapAlloc,
		MaxRSS: uint64(r.Maxrss) << 10, //nolint:gosec // a size
	}, nil
}

// What this program does as a child of itself.
const (
	childServe    = "serve"
	childLoad     = "load"
	childRemember = "remember"
)

func isChild(what string) bool {
	return slices.Contains([]string{childServe, childLoad, childRemember}, what)
}

// child is another process of this program. It ends when its stdin does.
type child struct {
	name    string
	command *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Reader
}

// startSelf starts this program with one processor for Go and, if the machine
// has several and taskset is there, kept to one of them.
func (b *bench) startSelf(ctx context.Context, cpu int, args ...string) (*child, error) {
	command := exec.CommandContext(ctx, b.self, args...) //nolint:gosec // this program itself
	if taskset, err := exec.LookPath("taskset"); err == nil && runtime.NumCPU() > 1 {
		pinned := slices.Concat([]string{"-c", strconv.Itoa(cpu), b.self}, args)
		command = exec.CommandContext(ctx, taskset, pinned...) //nolint:gosec // this program itself
	}
	command.Env = append(os.Environ(), "GOMAXPROCS=1")
	return start(command, args[0])
}

func start(command *exec.Cmd, name string) (*child, error) {
	c := &child{name: name, command: command}
	c.command.Stderr = os.Stderr
	c.command.WaitDelay = 10 * time.Second
	var err error
	if c.stdin, err = c.command.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.stdout = bufio.NewReader(stdout)
	if err := c.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return c, nil
}

// usage asks the child what it has used.
func (c *child) usage() (u usage, err error) {
	if err := c.write("usage"); err != nil {
		return usage{}, err
	}
	err = c.read(&u)
	return u, err
}

// write writes one line of JSON.
func (c *child) write(v any) error {
	if err := json.NewEncoder(c.stdin).Encode(v); err != nil {
		return fmt.Errorf("write to %s: %w", c.name, err)
	}
	return nil
}

// read reads one line of JSON.
func (c *child) read(v any) error {
	line, err := c.stdout.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read from %s: %w", c.name, err)
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("read from %s: %w", c.name, err)
	}
	return nil
}

// stop has the child end and waits for it.
func (c *child) stop() error {
	if err := errors.Join(c.stdin.Close(), c.command.Wait()); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// newRegistry is for metrics that nobody reads, but that are to be counted.
func newRegistry() *prometheus.Registry { return prometheus.NewRegistry() }
