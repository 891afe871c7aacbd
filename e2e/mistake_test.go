package e2e_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// mistake is a call that must end at once, with a code and a text that helps.
type mistake struct {
	args []string
	code int
	// want is all that is written to standard error, or its end after "…".
	want string
}

func testMistakes(t *testing.T, f *fixture) {
	good := f.goodConfig(t, controlplanetest.FreeAddresses(t, 3))
	broken := write(t, "broken.yaml", "apiVersion: [\n")
	unknown := write(t, "unknown.yaml", "apiVersion: config.hssgate.io/v1alpha1\nkind: Configuration\nproject: []\n")
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	kubeconfig := write(t, "kubeconfig", "nonsense")
	away := write(t, "away", kubeconfigOf(t, &rest.Config{Host: "https://" + controlplanetest.FreeAddresses(t, 1)[0]}))
	for name, test := range map[string]mistake{
		"no configuration":       {[]string{"serve"}, 3, "--config is required: a file such as config/samples/config.yaml; see hssgate serve --help"},
		"a missing file":         {[]string{"serve", "--config", missing}, 3, "…" + missing + ": no such file or directory"},
		"broken YAML":            {[]string{"serve", "--config", broken}, 3, "…" + broken + ":"},
		"an unknown field":       {[]string{"serve", "--config", unknown}, 3, "…" + unknown + `:3: unknown field "project"; did you mean "projects"?`},
		"an unknown flag":        {[]string{"serve", "--confg", good}, 3, "unknown flag: --confg; see hssgate serve --help"},
		"an argument too many":   {[]string{"serve", good}, 3, "serve takes no argument, got "},
		"an unknown command":     {[]string{"server"}, 3, `there is no command "server" (did you mean serve?); see hssgate --help`},
		"an unknown log level":   {[]string{"serve", "--config", good, "--log-level", "loud"}, 3, `log level must be debug, info, warn or error, not "loud"`},
		"no kubeconfig":          {[]string{"serve", "--config", good}, 1, "find the cluster: none is named; give --kubeconfig, set $KUBECONFIG, or run hssgate in a pod"},
		"a missing kubeconfig":   {[]string{"serve", "--config", good, "--kubeconfig", missing}, 1, "…find the cluster: "},
		"a broken kubeconfig":    {[]string{"serve", "--config", good, "--kubeconfig", kubeconfig}, 1, "…find the cluster: "},
		"no API server":          {[]string{"serve", "--config", good, "--kubeconfig", away}, 1, "…reach the cluster: "},
		"the webhook's port":     {[]string{"serve", "--config", f.taken(t, 0), "--kubeconfig", f.cluster.kubeconfig}, 1, "…address already in use"},
		"the health port":        {[]string{"serve", "--config", f.taken(t, 1), "--kubeconfig", f.cluster.kubeconfig}, 1, "…address already in use"},
		"the metrics port":       {[]string{"serve", "--config", f.taken(t, 2), "--kubeconfig", f.cluster.kubeconfig}, 1, "…address already in use"},
		"a certificate's folder": {[]string{"serve", "--config", f.withoutCertificate(t), "--kubeconfig", f.cluster.kubeconfig}, 1, "…read the serving certificate: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkMistake(t, f, test)
		})
	}
	t.Run("no ImageScanPolicies in the cluster", func(t *testing.T) {
		t.Parallel()
		bare := controlplanetest.Start(t, controlplanetest.WithoutCRDs())
		checkMistake(t, f, mistake{
			[]string{"serve", "--config", good, "--kubeconfig", write(t, "kubeconfig", string(bare.KubeConfig))}, 1,
			"…the cluster has no hssgate.io/v1alpha1, Kind=ImageScanPolicy: apply charts/hssgate/files/crds first",
		})
	})
}

func checkMistake(t *testing.T, f *fixture, m mistake) {
	t.Helper()
	code, stdout, stderr := f.cluster.runToEnd(t, m.args...)
	if code != m.code || stdout != "" {
		t.Errorf("got code %d and output %q, want code %d and no output", code, stdout, m.code)
	}
	if want, part := strings.CutPrefix(m.want, "…"); !strings.Contains(stderr, want) || (!part && !strings.HasPrefix(stderr, "hssgate: "+want)) {
		t.Errorf("got:  %s\nwant: %s", stderr, m.want)
	}
	if strings.Contains(stderr, "[running]:") || strings.Contains(stderr, "Usage:") {
		t.Errorf("it says too much:\n%s", stderr)
	}
}

// goodConfig is a configuration that listens on addresses.
func (f *fixture) goodConfig(t *testing.T, addresses []string) string {
	t.Helper()
	g := &gate{name: "mistaken", webhook: addresses[0], health: addresses[1], metrics: addresses[2]}
	return write(t, "config.yaml", g.configuration(t, setup{projects: map[string]*hsstest.Server{"main": f.hss["main"]}}))
}

// taken is a configuration one of whose addresses someone else listens on.
func (f *fixture) taken(t *testing.T, which int) string {
	t.Helper()
	addresses := controlplanetest.FreeAddresses(t, 3)
	listener, err := net.Listen("tcp", addresses[which])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return f.goodConfig(t, addresses)
}

// withoutCertificate is a configuration whose certificate's folder is empty.
func (f *fixture) withoutCertificate(t *testing.T) string {
	t.Helper()
	addresses := controlplanetest.FreeAddresses(t, 3)
	g := &gate{name: "mistaken", webhook: addresses[0], health: addresses[1], metrics: addresses[2]}
	return write(t, "config.yaml", g.configuration(t, setup{
		projects: map[string]*hsstest.Server{"main": f.hss["main"]}, webhook: fmt.Sprintf("certDir: %s", t.TempDir()),
	}))
}

func kubeconfigOf(t *testing.T, c *rest.Config) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: c.Host}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c"}
	config.CurrentContext = "c"
	data, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
