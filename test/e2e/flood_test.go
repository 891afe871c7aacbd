package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

const (
	// floodTime is how long each flood lasts.
	floodTime = time.Second
	// reconnect is the pause after a failed connection: handshakes alone would take all the
	// time that this machine's processors have.
	reconnect = 500 * time.Millisecond
)

const reviewHead = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","kind":{"group":"","version":"v1","kind":"Pod"},"namespace":"space-2","operation":"CREATE","object":`

// headOf is the head of a request with a body of so many bytes; -1: in chunks.
func headOf(length int64) string {
	framing := fmt.Sprintf("Content-Length: %d", length)
	if length < 0 {
		framing = "Transfer-Encoding: chunked"
	}
	return "POST /validate?timeout=30s HTTP/1.1\r\nHost: gate\r\n" + framing + "\r\n\r\n"
}

// attack is one way to use up a server's memory. It sends on one of so many connections until that fails.
type attack struct {
	connections int
	send        func(ctx context.Context, c net.Conn) error
}

// attacks are those that test/cluster does not have: bodies.
func attacks() map[string]attack {
	const large = 31 << 20
	return map[string]attack{
		"bodies that are too large": {24, body(1<<34, reviewHead+`"`, strings.Repeat("x", 1<<15))},
		"bodies in drips":           {800, drip(headOf(large) + reviewHead + `"` + strings.Repeat("x", 1<<18))},
		"deep nesting":              {24, body(large, reviewHead, strings.Repeat("[", 1<<15))},
		"a million keys":            {24, manyKeys(large)},
		"chunks without end":        {24, chunksWithoutEnd},
	}
}

// body sends a request again and again, with a body of one kind.
func body(length int64, begin, text string) func(context.Context, net.Conn) error {
	return again(func(w io.Writer) error {
		_, err := io.WriteString(w, headOf(length)+begin)
		for left := int(length) - len(begin); err == nil && left > 0; left -= len(text) {
			_, err = io.WriteString(w, text[:min(len(text), left)])
		}
		return err
	})
}

// again sends a request again and again, as soon as its answer begins.
func again(send func(io.Writer) error) func(context.Context, net.Conn) error {
	return func(_ context.Context, c net.Conn) error {
		for {
			w := bufio.NewWriter(c)
			if err := errors.Join(send(w), w.Flush()); err != nil {
				return err
			}
			if _, err := io.ReadAtLeast(c, make([]byte, 1<<14), 1); err != nil {
				return err
			}
		}
	}
}

// drip sends the beginning, and then a byte now and then.
func drip(begin string) func(context.Context, net.Conn) error {
	return func(ctx context.Context, c net.Conn) error {
		_, err := io.WriteString(c, begin)
		for err == nil && ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
			_, err = io.WriteString(c, "x")
		}
		return err
	}
}

func chunksWithoutEnd(_ context.Context, c net.Conn) error {
	chunk := strings.Repeat("x", 1<<15)
	_, err := io.WriteString(c, headOf(-1)+fmt.Sprintf("%x\r\n%s\"\r\n", len(reviewHead)+1, reviewHead))
	for err == nil {
		_, err = fmt.Fprintf(c, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	return err
}

// manyKeys sends a body of one object with as many different keys as fit.
func manyKeys(length int64) func(context.Context, net.Conn) error {
	var object bytes.Buffer
	object.WriteString(reviewHead + `{"metadata":{"labels":{"a":"b"`)
	for n := 0; int64(object.Len()) < length-100; n++ {
		fmt.Fprintf(&object, `,"%x":""`, n)
	}
	object.WriteString("}}}}}")
	whole := append([]byte(headOf(int64(object.Len()))), object.Bytes()...)
	return again(func(w io.Writer) error {
		_, err := w.Write(whole)
		return err
	})
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
	secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	return a.send(ctx, secure)
}

// testFlood sends whatever may use up memory to a replica with the chart's memory limit and GOMEMLIMIT, while an API server,
// kubelet and Prometheus go on. A fifth of the limit must be left.
func testFlood(t *testing.T, c *cluster, program string) {
	limit := memoryLimit(t)
	s := c.newGate(t, c.asInstalled(t, setup{
		name: "flooded", hss: mainHSS(t, row("clean"), row("bad", high)), program: program, serving: "caSecret: ca",
		environment: []string{fmt.Sprintf("GOMEMLIMIT=%d", limit/20*13)},
	})).newSpace(t)
	s.enforce(t, "p")
	for name, attack := range attacks() {
		ctx, cancel := context.WithTimeout(t.Context(), floodTime)
		var flood sync.WaitGroup
		flood.Go(func() { attack.run(ctx, s.webhook) })
		rounds := 0
		for ; ctx.Err() == nil; rounds++ {
			s.decides(t, s.try)
			for _, url := range []string{s.health + "/healthz", s.health + "/readyz", s.metrics + "/metrics"} {
				if code, answer, err := fetch(t, url); err != nil || code != http.StatusOK {
					t.Errorf("%s: %d %.200s, %v", url, code, answer, err)
				}
			}
		}
		cancel()
		flood.Wait()
		peak := s.peak(t)
		t.Logf("%s: %d MiB at most until now, %d rounds of honest requests", name, peak>>20, rounds)
		if peak > limit/5*4 {
			t.Fatalf("after %s it has taken %d MiB, at most four fifths of the chart's %d MiB are allowed", name, peak>>20, limit>>20)
		}
	}
}

// decides has a pod admitted and one denied.
func (s *space) decides(t *testing.T, try func(*testing.T, *corev1.Pod) error) {
	t.Helper()
	const clean, bad = "main.example.com/prod/clean:1", "main.example.com/prod/bad:1"
	if err := try(t, newPod("clean", clean)); err != nil {
		t.Errorf("a clean image: %v", err)
	}
	says(t, try(t, newPod("bad", bad)), highLine(s, bad))
}

// memoryLimit is that of the chart.
func memoryLimit(t *testing.T) int64 {
	t.Helper()
	content, err := os.ReadFile("../../charts/hssgate/values.yaml")
	must(t, err)
	var values struct {
		Resources corev1.ResourceRequirements `json:"resources"`
	}
	must(t, yaml.Unmarshal(content, &values))
	limit := values.Resources.Limits[corev1.ResourceMemory]
	if limit.Cmp(resource.MustParse("1Mi")) < 0 {
		t.Fatalf("the chart's memory limit is %s", limit.String())
	}
	return limit.Value()
}

// peak is the most memory that the process has had, in bytes.
func (p *process) peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the system has no /proc/PID/status")
	}
	must(t, err)
	for line := range strings.Lines(string(status)) {
		var kilobytes int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); err == nil {
			return kilobytes << 10
		}
	}
	t.Fatalf("no VmHWM in %s", status)
	return 0
}
