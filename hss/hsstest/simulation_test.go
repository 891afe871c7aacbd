package hsstest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// lines is a log that several goroutines write.
type lines struct {
	mu  sync.Mutex
	log bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.String()
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// simulate runs s with the test and returns its URL. stop waits for its end.
func simulate(t *testing.T, s hsstest.Simulation) (url string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	s.Listen = "127.0.0.1:0"
	s.Ready = func(url string) { ready <- url }
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(cancel)
	select {
	case url = <-ready:
	case err := <-ended:
		t.Fatalf("the simulation ended: %v", err)
	}
	return url, func() error {
		cancel()
		return <-ended
	}
}

func askURL(t *testing.T, client *http.Client, url string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+listPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	return read(t, response)
}

func TestASimulationServesAFileAndFollowsItsChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	writeFile(t, path, "images: [{image_name: a, image_version: one}]")
	var log lines
	url, stop := simulate(t, hsstest.Simulation{InventoryFile: path, Options: []hsstest.Option{hsstest.WithoutAuthentication()},
		Logger: slog.New(slog.NewTextHandler(&log, nil))})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if got := askURL(t, client, url); got.tags() != "one" {
		t.Errorf("got %s", got.Raw)
	}
	writeFile(t, path, "images: [{image_name: a, image_version: second}]")
	waitFor(t, func() bool { return askURL(t, client, url).tags() == "second" })
	writeFile(t, path, "images: broken beyond repair")
	waitFor(t, func() bool { return strings.Contains(log.String(), "inventory not reloaded") })
	if got := askURL(t, client, url); got.tags() != "second" {
		t.Errorf("after a broken change: got %s", got.Raw)
	}
	if err := stop(); err != nil {
		t.Errorf("the end: %v", err)
	}
}

func TestASimulationEndsThoughRequestsHang(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	writeFile(t, path, "faults: [{kind: hang, times: 0}]")
	url, stop := simulate(t, hsstest.Simulation{InventoryFile: path})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+listPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		if response, err := http.DefaultClient.Do(r); err == nil {
			_ = response.Body.Close()
		}
	}()
	if err := stop(); err != nil {
		t.Errorf("the end: %v", err)
	}
	<-left
}

func TestASimulationServesTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "inventory.yaml")
	writeFile(t, path, "images: [{image_name: a, image_version: one}]")
	certificate, err := hsstest.SelfSignedCertificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, caFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.crt")
	writeFile(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})))
	writeFile(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	for name, tc := range map[string]struct {
		simulation hsstest.Simulation
		trusted    string
	}{
		"with its files":               {hsstest.Simulation{CertificateFile: certFile, KeyFile: keyFile}, certFile},
		"with a generated certificate": {hsstest.Simulation{SelfSigned: true, CAFile: caFile}, caFile},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.simulation.InventoryFile = path
			tc.simulation.Options = []hsstest.Option{hsstest.WithoutAuthentication()}
			url, stop := simulate(t, tc.simulation)
			trusted, err := os.ReadFile(tc.trusted)
			if err != nil {
				t.Fatal(err)
			}
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(trusted)
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
			if got := askURL(t, client, url); got.tags() != "one" || !strings.HasPrefix(url, "https://") {
				t.Errorf("%s: got %s", url, got.Raw)
			}
			if err := stop(); err != nil {
				t.Errorf("the end: %v", err)
			}
		})
	}
}

func TestASimulationThatCannotStartFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	writeFile(t, path, "images: []")
	for want, s := range map[string]hsstest.Simulation{
		"no such file":         {InventoryFile: path + ".none"},
		"certificate":          {InventoryFile: path, CertificateFile: "none.crt"},
		"listen: ":             {InventoryFile: path, Listen: "127.0.0.1:99999"},
		`listen address "now"`: {InventoryFile: path, Listen: "now", SelfSigned: true},
	} {
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
