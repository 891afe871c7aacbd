package charts_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// TestOnAPIServer holds the tests that share a real API server, which starts
// without hssgate's CustomResourceDefinitions: the chart brings them.
func TestOnAPIServer(t *testing.T) {
	t.Parallel()
	env := controlplanetest.Start(t, controlplanetest.WithoutCRDs())
	c := &cluster{config: env.Config, kubectlPath: env.Kubectl, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	if err := os.WriteFile(c.kubeconfig, env.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.client, err = client.New(env.Config, client.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name string
		test func(*testing.T, *cluster)
	}{
		{"a release in its life", testRelease},
		{"the first steps that the documentation tells", testFirstSteps},
		{"a first install that is taken back", testFirstInstallTakenBack},
		{"what is rendered fits the API server", testManifests},
		{"which requests are asked about", testWebhookConfiguration},
		{"who may exempt namespaces", testExemptions},
		{"which CSI drivers mount images", testCSIImages},
		{"what a right that is limited to a name allows", testCreateByName},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.test(t, c) }) {
			return
		}
	}
}

// cluster is the API server and ways to reach it.
type cluster struct {
	config      *rest.Config
	client      client.Client
	kubeconfig  string
	kubectlPath string
}

// kubectl runs kubectl with stdin from a file, if one is given.
func (c *cluster) kubectl(t testing.TB, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), c.kubectlPath, append([]string{"--kubeconfig", c.kubeconfig}, args...)...)
	out, stderr, err := run(t, command)
	if err != nil {
		t.Fatalf("kubectl %q: %v\n%s%s", args, err, out, stderr)
	}
	return out
}

// helm runs a command of Helm on the cluster.
func (c *cluster) helm(t testing.TB, args ...string) {
	t.Helper()
	command := helm(t, append(args, "--namespace", namespace)...)
	command.Env = append(command.Env, "KUBECONFIG="+c.kubeconfig)
	if out, stderr, err := run(t, command); err != nil {
		t.Fatalf("helm %q: %v\n%s%s", args, err, out, stderr)
	}
}

// install installs the chart as the documentation says: if Helm is faster than
// the API server, which takes a moment to serve a new kind, the same again as an
// upgrade goes on where it stopped.
func (c *cluster) install(t testing.TB, args ...string) {
	t.Helper()
	command := helm(t, slices.Concat([]string{"install", release, chart, "--namespace", namespace, "--create-namespace"}, args)...)
	command.Env = append(command.Env, "KUBECONFIG="+c.kubeconfig)
	out, stderr, err := run(t, command)
	if err == nil {
		return
	}
	if !strings.Contains(stderr, "failed post-install") || !strings.Contains(stderr, `no matches for kind "ImageScanPolicy"`) {
		t.Fatalf("helm install %q: %v\n%s%s", args, err, out, stderr)
	}
	t.Log("the API server doesn't serve ImageScanPolicy yet: once more, as an upgrade")
	c.kubectl(t, "wait", "--for=condition=Established", "-f", chart+"/files/crds", "--timeout=60s")
	c.helm(t, slices.Concat([]string{"upgrade", release, chart}, args)...)
}

// as returns a client of a user in groups.
func (c *cluster) as(t testing.TB, user string, groups ...string) client.Client {
	t.Helper()
	config := rest.CopyConfig(c.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
	impersonating, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return impersonating
}

// eventually waits until a condition holds. The condition returns what is still
// wrong, or an empty string.
func eventually(t testing.TB, condition func(context.Context) string) {
	t.Helper()
	var wrong string
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 5*time.Minute, true, func(ctx context.Context) (bool, error) {
		wrong = condition(ctx)
		return wrong == "", nil
	})
	if err != nil {
		t.Fatalf("%v: %s", err, wrong)
	}
}
