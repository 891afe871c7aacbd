package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// configurationName is that of webhooks.yaml.
const configurationName = "hssgate-demo"

//go:embed webhooks.yaml
var webhooks string

// invalidPolicy is a policy that no schema refuses, and hssgate's webhook does.
const invalidPolicy = `{apiVersion: hssgate.io/v1alpha1, kind: ImageScanPolicy, metadata: {name: probe}, spec: {require: {expressions: [{expression: image.}]}}}`

// cluster is a real API server with etcd, and kubectl.
type cluster struct {
	*envtest.Environment

	kubectl []string // with the flags of every call
}

// startCluster starts an API server with the samples' namespaces and policies.
func (d *demo) startCluster(ctx context.Context) (_ *cluster, err error) {
	binaries, err := filepath.Abs(d.controlPlane)
	if err != nil {
		return nil, err
	}
	kubectl := filepath.Join(binaries, "kubectl") // envtest finds the rest elsewhere, too
	if _, err := os.Stat(kubectl); err != nil {
		return nil, fmt.Errorf("find the control plane (make controlplane builds it): %w", err)
	}
	c := &cluster{
		Environment: &envtest.Environment{
			BinaryAssetsDirectory: binaries, CRDDirectoryPaths: []string{"charts/hssgate/files/crds"}, ErrorIfCRDPathMissing: true,
			ControlPlaneStartTimeout: startTimeout, ControlPlaneStopTimeout: startTimeout, CRDInstallOptions: envtest.CRDInstallOptions{MaxTime: startTimeout},
			UseExistingCluster: new(false), // whatever the environment says: never someone's cluster
		},
		kubectl: []string{kubectl, "--kubeconfig", d.path(kubeconfig), "--cache-dir", d.path("cache")},
	}
	fmt.Fprintln(d.stderr, "starting etcd, kube-apiserver and hssgate; kubectl then sends the manifests …")
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	log.SetLogger(logr.Discard()) // of envtest, which says nothing of use here
	if _, err := c.Start(); err != nil {
		return nil, fmt.Errorf("start the API server: %w", err)
	}
	if err := os.WriteFile(d.path(kubeconfig), c.KubeConfig, 0o600); err != nil {
		return nil, err
	}
	var items []any
	for _, namespace := range d.set.namespaces {
		items = append(items, namespace)
	}
	for i := range d.set.policies {
		items = append(items, &d.set.policies[i])
	}
	return c, c.create(ctx, map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
}

// run runs kubectl. exit is nil or the error of a failed kubectl.
func (c *cluster) run(ctx context.Context, input []byte, args ...string) (stderr string, exit *exec.ExitError, err error) {
	command := exec.CommandContext(ctx, c.kubectl[0], append(c.kubectl[1:], args...)...) //nolint:gosec // the caller's own control plane
	command.Stdin = bytes.NewReader(input)
	var printed bytes.Buffer
	command.Stderr = &printed
	err = command.Run()
	if errors.As(err, &exit) && ctx.Err() == nil {
		err = nil
	}
	return strings.TrimSpace(printed.String()), exit, err
}

func (c *cluster) create(ctx context.Context, object any) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	stderr, exit, err := c.run(ctx, data, "create", "-f", "-")
	if exit != nil {
		return fmt.Errorf("kubectl create: %s", stderr)
	}
	return err
}

// register creates the webhook configuration, and waits until the API server
// calls hssgate and trusts its certificate.
func (c *cluster) register(ctx context.Context, address string) error {
	objects, err := readObjects([]byte(strings.ReplaceAll(webhooks, "ADDRESS", address)))
	if err != nil {
		return err
	}
	if err := c.create(ctx, objects[0]); err != nil {
		return err
	}
	var stderr string
	refused := func(ctx context.Context) (bool, error) {
		var err error
		stderr, _, err = c.run(ctx, []byte(invalidPolicy), "create", "--dry-run=server", "-f", "-")
		return strings.Contains(stderr, `"probe" is invalid`), err
	}
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, startTimeout, true, refused); err != nil {
		return fmt.Errorf("wait until the API server calls hssgate: %w; kubectl's last message: %s", err, stderr)
	}
	return nil
}

// send does what a person would do with a sample, and replaces the verdict of the
// direct review by what kubectl printed.
func (c *cluster) send(ctx context.Context, s *sample, a *answer) error {
	data, err := s.object.MarshalJSON()
	if err != nil {
		return err
	}
	args := []string{"create", "--save-config", "-f", "-"} // save-config lets a later apply see what it changes
	switch {
	case s.debugs(): // as kubectl debug does, with the sample's names
		containers, _, _ := unstructured.NestedSlice(s.object.Object, "spec", "ephemeralContainers")
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"ephemeralContainers": containers}})
		if err != nil {
			return err
		}
		args = []string{"patch", "pod", s.object.GetName(), "--namespace", s.object.GetNamespace(),
			"--subresource", "ephemeralcontainers", "--type", "strategic", "--patch", string(patch)}
	case s.old != nil:
		args = []string{"apply", "-f", "-"}
	}
	stderr, exit, err := c.run(ctx, data, args...)
	if err != nil {
		return fmt.Errorf("run kubectl: %w", err)
	}
	a.verdict, a.message, a.warnings = parseKubectl(stderr, exit != nil)
	return nil
}

// parseKubectl returns what kubectl's output says of a request.
func parseKubectl(stderr string, exited bool) (v verdict, message string, warnings []string) {
	var rest strings.Builder
	for line := range strings.Lines(stderr) {
		if warning, found := strings.CutPrefix(line, "Warning: "); found && rest.Len() == 0 {
			warnings = append(warnings, strings.TrimSpace(warning))
			continue
		}
		rest.WriteString(line)
	}
	denial := regexp.MustCompile(`(?s)admission webhook "[^"]+" denied the request: (.*)`).FindStringSubmatch(rest.String())
	switch {
	case exited && denial != nil:
		return denied, denial[1], warnings
	case exited:
		return failed, rest.String(), warnings
	case len(warnings) > 0:
		return warned, "", warnings
	}
	return admitted, "", nil
}
