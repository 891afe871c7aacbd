package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// shutdownDelay is long enough to tell apart what happens before and after its
// end, and for a busy machine to get there in time. A review that is asked for in
// its middle waits for HSS past its end.
const (
	shutdownDelay = 12 * time.Second
	slowHSS       = 8 * time.Second
)

func testShutdown(t *testing.T, s *site) {
	hss := hsstest.NewServer(hsstest.WithoutAuthentication(), hsstest.WithLatency(slowHSS))
	t.Cleanup(hss.Close)
	s.kubectl(t, policyFor("stopping", "stopping-judged"), "create", "-f", "-")
	g := s.start(t, plan{name: "stopping", webhook: "authoritySecret: authority", top: fmt.Sprintf("shutdownDelay: %s", shutdownDelay), hss: hss.URL})
	g.awaitReady(t)
	eventually(t, func() error { return g.leads(t) })

	callers := newCallers(t, g)
	callers.run(t, 4)
	time.Sleep(500 * time.Millisecond)
	told := time.Now()
	g.signal(t)

	eventually(t, func() error {
		if err := g.readyz(t); err == nil || !strings.Contains(err.Error(), "[-]stopping failed") {
			return fmt.Errorf("it doesn't say that it stops: %w", err)
		}
		return nil
	})
	callers.told.Store(true)
	// A Service whose replicas all terminate depends on it.
	if err := g.probe(t, "/readyz?exclude=stopping"); err != nil && time.Since(told) < shutdownDelay {
		t.Errorf("it isn't ready while it serves: %v", err)
	}
	if err := g.probe(t, "/healthz"); err != nil {
		t.Errorf("it isn't alive while it stops: %v", err)
	}
	eventually(t, func() error {
		if g.leads(t) == nil {
			return errors.New("it still leads")
		}
		return nil
	})
	if took := time.Since(told); took > shutdownDelay {
		t.Errorf("it let go of its Lease after %s", took)
	}
	slow := make(chan error, 1)
	time.AfterFunc(time.Until(told.Add(shutdownDelay/2)), func() { slow <- callers.askSlowly() })
	eventually(t, func() error {
		// In the end the process is gone.
		if err := g.probe(t, "/readyz?exclude=stopping"); err == nil || !errors.Is(err, syscall.ECONNREFUSED) && !strings.Contains(err.Error(), "[-]webhook failed") {
			return fmt.Errorf("it is ready after its port has closed: %w", err)
		}
		return nil
	})
	took := g.awaitExit(t, told)
	callers.check(t, told)
	if err := <-slow; err != nil {
		t.Errorf("a review that was under way: %v", err)
	}
	if g.err != nil || took < shutdownDelay {
		t.Errorf("it ended after %s: %v", took, g.err)
	}
	checkLog(t, g.read(t))
}

// checkLog checks that the few lines of a start and of a stop stand out, and
// that neither logs an error.
func checkLog(t *testing.T, log string) {
	t.Helper()
	for _, message := range []string{"starting", "ready"} {
		if n := strings.Count(log, `"msg":"`+message+`"`); n != 1 {
			t.Errorf("%d lines say %q, want 1", n, message)
		}
	}
	const few = 12
	if n := strings.Count(log, "\n"); n > few || strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("the log has %d lines, want at most %d, and no ERROR:\n%s", n, few, log)
	}
}

// leads reports as an error that the gate doesn't hold its Lease.
func (g *gate) leads(t *testing.T) error {
	t.Helper()
	lease, err := g.client.CoordinationV1().Leases(g.namespace).Get(t.Context(), "hssgate", metav1.GetOptions{})
	if err == nil && (lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "") {
		err = errors.New("nobody leads")
	}
	return err
}

// callers ask for reviews over connections that they keep, as API servers do.
type callers struct {
	client *http.Client
	url    string
	told   atomic.Bool
	all    sync.WaitGroup

	mu                      sync.Mutex
	answers, moved, staying int
	firstRefused            time.Time
	failures                []failure
	reviewed                atomic.Int64
}

// failure is a review that got no answer.
type failure struct {
	at  time.Time
	err error
}

func newCallers(t *testing.T, g *gate) *callers {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: clientOf(t, g, nil), MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	return &callers{client: &http.Client{Transport: transport}, url: "https://" + g.webhook + "/validate?timeout=30s"}
}

// run asks a hundred times a second.
func (c *callers) run(t *testing.T, n int) {
	t.Helper()
	for range n {
		c.all.Go(func() {
			ticker := time.NewTicker(time.Duration(n) * 10 * time.Millisecond)
			defer ticker.Stop()
			for c.once() {
				<-ticker.C
			}
		})
	}
}

