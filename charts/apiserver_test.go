package charts_test

import (
	"context"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// serviceAccount is the user that hssgate is in a cluster.
const serviceAccount = "system:serviceaccount:" + namespace + ":" + release

// TestOnAPIServer holds the tests that share a real API server, which starts
// without hssgate's CustomResourceDefinitions: the chart brings them.
func TestOnAPIServer(t *testing.T) {
	t.Parallel()
	built := controlplanetest.StartBuild(t, false)
	env := controlplanetest.Start(t, controlplanetest.WithoutCRDs())
	c := &cluster{Environment: env, program: built(t), kubeconfig: writeFile(t, "kubeconfig", string(env.KubeConfig))}
	env.Config.WarningHandler = rest.NoWarnings{}
	var err error
	c.client, err = client.New(env.Config, client.Options{})
	must(t, err)
	for _, step := range []struct {
		name string
		test func(*testing.T, *cluster)
	}{
		{"a release in its life", testRelease},
		{"the first steps that the documentation tells", testFirstSteps},
		{"a first install that is taken back", testFirstInstallTakenBack},
		{"what is rendered fits the API server", testManifests},
		{"which requests are asked about", testWebhookConfiguration},
		{"who may exempt namespaces and write graces", testGuards},
		{"which CSI drivers mount images", testCSIImages},
		{"the tutorial", testTutorial},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.test(t, c) }) {
			return
		}
	}
}

// cluster is the API server, ways to reach it, and the program to be run with it.
type cluster struct {
	*controlplanetest.Environment

	client     client.Client
	kubeconfig string
	program    string
}

// kubectl runs kubectl.
func (c *cluster) kubectl(t testing.TB, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), c.Kubectl, append([]string{"--kubeconfig", c.kubeconfig}, args...)...)
	out, stderr, err := run(t, command)
	if err != nil {
		t.Fatalf("kubectl %q: %v\n%s%s", args, err, out, stderr)
	}
	return out + stderr
}

// tryHelm runs a command of Helm on the cluster and returns what it printed.
func (c *cluster) tryHelm(t testing.TB, args ...string) (string, error) {
	t.Helper()
	command := helm(t, append(args, "--namespace", namespace)...)
	command.Env = append(command.Env, "KUBECONFIG="+c.kubeconfig)
	out, stderr, err := run(t, command)
	return out + stderr, err
}

// helm runs a command of Helm that must succeed.
func (c *cluster) helm(t testing.TB, args ...string) {
	t.Helper()
	if out, err := c.tryHelm(t, args...); err != nil {
		t.Fatalf("helm %q: %v\n%s", args, err, out)
	}
}

// install installs the chart as the documentation says: if Helm is faster than
// the API server, which takes a moment to serve a new kind, the same again as an
// upgrade goes on where it stopped.
func (c *cluster) install(t testing.TB, args ...string) {
	t.Helper()
	out, err := c.tryHelm(t, slices.Concat([]string{"install", release, chart, "--create-namespace"}, args)...)
	if err == nil {
		return
	}
	if !strings.Contains(out, "failed post-install") || !strings.Contains(out, `no matches for kind "ImageScanPolicy"`) {
		t.Fatalf("helm install %q: %v\n%s", args, err, out)
	}
	t.Log("the API server doesn't serve ImageScanPolicy yet: once more, as an upgrade")
	c.kubectl(t, "wait", "--for=condition=Established", "-f", chart+"/files/crds", "--timeout=60s")
	c.upgrade(t, args...)
}

// upgrade upgrades the release.
func (c *cluster) upgrade(t testing.TB, args ...string) {
	t.Helper()
	c.helm(t, append([]string{"upgrade", release, chart}, args...)...)
}

// as returns a client of a user in groups.
func (c *cluster) as(t testing.TB, user string, groups ...string) client.Client {
	t.Helper()
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
	impersonating, err := client.New(config, client.Options{})
	must(t, err)
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

// testManifests has the API server check what every values file renders in a dry
// run: it refuses unknown fields, compiles expressions, applies its defaults, and
// warns of pods that Pod Security "restricted" would refuse.
func testManifests(t *testing.T, c *cluster) {
	c.kubectl(t, "apply", "-f", "testdata/crds", "--server-side")
	c.kubectl(t, "wait", "--for=condition=Established", "-f", "testdata/crds", "--timeout=60s")
	c.kubectl(t, "create", "namespace", "gate")                   // of a file's namespaceOverride
	for _, name := range []string{namespace, "default", "gate"} { // helm test has pods in default, too
		c.kubectl(t, "label", "namespace", name, "pod-security.kubernetes.io/warn=restricted")
	}
	var manifests strings.Builder
	for _, file := range valuesFiles(t) {
		one, err := template(t, "--values", file)
		must(t, err)
		manifests.WriteString("\n" + one)
	}
	applied := c.kubectl(t, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", writeFile(t, "all.yaml", manifests.String()))
	for _, warning := range regexp.MustCompile("(?m)^Warning: .*$").FindAllString(applied, -1) {
		if !strings.HasSuffix(warning, `: host namespaces (hostNetwork=true)`) { // as one of the files has it
			t.Error(warning)
		}
	}
}
