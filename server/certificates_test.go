package server_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/certificate"
	"github.com/hssgate/hssgate/controller"
)

// testSharedAuthority renews what two replicas serve by, while pods are created.
func testSharedAuthority(t *testing.T, s *site) {
	const webhook = "authoritySecret: authority\nauthorityLifetime: 10m\nauthorityPropagation: 10s"
	one := s.start(t, plan{name: "sharing", webhook: webhook})
	two := s.start(t, plan{name: "sharing", webhook: webhook, twin: true})
	one.awaitReady(t)
	two.awaitReady(t)
	first := awaitSame(t, one, two, "")

	ctx, stop := context.WithCancel(t.Context())
	var pods sync.WaitGroup
	pods.Go(func() { createPods(ctx, t, one) })
	secrets := s.client.CoreV1().Secrets(one.namespace)
	eventually(t, func() error {
		secret, err := secrets.Get(t.Context(), "authority", metav1.GetOptions{})
		if err != nil {
			return err
		}
		metav1.SetMetaDataAnnotation(&secret.ObjectMeta, controller.AnnotationRotate, "true")
		_, err = secrets.Update(t.Context(), secret, metav1.UpdateOptions{})
		return err
	})
	awaitSame(t, one, two, first)
	stop()
	pods.Wait()
	if got := strings.Count(string(one.bundle(t)), "BEGIN"); got != 2 {
		t.Errorf("%d authorities are trusted, want the one in use and the one before", got)
	}
	if log := one.read(t) + two.read(t); strings.Contains(log, "PRIVATE KEY") {
		t.Error("a log holds a key")
	}
}

// createPods has the API server ask the gate, with failurePolicy Fail.
func createPods(ctx context.Context, t *testing.T, g *gate) {
	n := 0
	for ; ctx.Err() == nil; n++ {
		if err := g.createPod(context.WithoutCancel(ctx), fmt.Sprintf("pod-%d", n)); err != nil {
			t.Errorf("pod %d: %v", n, err)
			return
		}
	}
	t.Logf("%d pods", n)
}

func (g *gate) createPod(ctx context.Context, name string) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "main.example.com/prod/app:1"}}}}
	_, err := g.client.CoreV1().Pods(g.judged()).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// awaitSame waits until both serve by the same authority, and another than the
// one before, and names it.
func awaitSame(t *testing.T, one, two *gate, before string) (name string) {
	t.Helper()
	eventually(t, func() error {
		var errs [2]error
		var second string
		name, errs[0] = presented(t, one)
		second, errs[1] = presented(t, two)
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		if name != second || name == before {
			return fmt.Errorf("one serves by %s, the other by %s; before it was %s", name, second, before)
		}
		return nil
	})
	return name
}

// presented names the authority of the certificate that a gate serves by, which
// must be trusted.
func presented(t *testing.T, g *gate) (string, error) {
	t.Helper()
	dialer := &tls.Dialer{Config: clientOf(t, g, nil)}
	c, err := dialer.DialContext(t.Context(), "tcp", g.webhook)
	if err != nil {
		return "", err
	}
	defer c.Close()
	chains := c.(*tls.Conn).ConnectionState().VerifiedChains
	return chains[0][len(chains[0])-1].SerialNumber.String(), nil
}

// testFolder swaps certificates as Kubernetes does, and writes them by halves as
// others do, while clients connect.
func testFolder(t *testing.T, s *site) {
	dir := t.TempDir()
	authority := newAuthority(t)
	swap(t, dir, "1", pair(t, authority))
	g := s.start(t, plan{name: "folder", webhook: "certDir: " + dir})
	g.awaitReady(t)
	connect := func() (string, error) { return serial(t, g, authority) }

	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	clients.Go(func() {
		for ctx.Err() == nil {
			if _, err := connect(); err != nil {
				t.Errorf("a connection was refused: %v", err)
				return
			}
		}
	})
	last, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	swaps := map[string]func(){
		"the folder is swapped":       func() { swap(t, dir, "2", pair(t, newAuthorityLike(t, authority))) },
		"the folder is swapped again": func() { swap(t, dir, "3", pair(t, newAuthorityLike(t, authority))) },
		"files are written by halves": func() { writeByHalves(t, dir, pair(t, newAuthorityLike(t, authority))) },
	}
	for _, name := range []string{"the folder is swapped", "the folder is swapped again", "files are written by halves"} {
		swaps[name]()
		eventually(t, func() error {
			now, err := connect()
			if err == nil && now == last {
				err = fmt.Errorf("%s: the certificate isn't served", name)
			}
			if err == nil {
				last = now
			}
			return err
		})
	}
	stop()
	clients.Wait()
	if log := g.read(t); !strings.Contains(log, "serving by a certificate from files") || !strings.Contains(log, "validUntil") {
		t.Error("the log doesn't tell until when a certificate is valid")
	}
	wantReadyWhileValid(t, g, dir)
}

