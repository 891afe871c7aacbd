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
	images   atomic.Bool
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
		{Name: "images", Value: func() any { return w.images.Load() }},
		{Name: "policies", Prompt: true, Value: func() any { return w.policies.Load() }},
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
	tests := map[string]struct {
		after    time.Duration
		policies int
		images   bool
		wait     time.Duration
		want     int
	}{
		"a new policy is audited within 15 s of the start":              {after: 5 * time.Second, policies: 1, wait: 12 * time.Second, want: 1},
		"a new policy is audited within 15 s of a scheduled audit":      {after: 10*time.Minute + 5*time.Second, policies: 1, wait: 12 * time.Second, want: 1},
		"policies that are changed together are audited together":       {after: 5 * time.Minute, policies: 2, wait: 30 * time.Second, want: 1},
		"changes without end make a burst of audits":                    {after: 5 * time.Minute, policies: 60, wait: time.Second, want: 3},
		"and from then on no more than one every fifth of the interval": {after: 5 * time.Minute, policies: 3600, wait: time.Second, want: 3 + 29},
		"a changed image waits for a fifth of the interval":             {after: 5 * time.Second, images: true, wait: time.Minute, want: 0},
		"a changed image is audited after a fifth of the interval":      {after: 5 * time.Second, images: true, wait: 2 * time.Minute, want: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := watch(t)
				defer w.end(t)
				w.after(test.after)
				w.images.Store(test.images)
				for range test.policies {
					w.policies.Add(1)
					time.Sleep(time.Second)
				}
				if got := w.after(test.wait); got != test.want {
					t.Errorf("%d audits, want %d", got, test.want)
				}
				if test.policies > 0 && !strings.Contains(w.log.String(), "why=policies") {
					t.Errorf("the log doesn't say why: %s", w.log.String())
				}
			})
		})
	}
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
		if got := w.measured(t, "hssgate_audit_evaluated_pods"); len(got) != 1 {
			t.Errorf("while it audits: %v", got)
		}
		w.end(t)
		if got := w.measured(t, "hssgate_audit_evaluated_pods"); got != nil {
			t.Errorf("afterwards: %v", got)
		}
	})
}
