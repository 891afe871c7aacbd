package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/hss/hsstest"
)

const (
	startTimeout  = 5 * time.Minute // for slow machines
	reviewTimeout = 30 * time.Second
)

// gate is a running hssgate process.
type gate struct {
	address string // of the webhook
	client  *http.Client
	stop    func() error
}

// startGate starts hssgate, and returns once it is ready. It tries again if
// another process takes a port between finding it free and listening on it.
func (d *demo) startGate(ctx context.Context, hssURL string) (g *gate, err error) {
	for range 5 {
		if g, err = d.tryGate(ctx, hssURL); err == nil || !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	return g, err
}

func (d *demo) tryGate(ctx context.Context, hssURL string) (*gate, error) {
	webhook, err := freeAddress(ctx)
	health, healthErr := freeAddress(ctx)
	if err := errors.Join(err, healthErr); err != nil {
		return nil, err
	}
	if err := d.writeConfig(hssURL, webhook, health); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var log bytes.Buffer // read only once the process has ended
	// The last two flags have other defaults in a pod, such as one of a CI system.
	command := exec.CommandContext(ctx, d.binary, "serve", //nolint:gosec // the caller's own binary
		"--config", d.path(configFile), "--kubeconfig", d.path(kubeconfig),
		"--ca-file", d.path("ca.crt"), "--leader-elect=false", "--shutdown-delay=0s")
	keys := hsstest.DefaultCredential()
	command.Env = append(os.Environ(), "HUAWEICLOUD_SDK_AK="+keys.AccessKey, "HUAWEICLOUD_SDK_SK="+keys.SecretKey)
	command.Stderr = &log
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = time.Minute
	if err := command.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("start hssgate (make build builds it): %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		_ = command.Wait() // stop looks at the exit code
	}()
	g := &gate{address: webhook, stop: func() error {
		cancel()
		<-ended
		if code := command.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("hssgate ended with exit code %d:\n%s", code, log.String())
		}
		return nil
	}}
	if err := g.connect(ctx, health, d.path("ca.crt")); err != nil {
		return nil, errors.Join(err, g.stop())
	}
	return g, nil
}

// connect waits until hssgate is ready or ctx ends, and trusts its CA.
func (g *gate) connect(ctx context.Context, health, caFile string) error {
	ready := func(ctx context.Context) (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+health+"/readyz", nil)
		if err != nil {
			return false, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, nil //nolint:nilerr // it does not listen yet
		}
		return response.StatusCode == http.StatusOK, response.Body.Close()
	}
	if err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, startTimeout, true, ready); err != nil {
		return fmt.Errorf("wait until hssgate is ready: %w", err)
	}
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	g.client = &http.Client{
		Timeout:   reviewTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}
	return nil
}

// writeConfig writes the samples' configuration with the simulator in place of
// HSS, and with addresses of this host.
func (d *demo) writeConfig(hssURL, webhook, health string) error {
	settings := map[string]any{"bindAddress": webhook}
	if d.controlPlane != "" {
		settings["configurationName"] = configurationName
	}
	c := map[string]any{"webhook": settings, "healthBindAddress": health, "metricsBindAddress": "0", "audit": map[string]any{"enabled": false}}
	for _, name := range []string{"apiVersion", "kind", "projects", "registries", "cache", "exemptNamespaces", "dryRun"} {
		if value, given := d.set.config[name]; given {
			c[name] = value
		}
	}
	projects, _ := c["projects"].([]any)
	for _, one := range projects {
		if project, ok := one.(map[string]any); ok { // else hssgate says what is wrong
			delete(project, "caFile")
			project["endpoint"], project["credentials"] = hssURL, map[string]any{"source": "Environment"}
			if project["projectID"] == nil {
				project["projectID"] = hsstest.DefaultProjectID
			}
		}
	}
	data, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(d.path(configFile), data, 0o600)
}

// freeAddress returns an address of this host that was free a moment ago.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// answer is the webhook's answer to a sample.
type answer struct {
	verdict     verdict
	message     string
	warnings    []string
	annotations map[string]string
}

// review sends a sample to the webhook as an API server does.
func (g *gate) review(ctx context.Context, s *sample) (a answer, err error) {
	sent := newReview(s)
	body, err := json.Marshal(sent)
	if err != nil {
		return a, err
	}
	url := fmt.Sprintf("https://%s/validate?timeout=%s", g.address, reviewTimeout)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := g.client.Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	var got admissionv1.AdmissionReview
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil || got.Response == nil || got.Response.UID != sent.Request.UID {
		return a, fmt.Errorf("no answer to the review (HTTP status %s): %w", response.Status, err)
	}
	a = answer{verdict: admitted, warnings: got.Response.Warnings, annotations: got.Response.AuditAnnotations}
	switch {
	case !got.Response.Allowed:
		a.verdict, a.message = denied, got.Response.Result.Message
	case len(a.warnings) > 0:
		a.verdict = warned
	}
	return a, nil
}

func newReview(s *sample) *admissionv1.AdmissionReview {
	kind := s.object.GroupVersionKind()
	resource, _ := meta.UnsafeGuessKindToResource(kind) // right for all kinds that have images
	request := &admissionv1.AdmissionRequest{
		UID: types.UID(s.title()), Kind: metav1.GroupVersionKind(kind), Resource: metav1.GroupVersionResource(resource),
		Name: s.object.GetName(), Namespace: s.object.GetNamespace(), Operation: admissionv1.Create, Object: runtime.RawExtension{Object: s.object},
	}
	if s.old != nil {
		request.Operation, request.OldObject = admissionv1.Update, runtime.RawExtension{Object: s.old}
	}
	if s.debugs() {
		request.SubResource = "ephemeralcontainers"
	}
	return &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"}, Request: request,
	}
}
