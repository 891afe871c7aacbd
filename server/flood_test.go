package server_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// floodTime is how long each flood lasts.
const floodTime = time.Second

// reconnect is the pause after a failed connection: handshakes alone would take
// all the time that this machine's processors have.
const reconnect = 500 * time.Millisecond

// endless is a body that never ends: the same text again and again.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		copied := copy(p[n:], e.text[e.at:])
		n, e.at = n+copied, (e.at+copied)%len(e.text)
	}
	return n, nil
}

const reviewHead = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","kind":{"group":"","version":"v1","kind":"Pod"},"namespace":"flooded-judged","operation":"CREATE","object":`

// request is the head of a request with a body of so many bytes; -1: in chunks.
func request(path string, length int64, headers ...string) string {
	framing := fmt.Sprintf("Content-Length: %d", length)
	if length < 0 {
		framing = "Transfer-Encoding: chunked"
	}
	return fmt.Sprintf("POST %s?timeout=30s HTTP/1.1\r\nHost: gate\r\n%s\r\n", path, strings.Join(append(headers, framing), "\r\n")) + "\r\n"
}

// attack is one way to use up what a server has.
type attack struct {
	// connections are as many as there are at a time.
	connections int
	// plain leaves TLS out.
	plain bool
	// send sends on one connection, until it fails.
	send func(ctx context.Context, c net.Conn) error
}

// body sends a request again and again, with a body of one kind.
func body(path string, length int64, begin, text string) func(context.Context, net.Conn) error {
	return func(_ context.Context, c net.Conn) error {
		for {
			w := bufio.NewWriter(c)
			_, _ = w.WriteString(request(path, length) + begin) // an error shows in Flush
			if _, err := io.CopyN(w, &endless{text: text}, length-int64(len(begin))); err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if _, err := io.ReadAtLeast(c, make([]byte, 1<<14), 1); err != nil {
				return err
			}
		}
	}
}

// drip sends the beginning, and then a little now and then.
func drip(begin, little string, pause time.Duration) func(context.Context, net.Conn) error {
	return func(ctx context.Context, c net.Conn) error {
		_, err := io.WriteString(c, begin)
		for err == nil {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
				_, err = io.WriteString(c, little)
			}
		}
		return err
	}
}

