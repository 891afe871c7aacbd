package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// kubectl runs the real kubectl against the demonstration's API server.
type kubectl struct {
	path, kubeconfig string
	// cache is where it keeps what it has learned of the API server.
	cache string
}

// output is what a command printed. It failed if err is set.
type output struct {
	stderr string
	err    error
}

func (k *kubectl) run(ctx context.Context, input []byte, args ...string) output {
	command := exec.CommandContext(ctx, k.path, append([]string{"--kubeconfig", k.kubeconfig, "--cache-dir", k.cache}, args...)...) //nolint:gosec // the caller's own control plane
	command.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	err := command.Run()
	return output{stderr: strings.TrimSpace(stderr.String()), err: err}
}

// create creates an object that must not fail.
func (k *kubectl) create(ctx context.Context, object any) error {
	data, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("write as JSON: %w", err)
	}
	if out := k.run(ctx, data, "create", "-f", "-"); out.err != nil {
		return fmt.Errorf("kubectl create: %w: %s", out.err, out.stderr)
	}
	return nil
}

// send does what a person would do with a sample.
func (k *kubectl) send(ctx context.Context, s *sample) (output, error) {
	data, err := s.object.MarshalJSON()
	if err != nil {
		return output{}, fmt.Errorf("write as JSON: %w", err)
	}
	var out output
	switch {
	case s.subResource() == ephemeralContainers:
		out = k.debug(ctx, s.object)
	case s.old != nil:
		out = k.run(ctx, data, "apply", "-f", "-")
	default:
		// save-config lets a later apply see what it changes.
		out = k.run(ctx, data, "create", "--save-config", "-f", "-")
	}
	if ctx.Err() != nil {
		return output{}, ctx.Err()
	}
	if _, exited := errors.AsType[*exec.ExitError](out.err); out.err != nil && !exited {
		return output{}, fmt.Errorf("run kubectl: %w", out.err)
	}
	return out, nil
}

// debug adds the ephemeral containers as kubectl debug does, with the names
// that the sample gives them.
func (k *kubectl) debug(ctx context.Context, pod *unstructured.Unstructured) output {
	containers, _, _ := unstructured.NestedSlice(pod.Object, "spec", "ephemeralContainers")
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"ephemeralContainers": containers}})
	if err != nil {
		return output{err: err}
	}
	return k.run(ctx, nil, "patch", "pod", pod.GetName(), "--namespace", pod.GetNamespace(),
		"--subresource", ephemeralContainers, "--type", "strategic", "--patch", string(patch))
}

// denied is how kubectl tells of a webhook's denial.
func denied() *regexp.Regexp {
	return regexp.MustCompile(`(?s)admission webhook "[^"]+" denied the request: (.*)`)
}

const warningPrefix = "Warning: "

// answer reads the verdict and what is said out of what kubectl printed.
func (o output) answer() answer {
	a := answer{verdict: Admitted}
	rest := make([]string, 0, 4)
	for line := range strings.Lines(o.stderr) {
		if warning, found := strings.CutPrefix(line, warningPrefix); found && len(rest) == 0 {
			a.warnings = append(a.warnings, strings.TrimSpace(warning))
			continue
		}
		rest = append(rest, line)
	}
	a.message = strings.TrimSpace(strings.Join(rest, ""))
	switch said := denied().FindStringSubmatch(a.message); {
	case o.err != nil && said != nil:
		a.verdict, a.message = Denied, said[1]
	case o.err != nil:
		a.verdict = Failed
	case len(a.warnings) > 0:
		a.verdict, a.message = Warned, ""
	default:
		a.message = ""
	}
	return a
}
