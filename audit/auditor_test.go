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

	"github.com/hssgate/hssgate/audit"
)

// watched is an auditor that runs, and when it made how many audits.
type watched struct {
	*cluster
	policies atomic.Int64
	ready    atomic.Bool
	stop     context.CancelFunc
	done     chan error
	// counted are the audits that after has told of.
	counted int
}

// watch starts an auditor of one pod in the time of a synctest bubble.
func watch(t *testing.T, change ...func(*watched)) *watched {
	t.Helper()
	w := &watched{cluster: newCluster(t), done: make(chan error, 1)}
	w.run("a", "web", "good:1")
	w.ready.Store(true)
	w.Clock = clock.RealClock{}
	w.Triggers = []audit.Trigger{
		{Name: "images", Value: func() any { return 1 }},
		{Name: "policies", Value: func() any { return w.policies.Load() }},
	}
	w.Ready = func() error {
		if !w.ready.Load() {
			return errors.New("not yet")
		}
		return nil
	}
	for _, f := range change {
		f(w)
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(t.Context())
	go func() { w.done <- w.Start(ctx) }()
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

func (w *watched) end(t *testing.T) {
	t.Helper()
	w.stop()
	if err := <-w.done; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestAuditsFollowASchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		defer w.end(t)
		if got := w.after(5 * time.Second); got != 1 {
			t.Errorf("%d audits at the start, want 1", got)
		}
		if got := w.after(9 * time.Minute); got != 0 {
			t.Errorf("%d audits before the interval is over, want none", got)
		}
		if got := w.after(time.Hour); got != 6 {
			t.Errorf("%d audits in an hour, want 6", got)
		}
	})
}

func TestAChangeTriggersAnAudit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		defer w.end(t)
		w.after(5 * time.Minute)
		w.policies.Add(1)
		if got := w.after(2 * time.Second); got != 1 {
			t.Errorf("%d audits after a change, want 1", got)
		}
		if !strings.Contains(w.log.String(), "why=policies") {
			t.Errorf("the log doesn't say why: %s", w.log.String())
		}
		t.Log("changes without end make no audits without end")
		for range 120 {
			w.policies.Add(1)
			time.Sleep(time.Second)
		}
		if got := w.after(2 * time.Second); got > 1 {
			t.Errorf("%d more audits, want one at most", got)
		}
	})
}

func TestAnAuditThatTakesLongLeavesTimeForOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, func(w *watched) {
			w.fail = func(verb, object string) error {
				if verb == "list" && strings.HasPrefix(object, "*v1.PodList a/") {
					time.Sleep(8 * time.Minute)
				}
				return nil
			}
		})
		defer w.end(t)
		// Each takes 8 minutes, and the pause is four times as long.
		if got := w.after(81 * time.Minute); got != 2 {
			t.Errorf("%d audits, want 2", got)
		}
	})
}

func TestAnAuditThatFailedIsMadeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		w := watch(t, func(w *watched) {
			w.fail = func(verb, _ string) error {
				if verb == "list" && down.Load() {
					return errors.New("connection refused")
				}
				return nil
			}
		})
		defer w.end(t)
		if got := w.after(30 * time.Second); got != 0 {
			t.Errorf("%d pods were judged, want none", got)
		}
		down.Store(false)
		if got := w.after(2 * time.Minute); got != 1 {
			t.Errorf("%d audits, want 1", got)
		}
		if !strings.Contains(w.log.String(), "list namespaces: connection refused") {
			t.Errorf("the log doesn't say what went wrong: %s", w.log.String())
		}
	})
}

func TestTheFirstAuditWaitsForPoliciesToBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, func(w *watched) { w.ready.Store(false) })
		defer w.end(t)
		if got := w.after(time.Minute); got != 0 {
			t.Errorf("%d audits, want none", got)
		}
		w.ready.Store(true)
		if got := w.after(2 * time.Second); got != 1 {
			t.Errorf("%d audits, want 1", got)
		}
	})
}

func TestAnAuditorThatIsNotReadyCanBeStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, func(w *watched) { w.ready.Store(false) })
		w.after(time.Second)
		w.end(t)
	})
}

func TestWhoIsNoLongerElectedTellsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.after(time.Second)
		if got := w.measured(t, "hssgate_audit_examined_pods"); len(got) != 1 {
			t.Errorf("while it audits: %v", got)
		}
		w.end(t)
		if got := w.measured(t, "hssgate_audit_examined_pods"); got != nil {
			t.Errorf("afterwards: %v", got)
		}
	})
}
