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

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// testDisruption takes hssgate's definitions away from a gate, and then the API
// server.
func testDisruption(t *testing.T, c *cluster) {
	// It would wait a minute for the watches of others to end.
	c = newCluster(t, c.program, controlplanetest.WithFlag("shutdown-watch-termination-grace-period", "1s"))
	g := c.newGate(t, c.asInstalled(t, setup{
		name: "steady", hss: mainHSS(t, row("clean"), row("bad", high), row("late", high)), cache: "freshFor: 10m", args: []string{"--leader-elect"},
	}))
	s := g.newSpace(t)
	// Only the leader writes it.
	s.awaitPolicy(t, s.enforce(t, "p"), metav1.ConditionTrue)
	s.decides(t, s.reviewed)
	s.testWithoutCRDs(t)
	asked, goroutines := lookUps(s.hss["main"], ""), g.goroutines(t)

	s.decidesDuring(t, c.StopAPIServer)
	s.testAway(t, asked)
	s.decidesDuring(t, c.StartAPIServer)

	t.Log("the API server is back")
	c.delete(t, s.newPolicy("p"))
	s.settle(t)
	s.admitted(t, s.run(t, newPod("permitted", "main.example.com/prod/bad:1")))
	p := s.enforce(t, "p")
	s.decides(t, s.try)
	s.awaitPolicy(t, p, metav1.ConditionTrue) // it leads again
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
func (s *space) testWithoutCRDs(t *testing.T) {
	t.Helper()
	const folder = "../../charts/hssgate/files/crds"
	s.cluster.mustKubectl(t, "", "delete", "--wait", "-f", folder)
	eventually(t, func() error { return s.readiness(t, "?verbose", "[-]policies") })
	if err := s.run(t, newPod("web", "main.example.com/prod/bad:1")); err == nil {
		t.Error("without policies to evaluate by, a bad image was admitted")
	}
	s.cluster.checkMistake(t, "the cluster has no hssgate.io/v1alpha1, Kind=ImageScanPolicy: apply charts/hssgate/files/crds first", s.cluster.kubeconfig, "")
	for _, args := range [][]string{{}, {"--policy", "p"}} {
		_, err := s.allow(t, "main.example.com/prod/bad:1", args...)
		says(t, err, "hssgate is not installed in the cluster")
	}
	s.cluster.mustKubectl(t, "", "apply", "--server-side", "-f", folder)
	s.gate.awaitReady(t)
	// The API server takes a moment to serve the kind again.
	eventually(t, func() error { return s.cluster.Create(t.Context(), s.newPolicy("p")) })
	s.settle(t)
	s.decides(t, s.reviewed)
}

// testAway asks while there's no API server.
func (s *space) testAway(t *testing.T, asked int) {
	t.Helper()
	const late, bad = "main.example.com/prod/late:1", "main.example.com/prod/bad:1"
	rounds := 0
	eventually(t, func() error {
		s.decides(t, s.reviewed)
		rounds++
		if !strings.Contains(s.log(t), `"msg":"this replica no longer stands for election"`) {
			return errors.New("it still thinks that it is elected")
		}
		return nil
	})
	t.Logf("%d rounds of reviews while it lost its election", rounds)
	if got := lookUps(s.hss["main"], "") - asked; got != 0 {
		t.Errorf("HSS was asked %d times for images that are known", got)
	}
	// An image and a namespace that are new meanwhile. Whether a policy selects a namespace that it hasn't heard of can't be known.
	says(t, s.reviewed(t, newPod("late", late)), highLine(s, late))
	unheard := *s
	unheard.name = "unheard-of"
	says(t, unheard.reviewed(t, newPod("bad", bad)), highLine(s, bad))
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body, err := fetch(t, s.health+path); err != nil || code != http.StatusOK {
			t.Errorf("%s: got %d %s, %v", path, code, body, err)
		}
	}
}

// reviewed asks the gate's port about a pod, and returns a denial.
func (s *space) reviewed(t *testing.T, pod *corev1.Pod) error {
	t.Helper()
	got := s.ask(t, s.name, pod)
	if !got.Allowed {
		return errors.New(got.Result.Message)
	}
	if len(got.Warnings) > 0 {
		t.Errorf("got warnings %q", got.Warnings)
	}
	return nil
}

// decidesDuring asks over and over until something is done.
func (s *space) decidesDuring(t *testing.T, something func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- something() }()
	for rounds := 1; ; rounds++ {
		s.decides(t, s.reviewed)
		select {
		case err := <-done:
			must(t, err)
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
	found := goroutinesLine.FindStringSubmatch(g.scrape(t))
	if found == nil {
		t.Fatalf("/metrics lacks %s", goroutinesLine)
	}
	n, err := strconv.Atoi(found[1])
	must(t, err)
	return n
}
