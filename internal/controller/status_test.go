package controller_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/controller"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestTheStatusOfAPolicy(t *testing.T) {
	t.Parallel()
	withGrace := denying("p")
	withGrace.Spec.Grace = &v1alpha1.Grace{Period: metav1.Duration{Duration: time.Hour}}
	ignoring := func(ids ...string) *v1alpha1.ImageScanPolicy { // the first one ended, the others end a day and two days later
		p := denying("p")
		for n, id := range ids {
			p.Spec.Require.IgnoreVulnerabilities = append(p.Spec.Require.IgnoreVulnerabilities, v1alpha1.IgnoredVulnerability{
				ID: id, Reason: "not reachable", ExpiresAt: metav1.NewTime(today.Add(time.Duration(n) * 24 * time.Hour)),
			})
		}
		return p
	}
	unclaimed := denying("p")
	unclaimed.Spec.Match.Images = []string{"nobody.example.com/**"}
	long := invalid("p")
	for n := range 40 {
		long.Spec.Require.Expressions = append(long.Spec.Require.Expressions, v1alpha1.Expression{Expression: strings.Repeat("长", 300+n)})
	}
	for name, tt := range map[string]struct {
		policy   *v1alpha1.ImageScanPolicy
		interval time.Duration
		want     string
	}{
		"a valid policy is ready":               {denying("p"), 0, "Ready True Active"},
		"an invalid policy names the problem":   {invalid("p"), 0, "Ready False Invalid: what is invalid counts as violated or as matching: "},
		"a long message ends with a character":  {long, 0, "Ready False Invalid: "},
		"a grace that images can have":          {withGrace, time.Minute, "Grace True Given: an image that ran and passed is admitted for 1h0m0s"},
		"a grace that ends before the audit":    {withGrace, time.Hour, "Grace False ShorterThanAudits: the period of 1h0m0s can end before the next audit"},
		"a grace without audits":                {withGrace, 0, "Grace False AuditDisabled"},
		"images of a host that no one claims":   {unclaimed, 0, "Effective False HostUnclaimed: no registry of the configuration claims nobody.example.com"},
		"vulnerabilities that count again":      {ignoring("CVE-2024-1", "CVE-2024-2", "CVE-2024-3"), 0, "Expiring True IgnoredVulnerabilities: CVE-2024-1 counts again since 2026-11-23T12:00:00Z; CVE-2024-2 is ignored until 2026-11-24T12:00:00Z"},
		"no vulnerability that is ignored":      {ignoring(), 0, "Expiring"},
		"the condition Effective is only False": {denying("p"), 0, "Effective"},
	} {
		c := newClient(t, nil, tt.policy)
		writeStatus(t, &controller.Status{Client: c, AuditInterval: tt.interval, RegistryHosts: []string{"swr.example.com"}, Clock: clocktesting.NewFakePassiveClock(today)})
		got := get(t, c, "", "p", &v1alpha1.ImageScanPolicy{})
		kind, _, present := strings.Cut(tt.want, " ")
		condition := meta.FindStatusCondition(got.Status.Conditions, kind)
		switch {
		case !present && condition == nil:
		case condition == nil || !strings.HasPrefix(kind+" "+string(condition.Status)+" "+condition.Reason+": "+condition.Message, tt.want):
			t.Errorf("%s: got %+v, want %s", name, condition, tt.want)
		case strings.ContainsRune(condition.Message, utf8.RuneError):
			t.Errorf("%s: a character is cut: %.20q", name, condition.Message[len(condition.Message)-20:])
		case condition.ObservedGeneration != 3 || got.Status.ObservedGeneration != 3:
			t.Errorf("%s: of generation %d, %d", name, condition.ObservedGeneration, got.Status.ObservedGeneration)
		}
	}
}

