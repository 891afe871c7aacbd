package bench_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/certificate"
	"github.com/hssgate/hssgate/internal/controlplanetest"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/server"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

const (
	// registryHost is where all images come from.
	registryHost = "swr.cn-north-4.myhuaweicloud.com"
	// knownImages is how many images are in use: those of a large rollout.
	knownImages = 50
	// namespace is where all pods are created.
	namespace = "hssgate-bench"
)

func imageName(n int) string {
	return fmt.Sprintf("%s/prod/service-%04d:2026.1.%d", registryHost, n, n)
}

// serverVariable has the name and the address of the server that TestServer is.
const serverVariable = "HSSGATE_BENCH_SERVER"

// The servers that are compared.
const (
	typedServer  = "typed"   // a no-op validator of controller-runtime, which has the pod decoded
	decodeServer = "decode"  // a bare handler that decodes only the images
	gateServer   = "hssgate" // hssgate's handler, with 10 policies that match every pod and every image in memory
	cveServer    = "CVEs"    // the same with policies that read the CVEs of each image, which has some
)

var serverNames = []string{typedServer, decodeServer, gateServer, cveServer}

// TestServer is no test: the benchmarks start it as the process of a server. It ends with standard input, which closes when
// the parent dies.
func TestServer(t *testing.T) {
	name, address, wanted := strings.Cut(os.Getenv(serverVariable), " ")
	if !wanted {
		t.Skip("a benchmark starts it")
	}
	ctrl.SetLogger(logr.Discard())
	log.SetOutput(io.Discard) // net/http's
	issuer, err := certificate.NewSelfSigned(clock.RealClock{}, "localhost", "127.0.0.1")
	must(t, err)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	t.Fatal(map[string]func(*testing.T, string, *certificate.Issuer) error{
		decodeServer: serveDecode, gateServer: serveGate, typedServer: serveTyped, cveServer: serveCVEs,
	}[name](t, address, issuer))
}

// running is a server that runs until the end of the test.
type running struct {
	*os.Process

	address string
	ready   time.Duration // from its start
	hss     *hsstest.Server
}

func (r *running) url() string { return "https://" + r.address + server.ValidatePath }

