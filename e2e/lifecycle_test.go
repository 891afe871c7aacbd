package e2e_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// testProcesses starts and stops gates.
func testProcesses(t *testing.T, f *fixture) {
	t.Run("a gate that is told to stop answers what it has been asked", func(t *testing.T) {
		t.Parallel()
		testTermination(t, f.cluster)
	})
	t.Run("certificates from files are followed", func(t *testing.T) {
		t.Parallel()
		testCertificateFiles(t, f.cluster)
	})
	t.Run("mistakes are told", func(t *testing.T) {
		t.Parallel()
		testMistakes(t, f)
	})
}

// testTermination stops a gate while pods are created, and starts it again.
func testTermination(t *testing.T, c *cluster) {
	server := newHSS(t)
	add(server, row("app"))
	for n := range 8 {
		add(server, row(fmt.Sprintf("waits-%d", n)))
	}
	g := newGate(t, c, setup{
		name: "leaving", projects: map[string]*hsstest.Server{"main": server}, args: []string{"--shutdown-delay", "20s"},
	})
	s := g.newSpace(t)
	s.enforce(t, "p")
	s.admitted(t, s.run(t, newPod("web", "main.example.com/prod/app:1")))

	server.SetLatency(time.Second)
	var all sync.WaitGroup
	answers := make(chan error, 8)
	for n := range cap(answers) {
		all.Go(func() {
			answers <- s.try(t, newPod(fmt.Sprintf("waits-%d", n), fmt.Sprintf("main.example.com/prod/waits-%d:1", n)))
		})
	}
	eventually(t, func() error {
		if server.Stats().InFlight == 0 {
			return errors.New("HSS isn't asked yet")
		}
		return nil
	})
	leaving := make(chan struct{})
	for range 4 {
		all.Go(func() { keepTrying(t, s, leaving) })
	}
	g.terminate(t)
	g.awaitUnready(t)
	// By now no one sends it reviews any more, in a cluster.
	close(leaving)
	all.Wait()
	close(answers)
	checkAnswers(t, answers)
	<-g.exited

	t.Log("the next one takes its place")
	server.SetLatency(0)
	g.process = c.start(t, g.args...)
	g.awaitReady(t)
	eventually(t, func() error { return s.try(t, newPod("again", "main.example.com/prod/app:1")) })
	if bundle, ca := c.bundle(t, g.name), g.caFile(t); !bytes.Contains(bundle, ca) {
		t.Errorf("the caBundle:\n%s\nlacks:\n%s", bundle, ca)
	}
}

// awaitUnready waits until the gate says that it wants no more reviews.
func (g *gate) awaitUnready(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		code, _, err := get(t, "http://"+g.health+"/readyz")
		if err == nil && code == http.StatusOK {
			return errors.New("still ready")
		}
		return err
	})
}

// keepTrying creates a pod whose image is known, until it is told to stop.
func keepTrying(t *testing.T, s *space, stop <-chan struct{}) {
	t.Helper()
	for {
		if err := s.try(t, newPod("again", "main.example.com/prod/app:1")); err != nil {
			t.Errorf("a review failed: %v", err)
			return
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// checkAnswers checks that no review failed. HSS may have been too slow for
// some, which is an answer.
func checkAnswers(t *testing.T, answers <-chan error) {
	t.Helper()
	for err := range answers {
		if err != nil && !strings.Contains(err.Error(), " denied by 1 policy:") {
			t.Errorf("a review failed: %v", err)
		}
	}
}

// testCertificateFiles swaps the certificate of a running gate.
func testCertificateFiles(t *testing.T, c *cluster) {
	dir := t.TempDir()
	first, second := newCertificate(t), newCertificate(t)
	install(t, first, dir)
	server := newHSS(t)
	add(server, row("app"))
	g := newGate(t, c, setup{
		name: "files", projects: map[string]*hsstest.Server{"main": server}, webhook: "certDir: " + dir,
		change: func(configuration *admissionregistrationv1.ValidatingWebhookConfiguration) {
			configuration.Webhooks[0].ClientConfig.CABundle = append(certificatePEM(first), certificatePEM(second)...)
		},
	})
	s := g.newSpace(t)
	s.enforce(t, "p")
	s.admitted(t, s.run(t, newPod("before", "main.example.com/prod/app:1")))
	if err := presents(g, first); err != nil {
		t.Error(err)
	}
	install(t, second, dir)
	eventually(t, func() error { return presents(g, second) })
	s.admitted(t, s.run(t, newPod("after", "main.example.com/prod/app:1")))
}

func newCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	c, err := hsstest.SelfSignedCertificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func certificatePEM(c tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
}

// install puts a certificate and its key into a folder, each at once.
func install(t *testing.T, c tls.Certificate, dir string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"tls.crt": certificatePEM(c),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		if err := os.Rename(write(t, name, string(content)), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// presents checks that the gate's certificate is the one given.
func presents(g *gate, c tls.Certificate) error {
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	connection, err := tls.Dial("tcp", g.webhook, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	return connection.Close()
}