// once asks for one review, and reports whether it makes sense to go on.
func (c *callers) once() bool {
	told := c.told.Load()
	closes, err := c.ask("default", "docker.io/library/app:1")
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		if c.firstRefused.IsZero() {
			c.firstRefused = time.Now()
		}
		return false
	case err != nil && strings.Contains(err.Error(), "server closed idle connection"):
		// Nothing of the request was sent; with a GetBody, as API servers' have
		// it, Go's client sends it on another connection by itself.
		return true
	case err != nil:
		c.failures = append(c.failures, failure{time.Now(), err})
		return len(c.failures) < 10
	case told && closes:
		c.moved++
	case told:
		c.staying++
	}
	c.answers++
	return true
}

// askSlowly asks about an image that HSS is slow to tell of, and that it
// doesn't know.
func (c *callers) askSlowly() error {
	_, err := c.ask("stopping-judged", "main.example.com/prod/app:1")
	if err == nil || !strings.Contains(err.Error(), "HSS project \"main\" has no image prod/app:1") {
		return fmt.Errorf("want a denial for an unknown image, got %w", err)
	}
	return nil
}

func (c *callers) ask(namespace, image string) (closes bool, err error) {
	review := map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
		"request": map[string]any{
			"uid": fmt.Sprint(c.reviewed.Add(1)), "operation": "CREATE", "namespace": namespace,
			"kind":   map[string]any{"version": "v1", "kind": "Pod"},
			"object": map[string]any{"metadata": map[string]any{"name": "web"}, "spec": map[string]any{"containers": []any{map[string]any{"name": "app", "image": image}}}},
		},
	}
	body, err := json.Marshal(review)
	if err != nil {
		return false, err
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	// A request that may be repeated would hide a connection that was cut.
	r.GetBody = nil
	response, err := c.client.Do(r)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	var answer admissionv1.AdmissionReview
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return response.Close, err
	}
	if !answer.Response.Allowed {
		return response.Close, errors.New(answer.Response.Result.Message)
	}
	return response.Close, nil
}

// check waits for all callers to be refused, and judges what they have seen.
func (c *callers) check(t *testing.T, told time.Time) {
	t.Helper()
	c.all.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.failures {
		// A connection that is made in the instant in which the port closes is
		// cut; the delay is there so that nobody makes one any more.
		if f.at.Before(told.Add(shutdownDelay)) {
			t.Errorf("a review failed %s after the signal: %v", f.at.Sub(told), f.err)
		}
	}
	if early := told.Add(shutdownDelay).Sub(c.firstRefused); early > 0 {
		t.Errorf("a connection was refused %s before the delay had passed", early)
	}
	if c.staying > 0 || c.moved < 50 {
		t.Errorf("%d callers were told to move on, and %d weren't", c.moved, c.staying)
	}
	t.Logf("%d answers, %d of them to move on", c.answers, c.moved)
}

func testSecondSignal(t *testing.T, s *site) {
	g := s.start(t, plan{name: "impatient", top: "shutdownDelay: 5m"})
	g.awaitReady(t)
	told := time.Now()
	g.signal(t)
	eventually(t, func() error {
		if g.readyz(t) == nil {
			return errNotYet
		}
		return nil
	})
	g.signal(t)
	g.awaitExit(t, told)
	if _, failed := errors.AsType[*exec.ExitError](g.err); !failed {
		t.Errorf("it ended with %v, want a failure", g.err)
	}
}

// testLostElection takes the Lease from a replica: it goes on answering, and
// leads again later.
func testLostElection(t *testing.T, s *site) {
	g := s.start(t, plan{name: "deposed", webhook: "authoritySecret: authority"})
	g.awaitReady(t)
	eventually(t, func() error { return g.leads(t) })
	leases := g.client.CoordinationV1().Leases(g.namespace)
	var own string
	eventually(t, func() error {
		lease, err := leases.Get(t.Context(), "hssgate", metav1.GetOptions{})
		if err != nil {
			return err
		}
		own = *lease.Spec.HolderIdentity
		*lease.Spec.HolderIdentity = "someone else"
		lease.Spec.LeaseDurationSeconds = new(int32(15))
		_, err = leases.Update(t.Context(), lease, metav1.UpdateOptions{})
		return err
	})
	eventually(t, func() error {
		if !strings.Contains(g.read(t), "no longer stands for election") {
			return errNotYet
		}
		return nil
	})
	if err := g.readyz(t); err != nil {
		t.Errorf("it no longer answers: %v", err)
	}
	eventually(t, func() error {
		lease, err := leases.Get(t.Context(), "hssgate", metav1.GetOptions{})
		if err == nil && (*lease.Spec.HolderIdentity == "someone else" || *lease.Spec.HolderIdentity == own) {
			err = errNotYet
		}
		return err
	})
}

func policyFor(name, namespace string) string {
	return fmt.Sprintf(`apiVersion: hssgate.io/v1alpha1
kind: ImageScanPolicy
metadata: {name: %s}
spec:
  match: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %s}}}
  require: {vulnerabilities: {max: 0}}
`, name, namespace)
}