// start runs a command, and returns once it is ready.
func (r *running) start(tb testing.TB, ready func() error, environment []string, args ...string) *running {
	tb.Helper()
	command, begun, ended := exec.CommandContext(tb.Context(), args[0], args[1:]...), time.Now(), make(chan struct{})
	command.Env, command.Stderr = append(os.Environ(), environment...), os.Stderr
	_, err := command.StdinPipe() // it closes with this process
	must(tb, err)
	must(tb, command.Start())
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	tb.Cleanup(func() { <-ended })
	for err := ready(); err != nil; err = ready() {
		select {
		case <-ended:
			tb.Fatalf("%s has ended: %v", args[0], err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	r.Process, r.ready = command.Process, time.Since(begun)
	return r
}

// oneProcessor begins a command that is to use only one, if taskset is there.
func oneProcessor() []string {
	command := []string{"env", "GOMAXPROCS=1"}
	if taskset, err := exec.LookPath("taskset"); err == nil && runtime.NumCPU() > 1 {
		command = append(command, taskset, "-c", "1")
	}
	return command
}

// startServer starts this program as one of the servers.
func startServer(tb testing.TB, name string, prefix ...string) *running {
	tb.Helper()
	r := &running{address: controlplanetest.FreeAddresses(tb, 1)[0]}
	listens := func() error {
		conn, err := dial(tb.Context(), r.address)
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	command := slices.Concat(prefix, []string{os.Args[0], "-test.run=^TestServer$", "-test.timeout=0"})
	return r.start(tb, listens, []string{serverVariable + "=" + name + " " + r.address}, command...)
}

// startGate starts hssgate itself, with the default configuration.
func startGate(tb testing.TB, program, kubeconfig string) *running {
	tb.Helper()
	addresses, key := controlplanetest.FreeAddresses(tb, 2), hsstest.DefaultCredential()
	file := filepath.Join(tb.TempDir(), "config.yaml")
	r := &running{address: addresses[0], hss: hsstest.NewServer(hsstest.WithImages(cleanRows()...))}
	tb.Cleanup(r.hss.Close)
	must(tb, os.WriteFile(file, fmt.Appendf(configuration(r.hss), "webhook: {bindAddress: %q}\nhealthBindAddress: %q\n"+
		"metricsBindAddress: 127.0.0.1:0\n", r.address, addresses[1]), 0o600))
	health, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+addresses[1]+"/readyz", http.NoBody)
	must(tb, err)
	ready := func() error {
		response, err := http.DefaultClient.Do(health)
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			err = fmt.Errorf("/readyz: %s", response.Status)
		}
		return errors.Join(err, response.Body.Close())
	}
	return r.start(tb, ready, []string{"HUAWEICLOUD_SDK_AK=" + key.AccessKey, "HUAWEICLOUD_SDK_SK=" + key.SecretKey},
		program, "serve", "--log-level", "warn", "--config", file, "--kubeconfig", kubeconfig)
}

func serveTyped(t *testing.T, address string, issuer *certificate.Issuer) error {
	host, portText, err := net.SplitHostPort(address)
	must(t, err)
	port, err := strconv.Atoi(portText)
	must(t, err)
	scheme := apiruntime.NewScheme()
	must(t, corev1.AddToScheme(scheme))
	s := ctrlwebhook.NewServer(ctrlwebhook.Options{Host: host, Port: port, TLSOpts: []func(*tls.Config){func(c *tls.Config) {
		c.MinVersion, c.NextProtos, c.GetCertificate = tls.VersionTLS13, []string{"http/1.1"}, issuer.GetCertificate
	}}})
	s.Register(server.ValidatePath, admission.WithValidator[*corev1.Pod](scheme, noop{}))
	return s.Start(t.Context())
}

// noop admits every creation; nothing else is sent to it.
type noop struct {
	admission.Validator[*corev1.Pod]
}

// ValidateCreate admits.
func (noop) ValidateCreate(context.Context, *corev1.Pod) (admission.Warnings, error) { return nil, nil }

func serveDecode(t *testing.T, address string, issuer *certificate.Issuer) error {
	decode := func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Request struct {
				UID    string         `json:"uid"`
				Object image.Manifest `json:"object"`
			} `json:"request"`
		}
		if err := jsonv2.UnmarshalRead(r.Body, &review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":%q,"allowed":true}}`, review.Request.UID)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	must(t, err)
	s := &http.Server{Handler: http.HandlerFunc(decode)}
	return s.Serve(tls.NewListener(listener, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, GetCertificate: issuer.GetCertificate,
	}))
}

func serveGate(t *testing.T, address string, issuer *certificate.Issuer) error {
	return serveRows(t, address, issuer, cleanRows(), numbers)
}

// serveCVEs serves images with vulnerabilities that CVSS rates Low.
func serveCVEs(t *testing.T, address string, issuer *certificate.Issuer) error {
	rows, score := cleanRows(), 3.5
	for i := range rows {
		rows[i].ImageID, rows[i].VulNum = rows[i].ImageDigest, hsstest.Count(12)
		for n := range 12 {
			id := fmt.Sprintf("CVE-2020-%d", 10000+100*i+n)
			rows[i].Vulnerabilities = append(rows[i].Vulnerabilities, hsstest.Vulnerability{
				VulID: id, AppName: "openssl", CVEs: []hsstest.CVE{{ID: id, CVSS: &score, PublishedAt: time.Unix(1577836800, 0)}},
			})
		}
	}
	return serveRows(t, address, issuer, rows, "vulnerabilities: {max: 0, minCVSS: 7.0, olderThan: 720h, fixableOnly: true}, forbiddenVulnerabilities: [CVE-2021-44228]")
}

func serveRows(t *testing.T, address string, issuer *certificate.Issuer, rows []hsstest.Image, rules string) error {
	hss := hsstest.NewServer(hsstest.WithImages(rows...))
	defer hss.Close()
	key := hsstest.DefaultCredential()
	t.Setenv("HUAWEICLOUD_SDK_AK", key.AccessKey)
	t.Setenv("HUAWEICLOUD_SDK_SK", key.SecretKey)
	c, err := config.Parse("config.yaml", configuration(hss))
	must(t, err)
	clients, err := inventory.NewClients(c, "hssgate-bench")
	must(t, err)
	known, err := inventory.New(inventory.Options{Config: c, Clients: clients})
	must(t, err)
	defer known.Close()
	for i := range knownImages {
		ref, err := image.Parse(imageName(i))
		must(t, err)
		if f := known.Facts(t.Context(), ref); f.State != policy.StateFound {
			return fmt.Errorf("look up %s: %s", imageName(i), f.Reason)
		}
	}
	handler := server.NewHandler(c, webhook.Options{
		Decider: newGate(t, known, rules), Metrics: webhook.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
	s, err := server.NewWebhookServer(t.Context(), address, issuer.GetCertificate, handler, slog.New(slog.DiscardHandler))
	must(t, err)
	return s.Start(t.Context())
}

// configuration returns the default one, and what must be given.
func configuration(hss *hsstest.Server) []byte {
	return fmt.Appendf(nil, `apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects:
- {name: main, endpoint: %q, projectID: p1, credentials: {source: Environment}}
registries:
- {name: main, hosts: [%s], project: main}
`, hss.URL, registryHost)
}

// cleanRows returns all known images, which every policy admits.
func cleanRows() []hsstest.Image {
	rows, now := make([]hsstest.Image, knownImages), time.Now()
	for i := range rows {
		rows[i] = hsstest.Image{
			Namespace: "prod", ImageName: fmt.Sprintf("service-%04d", i), ImageVersion: fmt.Sprintf("2026.1.%d", i),
			ImageDigest: fmt.Sprintf("sha256:%064x", i), ImageType: config.TypePrivate, RegistryType: "SwrPrivate", Scannable: true,
			ScanStatus: "success", SeverityLevel: "Low",
			VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(2), MaliciousFileNum: hsstest.Count(0),
			LatestUpdateTime: now.Add(-48 * time.Hour), LatestScanTime: now.Add(-time.Hour), LatestSyncTime: now.Add(-time.Hour),
		}
	}
	return rows
}

// numbers are rules that a row of HSS's list decides.
const numbers = "vulnerabilities: {max: 0}"

// policies returns the manifests of 10 policies that match every pod, with rules about vulnerabilities.
func policies(rules string) (all []string) {
	for i := range 10 {
		all = append(all, fmt.Sprintf(`
apiVersion: hssgate.io/v1alpha1
kind: ImageScanPolicy
metadata: {name: bench-%d}
spec:
  enforcement: Deny
  match: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %s}}}
  require: {severityLevel: {max: Medium}, %s, maliciousFiles: {max: 0}, unsafeSettings: {max: 10}, scanStatus: {in: [success]}, scanAge: {max: 168h}}
`, i, namespace, rules))
	}
	return all
}

// newGate returns a gate with these policies.
func newGate(tb testing.TB, known gate.Facts, rules string) *gate.Gate {
	tb.Helper()
	labels := map[string]string{corev1.LabelMetadataName: namespace}
	var all []*policy.Policy
	for _, manifest := range policies(rules) {
		p := &v1alpha1.ImageScanPolicy{}
		must(tb, yaml.UnmarshalStrict([]byte(manifest), p))
		compiled, problems := policy.Compile(p)
		must(tb, problems.ToAggregate())
		all = append(all, compiled)
	}
	return &gate.Gate{
		Policies:        func() []*policy.Policy { return all },
		NamespaceLabels: func(context.Context, string) (map[string]string, error) { return labels, nil },
		Facts:           known, Clock: clock.RealClock{}, ExemptNamespaces: []string{"kube-system", "hssgate-system"},
	}
}
