package charts_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/controlplanetest"
)

const (
	scannedReference = "swr.cn-north-4.myhuaweicloud.com/prod/app:1.4"
	scannedDigest    = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)

// scannedImage is what HSS knows of scannedReference.
func scannedImage(severity string) hsstest.Image {
	now := time.Now()
	return hsstest.Image{
		ID: 1, Namespace: "prod", ImageName: "app", ImageVersion: "1.4", ImageDigest: scannedDigest,
		ImageType: "private_image", RegistryType: "SwrPrivate", Scannable: true, ScanStatus: "success", SeverityLevel: severity,
		VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(0), MaliciousFileNum: hsstest.Count(0),
		LatestUpdateTime: now.Add(-2 * time.Hour), LatestScanTime: now.Add(-time.Hour), LatestSyncTime: now,
	}
}

// gate is the program as the chart configures it, with the rights of the chart's
// service account.
type gate struct {
	webhook, health, metrics string // ports of 127.0.0.1
	configFile, logFile      string
	stop                     func()
}

func newGate(t *testing.T) *gate {
	t.Helper()
	ports := controlplanetest.FreeAddresses(t, 3)
	for i := range ports {
		ports[i] = strings.TrimPrefix(ports[i], "127.0.0.1:")
	}
	return &gate{webhook: ports[0], health: ports[1], metrics: ports[2], logFile: filepath.Join(t.TempDir(), "log")}
}

// values are those by which the chart sends the API server here: that of a test
// reaches the gate by its address, and no pods.
func (g *gate) values() []string {
	return set(
		"ports.webhook="+g.webhook, "ports.health="+g.health, "ports.metrics="+g.metrics, "deployment.enabled=true",
		"webhook.url=https://127.0.0.1:"+g.webhook, "certificates.extraHosts={127.0.0.1}")
}

// start runs the gate by what the chart renders, but that its only project is a
// server that knows one image, and waits until it is ready.
func (g *gate) start(t *testing.T, c *cluster, image hsstest.Image, values ...string) {
	t.Helper()
	known := hsstest.NewServer(hsstest.WithImages(image), hsstest.WithTokens("a-token"))
	t.Cleanup(known.Close)
	g.serve(t, c, map[string]any{
		"name": "default", "endpoint": known.URL, "projectID": "p1",
		"credentials": map[string]any{"source": "TokenFile", "tokenFile": writeFile(t, "token", "a-token")},
	}, values...)
}

// serve runs the gate by what the chart renders, but with this project alone.
func (g *gate) serve(t *testing.T, c *cluster, project map[string]any, values ...string) {
	t.Helper()
	config := render(t, values...).one(t, "Configuration").Object
	config["projects"] = []any{project}
	content, err := yaml.Marshal(config)
	must(t, err)
	g.configFile = writeFile(t, "config.yaml", string(content))
	args := decode[appsv1.Deployment](t, render(t, values...).named(t, "Deployment", release)).Spec.Template.Spec.Containers[0].Args
	g.run(t, exec.Command(c.program, append(args, "--leader-elect", "--shutdown-delay=0s", "--config", g.configFile, "--kubeconfig", c.kubeconfigOf(t))...))
	eventually(t, func(ctx context.Context) string {
		code, body := g.get(ctx, t, g.health, "/readyz?verbose")
		if code == http.StatusOK {
			return ""
		}
		return body
	})
}

// run runs a command until the end of the test, or until it is stopped.
func (g *gate) run(t *testing.T, command *exec.Cmd) {
	t.Helper()
	log, err := os.Create(g.logFile)
	must(t, err)
	command.Env = append(os.Environ(), "POD_NAMESPACE="+namespace)
	command.Stdout, command.Stderr = log, log
	must(t, command.Start())
	g.stop = sync.OnceFunc(func() {
		_ = command.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := command.Wait(); err != nil {
			t.Errorf("the gate ended with %v\n%s", err, readFile(t, g.logFile))
		}
		_ = log.Close()
	})
	t.Cleanup(g.stop)
}

// get returns the answer of a port of the gate; 0 if it has none.
func (g *gate) get(ctx context.Context, t testing.TB, port, path string) (code int, body string) {
	t.Helper()
	return g.getAs(ctx, t, http.DefaultClient, "", "http://127.0.0.1:"+port+path)
}

// getAs returns the answer to a user with a token.
func (g *gate) getAs(ctx context.Context, t testing.TB, client *http.Client, token, url string) (code int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	must(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, fmt.Sprintf("%v\n%s", err, readFile(t, g.logFile))
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(content)
}

// kubeconfigOf writes a kubeconfig by which one is the chart's service account.
func (c *cluster) kubeconfigOf(t testing.TB) string {
	t.Helper()
	config, err := clientcmd.Load(c.KubeConfig)
	must(t, err)
	for _, user := range config.AuthInfos {
		user.Impersonate = serviceAccount
	}
	content, err := clientcmd.Write(*config)
	must(t, err)
	return writeFile(t, "kubeconfig", string(content))
}

// hadAllRights looks through the API server's audit log for requests of gates that
// were refused, up to a request of its own.
func (c *cluster) hadAllRights(t testing.TB) {
	t.Helper()
	const last = "/version?after=gates"
	c.kubectl(t, "get", "--raw", last)
	requests, refused := 0, map[string]bool{}
	c.AuditEvent(t, "", func(e *auditv1.Event) bool {
		if e.ImpersonatedUser != nil && e.ImpersonatedUser.Username == serviceAccount && strings.HasPrefix(e.UserAgent, "hssgate/") && e.ResponseStatus != nil {
			requests++
			if code := e.ResponseStatus.Code; code == http.StatusForbidden || code == http.StatusUnauthorized {
				refused[e.Verb+" "+e.RequestURI] = true
			}
		}
		return e.RequestURI == last
	})
	if requests < 20 || len(refused) > 0 {
		t.Errorf("the chart's roles don't allow %q, of %d calls that gates made", slices.Sorted(maps.Keys(refused)), requests)
	}
}