// The rules may be older than what the status is written into.
func TestTheStatusIsOfThePolicyAsItIsStored(t *testing.T) {
	t.Parallel()
	p := denying("p")
	c := newClient(t, nil, p, invalid("q"))
	rules := controller.NewRules(c, longest)
	reconcile(t, rules, "", "policies")
	p.Generation, p.Spec = 4, invalid("").Spec
	must(t, c.Update(t.Context(), p))
	writeStatus(t, &controller.Status{Client: c, Rules: rules})
	inForce := rules.Policies()
	for _, name := range []string{"p", "q"} {
		got := get(t, c, "", name, &v1alpha1.ImageScanPolicy{})
		if ready := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionReady); ready.Reason != "Invalid" || ready.ObservedGeneration != got.Generation {
			t.Errorf("%s: got %+v, want Invalid of generation %d", name, ready, got.Generation)
		}
	}
	reconcile(t, rules, "", "policies")
	if now := rules.Policies(); now[0] == inForce[0] || now[1] != inForce[1] {
		t.Error("a change of p must compile p, and not q")
	}
}

func writeStatus(t *testing.T, s *controller.Status) {
	t.Helper()
	if s.HSS == nil {
		s.HSS = controller.NewHSS(nil, nil)
	}
	if s.Rules == nil {
		s.Rules = controller.NewRules(s.Client, longest)
	}
	must(t, s.Write(t.Context()))
}

// newStatusClient counts the writes of status, and refuses them while they are to fail.
func newStatusClient(t *testing.T, writes *atomic.Int32, fails *atomic.Bool, objects ...client.Object) client.WithWatch {
	t.Helper()
	return newClient(t, &interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
		writes.Add(1)
		if fails.Load() {
			return errors.New("connection refused")
		}
		return c.SubResource(sub).Patch(ctx, o, patch, opts...)
	}}, objects...)
}

// Status follows the rules, and repeats what cannot be written. It writes nothing again.
func TestStatusIsWrittenWhenItChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var writes atomic.Int32
		var fails atomic.Bool
		c := newStatusClient(t, &writes, &fails, denying("p"))
		var log bytes.Buffer
		rules := controller.NewRules(c, longest)
		s := &controller.Status{Client: c, Rules: rules, HSS: controller.NewHSS(nil, nil), Clock: clock.RealClock{}, Events: events.NewFakeRecorder(1), Log: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, stop := context.WithCancel(t.Context())
		go func() { _ = s.Start(ctx) }()
		after := func(d time.Duration, want int32) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := writes.Load(); got != want {
				t.Errorf("%d writes, want %d", got, want)
			}
		}
		after(time.Minute, 0)
		reconcile(t, rules, "", "policies")
		reconcile(t, rules, "", "exceptions")
		after(2*time.Second, 1)
		after(time.Minute, 1)
		must(t, c.Create(ctx, exception("prod", "a", 0)))
		fails.Store(true)
		reconcile(t, rules, "", "exceptions")
		after(2*time.Second, 2)
		fails.Store(false)
		after(time.Minute, 3)
		stop()
		synctest.Wait()
		if got := strings.Count(log.String(), "connection refused"); got != 1 {
			t.Errorf("the failure is logged %d times: %s", got, log.String())
		}
	})
}

// statusAt writes the status at a time after the exception's creation.
func statusAt(t *testing.T, c client.Client, recorder events.EventRecorder, after time.Duration) *v1alpha1.ImageScanException {
	t.Helper()
	writeStatus(t, &controller.Status{
		Client: c, Events: recorder, Clock: clocktesting.NewFakePassiveClock(today.Add(after)), Rules: controller.NewRules(c, longest),
	})
	return get(t, c, "prod", "a", &v1alpha1.ImageScanException{})
}