// wantReadyWhileValid serves by a certificate of another time, and renews it.
func wantReadyWhileValid(t *testing.T, g *gate, dir string) {
	t.Helper()
	for name, years := range map[string]int{"that has expired": -20, "that isn't valid yet": 20} {
		other, err := certificate.NewAuthority(clocktesting.NewFakePassiveClock(time.Now().AddDate(years, 0, 0)), "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		swap(t, dir, fmt.Sprint("other ", years), pair(t, other))
		eventually(t, func() error {
			if err := g.readyz(t); err == nil || !strings.Contains(err.Error(), "[-]certificate failed") {
				return fmt.Errorf("by a certificate %s its readiness is %w", name, cmp.Or(err, errNotYet))
			}
			return nil
		})
		swap(t, dir, fmt.Sprint("valid after ", years), pair(t, newAuthority(t)))
		g.awaitReady(t)
	}
}

func serial(t *testing.T, g *gate, authority *certificate.Authority) (string, error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM())
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	c, err := dialer.DialContext(t.Context(), "tcp", g.webhook)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

func newAuthority(t *testing.T) *certificate.Authority {
	t.Helper()
	a, err := certificate.NewAuthority(clock.RealClock{}, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// newAuthorityLike makes another certificate of the same authority.
func newAuthorityLike(t *testing.T, a *certificate.Authority) *certificate.Authority {
	t.Helper()
	issuer, err := certificate.NewIssuer(clock.RealClock{}, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := issuer.Use(a.Root()); err != nil {
		t.Fatal(err)
	}
	return &certificate.Authority{Issuer: issuer}
}

// pair returns the files of a serving certificate.
func pair(t *testing.T, a *certificate.Authority) map[string][]byte {
	t.Helper()
	serving, err := a.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(serving.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: serving.Certificate[0]}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
}

// swap does what the kubelet does for a mounted Secret: the files are links into
// a folder that is itself a link, which is replaced.
func swap(t *testing.T, dir, version string, files map[string][]byte) {
	t.Helper()
	folder := filepath.Join(dir, "..version-"+version)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.Readlink(filepath.Join(dir, "..data"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "..data_tmp")
	if err := errors.Join(os.Symlink(filepath.Base(folder), link), os.Rename(link, filepath.Join(dir, "..data"))); err != nil {
		t.Fatal(err)
	}
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	if before != "" {
		if err := os.RemoveAll(filepath.Join(dir, before)); err != nil {
			t.Fatal(err)
		}
	}
}

// writeByHalves leaves the folder for a while with files that are empty, cut off
// or of different pairs.
func writeByHalves(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for _, name := range []string{"tls.crt", "tls.key"} {
		content := files[name]
		path := filepath.Join(dir, name)
		for _, part := range [][]byte{nil, content[:len(content)/2], bytes.Repeat([]byte("x"), 100), content} {
			if err := os.WriteFile(path, part, 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// testMistakes starts replicas that can't serve.
func testMistakes(t *testing.T, s *site) {
	open := t.TempDir()
	for file, content := range pair(t, newAuthority(t)) {
		path := filepath.Join(open, file)
		if err := errors.Join(os.WriteFile(path, content, 0o600), os.Chmod(path, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		webhook, want string
	}{
		"no certificate": {"certDir: /nowhere", "read the serving certificate: open /nowhere/tls.crt: no such file or directory"},
		"a key that others can write": {
			"certDir: " + open, "read the serving key: " + filepath.Join(open, "tls.key") + " has mode 0666, by which others can write it",
		},
		"no authority of clients": {"clientCAFile: /nowhere", "read the authorities of clients: open /nowhere: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := s.start(t, plan{name: "mistaken", webhook: tt.webhook, twin: true})
			g.awaitExit(t, time.Now())
			if g.err == nil || !strings.Contains(g.read(t), "hssgate: "+tt.want) {
				t.Errorf("it ended with %v:\n%s", g.err, g.read(t))
			}
		})
	}
}