func chunksWithoutEnd(_ context.Context, c net.Conn) error {
	chunk := strings.Repeat("x", 1<<15)
	_, err := io.WriteString(c, request("/validate", -1)+fmt.Sprintf("%x\r\n%s\"\r\n", len(reviewHead)+1, reviewHead))
	for err == nil {
		_, err = fmt.Fprintf(c, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	return err
}

// compressed sends bodies that become large if somebody unpacks them.
func compressed() func(context.Context, net.Conn) error {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, _ = io.CopyN(w, &endless{text: " "}, 64<<20) // a buffer takes all
	_ = w.Close()
	whole := []byte(request("/validate", int64(bomb.Len()), "Content-Encoding: gzip") + bomb.String())
	return func(_ context.Context, c net.Conn) error { return again(c, whole) }
}

// again sends the same request again and again.
func again(c net.Conn, whole []byte) error {
	for {
		if _, err := c.Write(whole); err != nil {
			return err
		}
		if _, err := io.ReadAtLeast(c, make([]byte, 1<<14), 1); err != nil {
			return err
		}
	}
}

func garbage(_ context.Context, c net.Conn) error {
	_, err := io.CopyN(c, rand.Reader, 1<<16)
	return err
}

// manyHeaders sends as many headers as it can without ending them.
func manyHeaders(ctx context.Context, c net.Conn) error {
	var b strings.Builder
	b.WriteString("POST /validate HTTP/1.1\r\nHost: gate\r\n")
	for n := 0; b.Len() < 11<<10; n++ {
		fmt.Fprintf(&b, "%x:\r\n", n)
	}
	return drip(b.String(), "x", floodTime)(ctx, c)
}

// manyImages asks about pods of a thousand images that don't exist.
func manyImages(_ context.Context, c net.Conn) error {
	for n := 0; ; n++ {
		var pod strings.Builder
		pod.WriteString(reviewHead + `{"metadata":{"name":"x"},"spec":{"containers":[`)
		for i := range 1000 {
			fmt.Fprintf(&pod, `{"name":"c","image":"main.example.com/prod/made-up-%d:%p"},`, i, c)
		}
		text := strings.TrimSuffix(pod.String(), ",") + "]}}}}"
		if _, err := io.WriteString(c, request("/validate", int64(len(text)))+text); err != nil {
			return err
		}
		if _, err := io.ReadAtLeast(c, make([]byte, 1<<14), 1); err != nil {
			return err
		}
	}
}

// halfAHandshake begins one and leaves it at that.
func halfAHandshake(ctx context.Context, c net.Conn) error {
	const clientHello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
	return drip(clientHello, "x", 100*time.Millisecond)(ctx, c)
}

// attacks returns those of a port; that of the webhook has no name.
func attacks(port string) map[string]attack {
	path, ok := map[string]string{"health": "/readyz", "metrics": "/metrics"}[port]
	if !ok {
		return webhookAttacks()
	}
	get := "GET " + path + " HTTP/1.1\r\nHost: gate\r\n"
	return map[string]attack{
		"connections that say nothing":     {connections: 2500, plain: true, send: drip("", "", time.Minute)},
		"heads that come in drips":         {connections: 1500, plain: true, send: drip(get, "A: b\r\n", 100*time.Millisecond)},
		"heads of a megabyte":              {connections: 1500, plain: true, send: drip(get+"A: "+strings.Repeat("x", 1<<20-1<<10), "x", 100*time.Millisecond)},
		"bodies that come in drips":        {connections: 1500, plain: true, send: drip(request(path, 1<<30), strings.Repeat("x", 1000), 100*time.Millisecond)},
		"requests":                         {connections: 1500, plain: true, send: drip(get+"\r\n", "", 100*time.Millisecond)},
		"requests whose answer isn't read": {connections: 1500, plain: true, send: drip(strings.Repeat(get+"\r\n", 50), "", time.Minute)},
	}
}

func webhookAttacks() map[string]attack {
	const large = 31 << 20
	return map[string]attack{
		"handshakes that are half done":          {connections: 1500, plain: true, send: halfAHandshake},
		"bodies of one long string":              {connections: 24, send: body("/validate", large, reviewHead+`"`, strings.Repeat("x", 1<<15))},
		"bodies that are too large":              {connections: 24, send: body("/validate", 1<<34, reviewHead+`"`, strings.Repeat("x", 1<<15))},
		"bodies that come in drips":              {connections: 1500, send: drip(request("/validate", large)+reviewHead+`"`+strings.Repeat("x", 1<<18), "x", 100*time.Millisecond)},
		"small bodies that come in drips":        {connections: 1500, send: drip(request("/validate", 5000)+reviewHead, "x", 100*time.Millisecond)},
		"heads that come in drips":               {connections: 1500, send: drip("POST /validate HTTP/1.1\r\nHost: gate\r\n", "A: b\r\n", 100*time.Millisecond)},
		"heads of many headers":                  {connections: 1500, send: manyHeaders},
		"connections that say nothing":           {connections: 2500, plain: true, send: drip("", "", time.Minute)},
		"deep nesting":                           {connections: 24, send: body("/validate", large, reviewHead, "[")},
		"a million keys":                         {connections: 24, send: manyKeys("/validate", large)},
		"a million keys in a policy":             {connections: 24, send: manyKeys("/validate-policy", 3<<20)},
		"policies of one long string":            {connections: 24, send: body("/validate-policy", 3<<20, reviewHead+`"`, strings.Repeat("x", 1<<15))},
		"bodies to a path that there isn't":      {connections: 1000, send: drip(request("/nowhere", large), strings.Repeat("x", 1000), 100*time.Millisecond)},
		"compressed bodies":                      {connections: 24, send: compressed()},
		"chunks without end":                     {connections: 24, send: chunksWithoutEnd},
		"garbage instead of TLS":                 {connections: 200, plain: true, send: garbage},
		"pods of a thousand images":              {connections: 200, send: manyImages},
		"policies in drips from many at a time":  {connections: 1500, send: drip(request("/validate-policy", 4<<20)+reviewHead+`"`+strings.Repeat("x", 1<<18), "x", 100*time.Millisecond)},
		"exceptions that are no JSON whatsoever": {connections: 24, send: body("/validate-exception", 1<<20, "", "\x00\xff")},
	}
}

// manyKeys is a body of one object with as many different keys as fit.
func manyKeys(path string, length int64) func(context.Context, net.Conn) error {
	var object bytes.Buffer
	object.WriteString(strings.Replace(reviewHead, `"kind":"Pod"`, `"kind":"ImageScanPolicy"`, 1) + `{"metadata":{"labels":{"a":"b"`)
	for n := 0; int64(object.Len()) < length-100; n++ {
		fmt.Fprintf(&object, `,"%x":""`, n)
	}
	object.WriteString("}}}}}")
	whole := append([]byte(request(path, int64(object.Len()))), object.Bytes()...)
	return func(_ context.Context, c net.Conn) error { return again(c, whole) }
}

// run attacks until ctx ends, from another address than the honest have.
func (a attack) run(ctx context.Context, address string) {
	var attackers sync.WaitGroup
	defer attackers.Wait()
	for range a.connections {
		attackers.Go(func() {
			for ctx.Err() == nil {
				if a.once(ctx, address) != nil {
					time.Sleep(reconnect)
				}
			}
		})
	}
}

func (a attack) once(ctx context.Context, address string) error {
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if a.plain {
		return a.send(ctx, c)
	}
	secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	return a.send(ctx, secure)
}

// memoryLimit is that of the chart.
func memoryLimit(t *testing.T) int64 {
	t.Helper()
	content, err := os.ReadFile("../charts/hssgate/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		Resources corev1.ResourceRequirements `json:"resources"`
	}
	if err := yaml.Unmarshal(content, &values); err != nil {
		t.Fatal(err)
	}
	limit := values.Resources.Limits[corev1.ResourceMemory]
	if limit.Cmp(resource.MustParse("1Mi")) < 0 {
		t.Fatalf("the chart's memory limit is %s", limit.String())
	}
	return limit.Value()
}

// forgetPeak has peak begin anew.
func (g *gate) forgetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", g.command.Process.Pid), []byte("5"), 0); err != nil {
		t.Logf("the peaks add up: %v", err)
	}
}

