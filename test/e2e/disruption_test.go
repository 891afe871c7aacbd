package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// TestDisruption takes hssgate's definitions away from a gate, and then the API
// server. It has an API server of its own.
func TestDisruption(t *testing.T) {
	t.Parallel()
	// It would wait a minute for the watches of others to end.
	c := newCluster(t, controlplanetest.WithFlag("shutdown-watch-termination-grace-period", "1s"))
	const own = "hssgate-system"
	c.newNamespace(t, own, nil)
	server := newHSS(t)
	add(server, row("clean"), row("bad", high), row("late", high))
	g := newGate(t, c, setup{
		name: "steady", projects: map[string]*hsstest.Server{"main": server}, cache: "freshFor: 10m",
		args: []string{"--leader-elect", "--shutdown-delay=0s"}, environment: []string{"POD_NAMESPACE=" + own},
	})
	s := g.newSpace(t)
	p := s.enforce(t, "p")
	// Only the leader writes it.
	s.awaitReady(t, p.Name, metav1.ConditionTrue)
	s.evaluates(t)
	s.testWithoutCRDs(t, server)
	asked, goroutines := lookUps(server), g.goroutines(t)

	s.evaluatesDuring(t, c.StopAPIServer)
	s.testAway(t, asked, server)
	s.evaluatesDuring(t, c.StartAPIServer)

	t.Log("the API server is back")
	if err := c.policies.Delete(t.Context(), s.newPolicy("p")); err != nil {
		t.Fatal(err)
	}
	s.settle(t)
	s.admitted(t, s.run(t, newPod("permitted", "main.example.com/prod/bad:1")))
	p = s.enforce(t, "p")
	s.denied(t, s.run(t, newPod("bad", "main.example.com/prod/bad:1")), `pod "bad"`, []string{highLine(s, "main.example.com/prod/bad:1")}, adviseRebuild)
	s.admitted(t, s.run(t, newPod("clean", "main.example.com/prod/clean:1")))
	s.awaitReady(t, p.Name, metav1.ConditionTrue) // it leads again
	eventually(t, func() error {
		// A few more come and go with connections.
		if n := g.goroutines(t); n > goroutines+goroutines/10 {
			return fmt.Errorf("%d goroutines, %d before the API server went", n, goroutines)
		}
		return nil
	})
}

// testWithoutCRDs deletes the CustomResourceDefinitions, and with them all
// policies, and brings them back.
func (s *space) testWithoutCRDs(t *testing.T, server *hsstest.Server) {
	t.Helper()
	const folder = "../../charts/hssgate/files/crds"
	s.cluster.mustKubectl(t, "", "delete", "--wait", "-f", folder)
	eventually(t, func() error { return s.readiness(t, "?verbose", "[-]policies") })
	if err := s.run(t, newPod("web", "main.example.com/prod/bad:1")); err == nil {
		t.Error("without policies to evaluate by, a bad image was admitted")
	}
	f := &fixture{gate: s.gate, hss: map[string]*hsstest.Server{"main": server}}
	s.cluster.checkMistake(t, mistake{
		[]string{"serve", "--config", f.misconfigured(t, ""), "--kubeconfig", s.cluster.kubeconfig}, 1,
		"…the cluster has no hssgate.io/v1alpha1, Kind=ImageScanPolicy: apply charts/hssgate/files/crds first",
	})
	for _, args := range [][]string{{}, {"--policy", "p"}} {
		_, err := s.allow(t, "main.example.com/prod/bad:1", args...)
		says(t, err, "hssgate is not installed in the cluster")
	}
	s.cluster.mustKubectl(t, "", "apply", "--server-side", "-f", folder)
	s.gate.awaitReady(t)
	// The API server takes a moment to serve the kind again.
	eventually(t, func() error { return s.cluster.policies.Create(t.Context(), s.newPolicy("p")) })
	s.settle(t)
	s.evaluates(t)
}

// testAway asks while there's no API server.
func (s *space) testAway(t *testing.T, asked int, server *hsstest.Server) {
	t.Helper()
	const late = "main.example.com/prod/late:1"
	rounds := 0
	eventually(t, func() error {
		s.evaluates(t)
		rounds++
		if !strings.Contains(s.log(t), `"msg":"this replica no longer stands for election"`) {
			return errors.New("it still thinks that it is elected")
		}
		return nil
	})
	t.Logf("%d rounds of reviews while it lost its election", rounds)
	if got := lookUps(server) - asked; got != 0 {
		t.Errorf("HSS was asked %d times for images that are known", got)
	}
	if got := s.ask(t, s.name, newPod("late", late)); got.Allowed || !strings.Contains(got.Result.Message, highLine(s, late)) {
		t.Errorf("an image that is new meanwhile: got %+v, want the denial %s", got, highLine(s, late))
	}
	// Whether a policy selects a namespace that it hasn't heard of can't be known.
	const bad = "main.example.com/prod/bad:1"
	if got := s.ask(t, "unheard-of", newPod("bad", bad)); got.Allowed || !strings.Contains(got.Result.Message, highLine(s, bad)) {
		t.Errorf("a namespace that is new meanwhile: got %+v, want the denial %s", got, highLine(s, bad))
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body, err := get(t, "http://"+s.health+path); err != nil || code != http.StatusOK {
			t.Errorf("%s: got %d %s, %v", path, code, body, err)
		}
	}
}

// evaluates asks the gate's port about a pod to admit and one to deny.
func (s *space) evaluates(t *testing.T) {
	t.Helper()
	const clean, bad = "main.example.com/prod/clean:1", "main.example.com/prod/bad:1"
	if got := s.ask(t, s.name, newPod("clean", clean)); !got.Allowed || len(got.Warnings) > 0 {
		t.Errorf("a clean image: got %+v", got)
	}
	if got := s.ask(t, s.name, newPod("bad", bad)); got.Allowed || !strings.Contains(got.Result.Message, highLine(s, bad)) {
		t.Errorf("a bad image: got %+v, want the denial %s", got, highLine(s, bad))
	}
}

// evaluatesDuring asks over and over until something is done.
func (s *space) evaluatesDuring(t *testing.T, something func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- something() }()
	for rounds := 1; ; rounds++ {
		s.evaluates(t)
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d rounds of reviews", rounds)
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

var goroutinesLine = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

// goroutines returns how many goroutines the gate has.
func (g *gate) goroutines(t *testing.T) int {
	t.Helper()
	code, body, err := get(t, "http://"+g.metrics+"/metrics")
	found := goroutinesLine.FindStringSubmatch(body)
	if err != nil || found == nil {
		t.Fatalf("/metrics: got %d, %v, want %s in it", code, err, goroutinesLine)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