func TestTheStatusOfAnException(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	wrong := func(e *v1alpha1.ImageScanException) { e.Spec.Images = []string{"nonsense"} }
	for name, tt := range map[string]struct {
		exception *v1alpha1.ImageScanException
		after     time.Duration
		reason    string
		expiring  bool
		message   string
	}{
		"an active one":                {exception("prod", "a", 10*day), time.Hour, "Active", false, "it ends at 2026-12-03T12:00:00Z"},
		"one that ends tomorrow":       {exception("prod", "a", 10*day), 9 * day, "Active", true, "it ends at 2026-12-03T12:00:00Z"},
		"a short one before its end":   {exception("prod", "a", 40*time.Minute), 30 * time.Minute, "Active", true, "it ends at 2026-11-23T12:40:00Z"},
		"a short one at its beginning": {exception("prod", "a", 40*time.Minute), 0, "Active", false, "it ends at 2026-11-23T12:40:00Z"},
		"one that has ended":           {exception("prod", "a", time.Hour), time.Hour, "Expired", false, "it ended at 2026-11-23T13:00:00Z"},
		"one that is too long":         {exception("prod", "a", 2*longest), time.Hour, "Active", false, "it ends at 2026-12-23T12:00:00Z, the latest time that the configuration allows (maxExceptionLifetime)"},
		"a too long one that is over":  {exception("prod", "a", 2*longest), longest, "Expired", false, "it ended at 2026-12-23T12:00:00Z, the latest time"},
		"one that is invalid":          {exception("prod", "a", time.Hour, wrong), time.Hour, "Invalid", false, "it allows nothing: "},
	} {
		e := statusAt(t, newClient(t, nil, tt.exception), events.NewFakeRecorder(1), tt.after)
		ready := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Reason != tt.reason || (ready.Status == metav1.ConditionTrue) != (tt.reason == "Active") || !strings.HasPrefix(ready.Message, tt.message) || ready.ObservedGeneration != 3 {
			t.Errorf("%s: Ready = %+v, want %s because %s", name, ready, tt.reason, tt.message)
		}
		if got := meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionExpiring); got != tt.expiring {
			t.Errorf("%s: Expiring = %t, want %t", name, got, tt.expiring)
		}
	}
}