// peak is the most memory that the process has had since forgetPeak, in bytes.
func (g *gate) peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.command.Process.Pid))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the system tells no process's memory")
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); err == nil {
			return kilobytes << 10
		}
	}
	t.Fatalf("no VmHWM in %s", status)
	return 0
}

// try asks the API server for a pod, which asks the gate.
func (g *gate) try(ctx context.Context, image string) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "honest"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image}}}}
	_, err := g.client.CoreV1().Pods(g.judged()).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

const (
	cleanImage = "main.example.com/prod/clean:1"
	badImage   = "main.example.com/prod/bad:1"
)

// honest asks for pods until ctx ends, and returns how many it asked for.
func (g *gate) honest(ctx context.Context, t *testing.T) (asked int) {
	t.Helper()
	for ; ctx.Err() == nil; asked++ {
		if err := g.try(context.WithoutCancel(ctx), cleanImage); err != nil {
			t.Errorf("a clean image: %v", err)
		}
		if err := g.try(context.WithoutCancel(ctx), badImage); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "vulnerabilities, allowed 0") {
			t.Errorf("a bad image: %v", err)
		}
		for _, url := range []string{g.health + "/healthz", g.health + "/readyz", g.metrics + "/metrics"} {
			if err := g.get(context.WithoutCancel(ctx), "http://"+url); err != nil {
				t.Error(err)
			}
		}
	}
	return asked
}

// TestFlood sends whatever may use up memory to the ports of a replica with the
// chart's memory limit and GOMEMLIMIT, while an API server, kubelet and Prometheus
// go on asking. A fifth of the limit must be left.
//
// It runs alone, since what others wait for would take longer than they expect.
func TestFlood(t *testing.T) { //nolint:paralleltest // see above
	s := newSite(t)
	hss := hsstest.NewServer(hsstest.WithoutAuthentication(), hsstest.WithImages(floodRow("clean", 0), floodRow("bad", 3)))
	t.Cleanup(hss.Close)
	s.kubectl(t, policyFor("flooded", "flooded-judged"), "create", "-f", "-")
	limit := memoryLimit(t)
	g := s.start(t, plan{name: "flooded", hss: hss.URL, env: []string{fmt.Sprintf("GOMEMLIMIT=%d", limit/20*13)}})
	g.awaitReady(t)
	eventually(t, func() error { return g.try(t.Context(), cleanImage) })
	eventually(t, func() error {
		if err := g.try(t.Context(), badImage); !apierrors.IsForbidden(err) {
			return fmt.Errorf("the policy is not in force: %w", err)
		}
		return nil
	})
	// Little is to be had by the ports of probes, and what Go keeps of other floods
	// must not count for them.
	for _, port := range []string{"health", "metrics", ""} {
		allowed := limit / 2
		if port == "" {
			allowed = limit / 5 * 4
		}
		for name, attack := range attacks(port) {
			if peak := g.flood(t, port, name, attack); peak > allowed {
				t.Errorf("%s %s: it took %d MiB, at most %d MiB are allowed, and the chart gives it %d MiB", port, name, peak>>20, allowed>>20, limit>>20)
			}
		}
	}
}

// flood attacks a port for a while, and returns the most memory that the replica
// had meanwhile.
func (g *gate) flood(t *testing.T, port, name string, a attack) (peak int64) {
	t.Helper()
	g.forgetPeak(t)
	ctx, cancel := context.WithTimeout(t.Context(), floodTime)
	defer cancel()
	began := time.Now()
	var flood sync.WaitGroup
	flood.Go(func() { a.run(ctx, g.address(port)) })
	asked := g.honest(ctx, t)
	flood.Wait()
	peak = g.peak(t)
	t.Logf("%s %s: %d MiB at most, %d rounds of honest requests in %s", port, name, peak>>20, asked, time.Since(began).Round(time.Millisecond))
	return peak
}

// address is that of a port.
func (g *gate) address(port string) string {
	switch port {
	case "health":
		return g.health
	case "metrics":
		return g.metrics
	}
	return g.webhook
}

func floodRow(name string, vulnerabilities int) hsstest.Image {
	return hsstest.Image{
		Namespace: "prod", ImageName: name, ImageVersion: "1", ImageDigest: "sha256:" + strings.Repeat("a", 64), ImageType: "private_image",
		ScanStatus: "success", SeverityLevel: "Low", VulNum: hsstest.Count(vulnerabilities), LatestScanTime: time.UnixMilli(1_000_000),
	}
}
