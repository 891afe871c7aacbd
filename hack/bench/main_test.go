package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test's own program be the children that it starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && isChild(os.Args[1]) {
		if err := run(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// newBench is a run that measures as little as possible.
func newBench(t *testing.T) (*bench, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	return &bench{out: &out, quick: true, self: self, root: root, dir: t.TempDir()}, &out
}

func TestOnlyWhatIsThereCanBeMeasured(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"an unknown letter": {"-only", "az"},
		"an unknown flag":   {"-fast"},
		"an argument":       {"everything"},
	} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTheMachineIsDescribed(t *testing.T) {
	t.Parallel()
	got := strings.Join(describeMachine(), "\n")
	for _, want := range []string{"machine: ", "go: go1.", "hssgate: ", "compared with: "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestEveryServerAnswersTheLoad(t *testing.T) {
	t.Parallel()
	b, out := newBench(t)
	contenders, err := b.startContenders(t.Context())
	defer func() {
		for _, c := range contenders {
			if err := c.child.stop(); err != nil {
				t.Error(err)
			}
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
	generator, err := b.startSelf(t.Context(), 0, childLoad)
	if err != nil {
		t.Fatal(err)
	}
	if err := oneRound(contenders, generator, 100*time.Millisecond); err != nil {
		t.Error(err)
	}
	if err := generator.stop(); err != nil {
		t.Error(err)
	}
	for _, c := range contenders {
		if c.free[0].cpu <= 0 || c.free[0].P99 < c.free[0].P50 || c.free[0].P50 <= 0 {
			t.Errorf("%s: %+v", c.kind, c.free[0])
		}
	}
	printThroughput(b, contenders)
	if got := strings.Count(out.String(), "controller-runtime, typed no-op"); got != 2 {
		t.Errorf("the no-op stands in %d tables, want 2:\n%s", got, out)
	}
}

func TestALoadEndsAtAnAnswerThatIsWrong(t *testing.T) {
	t.Parallel()
	b, _ := newBench(t)
	c, err := b.startContender(t.Context(), serverDiscard)
	if err != nil {
		t.Fatal(err)
	}
	g := &generator{connections: map[string][]*connection{}}
	_, err = g.run(t.Context(), &load{URL: c.url, CAFile: c.caFile, Duration: time.Minute, CheckUID: true})
	if err == nil || !strings.Contains(err.Error(), "the answer to review") {
		t.Errorf("err = %v, want one about the answer", err)
	}
	if err := c.child.stop(); err != nil {
		t.Error(err)
	}
}

func TestAServerThatIsUnknownDoesNotStart(t *testing.T) {
	t.Parallel()
	if _, err := newServer(t.Context(), "nonsense", "", "", nil); err == nil {
		t.Error("no error")
	}
}

func TestADecisionIsTimed(t *testing.T) {
	t.Parallel()
	b, _ := newBench(t)
	hss := newHSS(t, 3)
	known, err := b.newWarmInventory(t.Context(), hss, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(known.Close)
	decider, err := newGate(known, &shifted{}, 2, 6)
	if err != nil {
		t.Fatal(err)
	}
	took, allocations, err := b.timeDecision(t.Context(), decider, 3, 2)
	if err != nil || took <= 0 || allocations <= 0 {
		t.Errorf("%s, %d allocations, %v", took, allocations, err)
	}
	if _, _, err := b.timeDecision(t.Context(), decider, 3, 8); err == nil {
		t.Error("policies that match nothing are taken for matching ones")
	}
}

func TestImagesAreRemembered(t *testing.T) {
	t.Parallel()
	b, _ := newBench(t)
	r, err := b.remember(t.Context(), 2000, 2000)
	if err != nil {
		t.Fatal(err)
	}
	if r.Images != 2000 || r.Heap <= r.Before || r.Usage.MaxRSS < r.Heap {
		t.Errorf("%+v", r)
	}
	if r, err = b.remember(t.Context(), 5000, 1000); err != nil || r.Images > 2000 {
		t.Errorf("%+v, %v; want about 1000 images", r, err)
	}
}

func TestARolloutIsDecided(t *testing.T) {
	t.Parallel()
	b, _ := newBench(t)
	for name, r := range map[string]rollout{
		"cold":         {pods: 40, images: 4, concurrency: 8},
		"synchronised": {pods: 40, images: 4, concurrency: 8, synced: true},
		"one pod":      {pods: 1, images: 4, concurrency: 1},
	} {
		out, err := r.run(t.Context(), b)
		if err != nil || len(out.wait) != r.pods || out.calls == 0 {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
}

func TestAnOutageIsLivedThrough(t *testing.T) {
	t.Parallel()
	b, out := newBench(t)
	table := newTable("what is wrong", "1", "2", "3", "4", "5", "6", "7")
	for _, o := range outages() {
		if o.name != "HSS well, images fresh" && o.name != "HSS resets connections" {
			continue
		}
		if err := o.addTo(t.Context(), b, table, 50); err != nil {
			t.Errorf("%s: %v", o.name, err)
		}
	}
	table.print(out)
	if got := strings.Count(out.String(), "100 %"); got != 3 {
		t.Errorf("known images are admitted in all cases, new ones while HSS is well: want 3 times 100 %%:\n%s", out)
	}
}

func TestClusterMeasurementsNeedAControlPlane(t *testing.T) {
	b, _ := newBench(t)
	t.Setenv("KUBEBUILDER_ASSETS", t.TempDir())
	if _, err := b.startCluster(); err == nil || !strings.Contains(err.Error(), "make controlplane") {
		t.Errorf("err = %v, want one that says how to get it", err)
	}
}

func TestAGateThatEndsSaysWhy(t *testing.T) {
	t.Parallel()
	b, _ := newBench(t)
	c := &cluster{kubeconfig: "nowhere"}
	g, err := b.startGate(t.Context(), b.self, c, newHSS(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.awaitReady(t.Context()); err == nil || !strings.Contains(err.Error(), "ended before it was ready") {
		t.Errorf("err = %v", err)
	}
}