func TestTheEndOfAnExceptionIsWarnedOfOnce(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	c, recorder := newClient(t, nil, exception("prod", "a", 10*day)), events.NewFakeRecorder(10)
	for _, after := range []time.Duration{0, 8 * day, 9*day + time.Second, 9*day + time.Hour, 11 * day} {
		statusAt(t, c, recorder, after)
	}
	statusAt(t, newClient(t, nil, exception("prod", "a", 10*day, func(e *v1alpha1.ImageScanException) {
		for n := range 63 {
			e.Spec.Policies = append(e.Spec.Policies, fmt.Sprintf("%063d", n))
		}
	})), recorder, 9*day+time.Second)
	close(recorder.Events)
	var got []string
	for event := range recorder.Events {
		got = append(got, event)
	}
	if long := got[len(got)-1]; len(long) > 1024 || !strings.Contains(long, ", and 54 more again when") {
		t.Errorf("an Event of 64 policies has %d bytes: %s", len(long), long)
	}
	got = got[:len(got)-1]
	want := []string{"Warning ExceptionExpiring ends at 2026-12-03T12:00:00Z: then its images are evaluated by policy strict again when pods start (used 0 times up to now)"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestTheStatusOfAnExceptionForTheWholeCluster(t *testing.T) {
	t.Parallel()
	c, recorder := newClient(t, nil, clusterWide("a", time.Hour), exception("prod", "a", time.Hour)), events.NewFakeRecorder(2)
	u := &controller.ExceptionUses{Live: c, Client: c, Log: slog.New(slog.DiscardHandler)}
	compiled, problems := policy.CompileException(clusterWide("a", time.Hour).Exception(), longest)
	must(t, problems.ToAggregate())
	u.Excepted(gate.ExceptionUse{Exception: compiled, Policy: "strict"})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, u.Start(ended))
	namespaced := statusAt(t, c, recorder, 50*time.Minute)
	got := get(t, c, "", "a", &v1alpha1.ClusterImageScanException{})
	if got.Status.Uses != 1 || namespaced.Status.Uses != 0 || got.Status.ActiveUntil == nil || !meta.IsStatusConditionTrue(got.Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("got status %+v, and in the namespace %+v", got.Status, namespaced.Status)
	}
	if ready, other := got.Status.Conditions, namespaced.Status.Conditions; !cmp.Equal(ready, other) {
		t.Errorf("conditions differ: %s", cmp.Diff(ready, other))
	}
	if len(recorder.Events) != 2 {
		t.Errorf("got %d Events, want one for each", len(recorder.Events))
	}
}

func TestTheConditionFollowsHSS(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answers := inventory.ProjectCheck{Project: "bj4"}
		fails := inventory.ProjectCheck{
			Project: "bj4", Err: &hss.Error{StatusCode: 503, RequestID: "r1"}, Fault: policy.CauseOutage, Cause: "HSS answered 503 (request r1)",
		}
		var result atomic.Pointer[inventory.ProjectCheck]
		result.Store(&answers)
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		reach := controller.NewHSS(func(context.Context) []inventory.ProjectCheck {
			return []inventory.ProjectCheck{*result.Load(), *result.Load()}
		}, logger)
		c := newClient(t, nil, denying("p"))
		status := &controller.Status{Client: c, HSS: reach}
		written := func() string {
			writeStatus(t, status)
			p := get(t, c, "", "p", &v1alpha1.ImageScanPolicy{})
			got := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionHSSReachable)
			return string(got.Status) + " " + got.Reason + ": " + got.Message
		}
		got := []string{written()}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = reach.Start(ctx) }()
		synctest.Wait()
		got = append(got, written())
		result.Store(&fails)
		time.Sleep(31 * time.Second)
		got = append(got, written())
		cancel()
		synctest.Wait()
		// Another leader has not checked HSS yet.
		status.HSS = controller.NewHSS(nil, logger)
		got = append(got, written())
		want := []string{
			string(metav1.ConditionUnknown) + " NotChecked: HSS has not been called yet", "True Answers: HSS answers for project bj4, bj4",
			"False Unavailable: project bj4: HSS answered 503 (2 of 2 projects fail)", "False Unavailable: project bj4: HSS answered 503 (2 of 2 projects fail)",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for _, want := range []string{"level=INFO msg=\"HSS answers\"", "level=WARN msg=\"HSS cannot be used\" reason=Unavailable"} {
			if strings.Count(log.String(), want) != 1 {
				t.Errorf("the log must have once %s:\n%s", want, log.String())
			}
		}
	})
}

func TestUsesAreWrittenTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var writes atomic.Int32
		var fails atomic.Bool
		c := newStatusClient(t, &writes, &fails, exception("prod", "a", time.Hour))
		u := &controller.ExceptionUses{Live: c, Client: c, Log: slog.New(slog.DiscardHandler)}
		ctx, stop := context.WithCancel(t.Context())
		go func() { _ = u.Start(ctx) }()
		use := func(name string, n int) {
			e, err := policy.CompileException(exception("prod", name, time.Hour), longest)
			must(t, err.ToAggregate())
			for range n {
				u.Excepted(gate.ExceptionUse{Exception: e, Policy: "strict"})
			}
		}
		check := func(when string, wantUses int64, wantWrites int32) {
			synctest.Wait()
			e := get(t, c, "prod", "a", &v1alpha1.ImageScanException{})
			if e.Status.Uses != wantUses || writes.Load() != wantWrites {
				t.Errorf("%s: %d uses in %d writes, want %d in %d", when, e.Status.Uses, writes.Load(), wantUses, wantWrites)
			}
		}
		time.Sleep(time.Second)
		use("a", 1001)
		use("deleted", 1)
		check("within the interval", 0, 0)
		time.Sleep(20 * time.Second)
		check("after it", 1001, 1)
		use("a", 1)
		fails.Store(true)
		time.Sleep(20 * time.Second)
		check("while writes fail", 1001, 2)
		fails.Store(false)
		time.Sleep(20 * time.Second)
		check("once they succeed", 1002, 3)
		use("a", 1)
		stop()
		check("at the end", 1003, 4)
	})
}
