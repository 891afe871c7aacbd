package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// startTimeout bounds how long is waited for a process that starts.
const startTimeout = 2 * time.Minute

// gateProcess is the program itself.
type gateProcess struct {
	command         *exec.Cmd
	webhook, health string
	caFile, logFile string
	exited          chan error
}

// buildGate builds the program.
func (b *bench) buildGate(ctx context.Context) (string, error) {
	binary := filepath.Join(b.dir, "hssgate")
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "./cmd/hssgate") //nolint:gosec // its own folder
	command.Dir, command.Stderr = b.root, os.Stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("build hssgate: %w", err)
	}
	return binary, nil
}

// gateConfiguration is the defaults with what must be given.
const gateConfiguration = `apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
healthBindAddress: %s
metricsBindAddress: "0"
webhook: {bindAddress: %s}
projects:
- name: main
  endpoint: %s
  projectID: p1
  credentials: {source: Files, accessKeyFile: %s, secretKeyFile: %s}
registries:
- {name: main, hosts: [%s], project: main}
`

// startGate starts hssgate before a cluster, with the default configuration.
func (b *bench) startGate(ctx context.Context, binary string, c *cluster, hss *hsstest.Server) (*gateProcess, error) {
	dir, err := b.newDir("gate")
	if err != nil {
		return nil, err
	}
	keys, err := credentials(dir)
	if err != nil {
		return nil, err
	}
	g := &gateProcess{caFile: filepath.Join(dir, "ca.crt"), logFile: filepath.Join(dir, "log"), exited: make(chan error, 1)}
	if g.webhook, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	if g.health, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "config.yaml")
	content := fmt.Sprintf(gateConfiguration, g.health, g.webhook, hss.URL, keys.AccessKeyFile, keys.SecretKeyFile, registryHost)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	return g, g.start(binary, "serve", "--config", file, "--kubeconfig", c.kubeconfig, "--ca-file", g.caFile)
}

func (g *gateProcess) start(binary string, args ...string) error {
	log, err := os.Create(g.logFile)
	if err != nil {
		return err
	}
	defer log.Close()
	g.command = exec.Command(binary, args...) //nolint:gosec,noctx // what was just built; stop ends it
	g.command.Stdout, g.command.Stderr = log, log
	if err := g.command.Start(); err != nil {
		return fmt.Errorf("start hssgate: %w", err)
	}
	go func() { g.exited <- g.command.Wait() }()
	return nil
}

// awaitReady waits until it says that it is ready.
func (g *gateProcess) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := g.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case exit := <-g.exited:
			g.exited <- exit
			return fmt.Errorf("hssgate ended before it was ready: %w", errors.Join(exit, g.lastWords()))
		case <-ctx.Done():
			return fmt.Errorf("hssgate isn't ready: %w", errors.Join(err, g.lastWords()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (g *gateProcess) ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.health+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz answers %s", response.Status)
	}
	return nil
}

// lastWords is the end of its log as an error.
func (g *gateProcess) lastWords() error {
	log, err := os.ReadFile(g.logFile)
	if err != nil {
		return err
	}
	return errors.New(string(log[max(0, len(log)-2000):]))
}

// stop has it end as a kubelet does, and waits for it.
func (g *gateProcess) stop() error {
	if err := g.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := <-g.exited; err != nil {
		return fmt.Errorf("hssgate: %w", errors.Join(err, g.lastWords()))
	}
	return nil
}
