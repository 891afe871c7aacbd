package audit_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/internal/audit"
)

// watched is an auditor that runs, and when it made how many audits.
type watched struct {
	*cluster
	policies atomic.Int64
	images   atomic.Bool
	ready    atomic.Bool
	// takes is how long an audit takes, and down whether the API server is unreachable.
	takes time.Duration
	down  atomic.Bool
	// counted are the audits that after has told of.
	counted int
}

// newWatched returns an auditor of one pod, for the time of a synctest bubble.
func newWatched(t *testing.T) *watched {
	t.Helper()
	w := &watched{cluster: newCluster(t)}
	w.run("a", "web", "good:1")
	w.ready.Store(true)
	w.Clock = clock.RealClock{}
	w.State = func() audit.State { return audit.State{Prompt: w.policies.Load(), Patient: w.images.Load()} }
	w.Ready = func() error {
		if !w.ready.Load() {
			return errors.New("not yet")
		}
		return nil
	}
	w.fail = func(verb, object string) error {
		if verb == "list" && w.down.Load() {
			return errors.New("connection refused")
		}
		if verb == "list" && strings.HasPrefix(object, "*v1.PodList /") {
			time.Sleep(w.takes)
		}
		return nil
	}
	return w
}

// after tells how many audits there were in the time: those since it was last
// called, for the first may be over before this is.
func (w *watched) after(d time.Duration) int {
	time.Sleep(d)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.counted
	w.counted = w.asked
	return w.asked - before
}

// step is what happens, a time that passes, and how many audits there are in it.
type step struct {
	do   func(*watched)
	wait time.Duration
	want int
}

// policiesChange changes policies, one a second.
func policiesChange(n int) func(*watched) {
	return func(w *watched) {
		for range n {
			w.policies.Add(1)
			time.Sleep(time.Second)
		}
	}
}

func imageChanges(w *watched) { w.images.Store(true) }

func TestAuditsWhileTheReplicaLeads(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		steps []step
		log   string
	}{
		"follow a schedule": {[]step{{nil, 5 * time.Second, 1}, {nil, 9 * time.Minute, 0}, {nil, time.Hour, 6}}, "why=schedule"},
		// Each takes 8 minutes, and the pause is four times as long.
		"leave time for others if they take long": {[]step{{func(w *watched) { w.takes = 8 * time.Minute }, 81 * time.Minute, 2}}, ""},
		"are made again after a failure": {[]step{
			{func(w *watched) { w.down.Store(true) }, 30 * time.Second, 0}, {func(w *watched) { w.down.Store(false) }, 2 * time.Minute, 1},
		}, "read the running pods: connection refused"},
		"wait for policies to be read": {[]step{
			{func(w *watched) { w.ready.Store(false) }, time.Minute, 0}, {func(w *watched) { w.ready.Store(true) }, 2 * time.Second, 1},
		}, ""},
		"are made within 15 s of a new policy after the start":  {[]step{{nil, 5 * time.Second, 1}, {policiesChange(1), 12 * time.Second, 1}}, "why=policies"},
		"are made within 15 s of a new policy after another":    {[]step{{nil, 10*time.Minute + 5*time.Second, 2}, {policiesChange(1), 12 * time.Second, 1}}, "why=policies"},
		"are of policies that are changed together":             {[]step{{nil, 5 * time.Minute, 1}, {policiesChange(2), 30 * time.Second, 1}}, "why=policies"},
		"are of changes without end, a few at a time":           {[]step{{nil, 5*time.Minute + time.Second/2, 1}, {policiesChange(60), time.Second, 15}}, "why=policies"},
		"are made after a fifth of the interval for new images": {[]step{{nil, 5 * time.Second, 1}, {imageChanges, time.Minute, 0}, {nil, time.Minute, 1}}, "why=images"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, done := newWatched(t), make(chan error, 1)
				ctx, stop := context.WithCancel(t.Context())
				for i, s := range tt.steps {
					if s.do != nil {
						s.do(w)
					}
					if i == 0 {
						go func() { done <- w.Start(ctx) }()
					}
					equal(t, "audits in "+s.wait.String(), s.want, w.after(s.wait))
				}
				equal(t, "metrics while it leads", 1, len(w.measured(t, "hssgate_audit_evaluated_pods")))
				stop()
				must(t, <-done)
				equal(t, "metrics afterwards", nil, w.measured(t, "hssgate_audit_evaluated_pods"))
				if !strings.Contains(w.log.String(), tt.log) {
					t.Errorf("no %q in the log: %s", tt.log, w.log.String())
				}
			})
		})
	}
}
