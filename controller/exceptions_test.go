package controller_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hssgate/hssgate/controller"
	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const longest = 30 * 24 * time.Hour

// today is the time of creation of the tests' exceptions.
var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func exception(namespace, name string, lifetime time.Duration, change ...func(*v1alpha1.ImageScanException)) *v1alpha1.ImageScanException {
	e := &v1alpha1.ImageScanException{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 3, CreationTimestamp: metav1.NewTime(today)},
		Spec: v1alpha1.ImageScanExceptionSpec{
			Images: []string{"**"}, Policies: []string{"strict"}, Reason: "PLAT-217", ExpiresAt: metav1.NewTime(today.Add(lifetime)),
		},
	}
	for _, f := range change {
		f(e)
	}
	return e
}

func exceptionClient(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, authorizationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.ImageScanException{}).WithInterceptorFuncs(funcs).Build()
}

func requestFor(namespace, name string) ctrl.Request {
	return ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

func names(all []*policy.Exception) []string {
	var names []string
	for _, e := range all {
		names = append(names, e.Name()+" for "+e.Reason())
	}
	slices.Sort(names)
	return names
}

func TestExceptionsFollowTheCluster(t *testing.T) {
	t.Parallel()
	c := exceptionClient(t, interceptor.Funcs{}, exception("dev", "a", time.Hour))
	x := controller.NewExceptions(c, longest)
	one := exception("prod", "a", time.Hour)
	steps := []struct {
		name   string
		change func() error
		key    ctrl.Request
		want   []string
	}{
		{"a new one is in force", func() error { return c.Create(t.Context(), one) }, requestFor("prod", "a"), []string{"a for PLAT-217"}},
		{"one of another namespace is kept apart", func() error { return nil }, requestFor("dev", "a"), []string{"a for PLAT-217"}},
		{"a second one is, too", func() error { return c.Create(t.Context(), exception("prod", "b", time.Hour)) }, requestFor("prod", "b"), []string{"a for PLAT-217", "b for PLAT-217"}},
		{"a changed one takes its place", func() error {
			one.Spec.Reason = "PLAT-218"
			return c.Update(t.Context(), one)
		}, requestFor("prod", "a"), []string{"a for PLAT-218", "b for PLAT-217"}},
		{"a deleted one is forgotten", func() error { return c.Delete(t.Context(), one) }, requestFor("prod", "a"), []string{"b for PLAT-217"}},
	}
	for _, step := range steps {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Reconcile(t.Context(), step.key); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, names(x.InNamespace("prod"))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	if got := names(x.InNamespace("dev")); len(got) != 1 {
		t.Errorf("in dev: %q", got)
	}
}

func TestTheStateOfExceptionsDiffersOnceOthersAreInForce(t *testing.T) {
	t.Parallel()
	one := exception("prod", "a", time.Hour)
	c := exceptionClient(t, interceptor.Funcs{}, one)
	x := controller.NewExceptions(c, longest)
	refresh := func() error {
		_, err := x.Reconcile(t.Context(), requestFor("prod", "a"))
		return err
	}
	before, at := x.State(today), today
	for _, step := range []struct {
		name    string
		change  func() error
		differs bool
	}{
		{"it is read for the first time", refresh, true},
		{"it is read again", refresh, false},
		{"time passes", func() error { at = at.Add(time.Minute); return nil }, false},
		{"it changes", func() error {
			one.Generation++
			one.Spec.Reason = "PLAT-218"
			return errors.Join(c.Update(t.Context(), one), refresh())
		}, true},
		{"it ends", func() error { at = today.Add(time.Hour); return nil }, true},
		{"it is deleted", func() error { return errors.Join(c.Delete(t.Context(), one), refresh()) }, true},
		{"it is still gone", refresh, false},
	} {
		if err := step.change(); err != nil {
			t.Fatal(step.name, err)
		}
		after := x.State(at)
		if (after != before) != step.differs {
			t.Errorf("%s: %v, then %v", step.name, before, after)
		}
		before = after
	}
}

func TestAnExceptionThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	broken := errors.New("cache is closed")
	c := exceptionClient(t, interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return broken
	}})
	x := controller.NewExceptions(c, longest)
	if _, err := x.Reconcile(t.Context(), requestFor("prod", "a")); !errors.Is(err, broken) {
		t.Errorf("Reconcile = %v, want %v", err, broken)
	}
	if err := x.Ready(); !errors.Is(err, controller.ErrExceptionsNotSynced) {
		t.Errorf("Ready = %v, want ErrExceptionsNotSynced", err)
	}
}

// statusAt writes the status at a time after the exception's creation.
func statusAt(t *testing.T, c client.Client, recorder events.EventRecorder, after time.Duration) (*v1alpha1.ImageScanException, time.Duration) {
	t.Helper()
	s := &controller.ExceptionStatus{Client: c, Events: recorder, Clock: clocktesting.NewFakePassiveClock(today.Add(after)), MaxLifetime: longest}
	result, err := s.Reconcile(t.Context(), requestFor("prod", "a"))
	if err != nil {
		t.Fatal(err)
	}
	var e v1alpha1.ImageScanException
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "prod", Name: "a"}, &e); err != nil {
		t.Fatal(err)
	}
	return &e, result.RequeueAfter
}

func TestExceptionStatusTellsWhatItDoes(t *testing.T) {
	t.Parallel()
	invalid := func(e *v1alpha1.ImageScanException) { e.Spec.Images = []string{"nonsense"} }
	tests := map[string]struct {
		exception *v1alpha1.ImageScanException
		after     time.Duration
		reason    string
		expiring  bool
		again     time.Duration
		message   string
	}{
		"an active one":                 {exception("prod", "a", 10*24*time.Hour), time.Hour, "Active", false, time.Hour, "it ends at 2026-12-03T12:00:00Z"},
		"one that ends tomorrow":        {exception("prod", "a", 10*24*time.Hour), 9 * 24 * time.Hour, "Active", true, time.Hour, "it ends at 2026-12-03T12:00:00Z"},
		"a short one before its end":    {exception("prod", "a", 40*time.Minute), 30 * time.Minute, "Active", true, 10 * time.Minute, "it ends at 2026-11-23T12:40:00Z"},
		"a short one at its beginning":  {exception("prod", "a", 40*time.Minute), 0, "Active", false, 30 * time.Minute, "it ends at 2026-11-23T12:40:00Z"},
		"one that has ended":            {exception("prod", "a", time.Hour), time.Hour, "Expired", false, 0, "it ended at 2026-11-23T13:00:00Z"},
		"one that is too long":          {exception("prod", "a", 2*longest), time.Hour, "Active", false, time.Hour, "it ends at 2026-12-23T12:00:00Z, 720h0m0s after its creation, which is the longest that the configuration grants"},
		"one that is invalid":           {exception("prod", "a", time.Hour, invalid), time.Hour, "Invalid", false, 0, "it lets nothing past: "},
		"one that is too long and over": {exception("prod", "a", 2*longest), longest, "Expired", false, 0, "it ended at 2026-12-23T12:00:00Z, 720h0m0s after its creation"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, again := statusAt(t, exceptionClient(t, interceptor.Funcs{}, tt.exception), events.NewFakeRecorder(1), tt.after)
			ready := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionReady)
			if ready == nil || ready.Reason != tt.reason || (ready.Status == metav1.ConditionTrue) != (tt.reason == "Active") || !strings.HasPrefix(ready.Message, tt.message) || ready.ObservedGeneration != 3 {
				t.Errorf("Ready = %+v, want %s because %s", ready, tt.reason, tt.message)
			}
			if got := meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionExpiring); got != tt.expiring || again != tt.again {
				t.Errorf("Expiring = %t and again after %s, want %t and %s", got, again, tt.expiring, tt.again)
			}
		})
	}
}

func TestTheEndOfAnExceptionIsWarnedOfOnce(t *testing.T) {
	t.Parallel()
	c := exceptionClient(t, interceptor.Funcs{}, exception("prod", "a", 10*24*time.Hour))
	recorder := events.NewFakeRecorder(10)
	for _, after := range []time.Duration{0, 8 * 24 * time.Hour, 9*24*time.Hour + time.Second, 9*24*time.Hour + time.Hour, 11 * 24 * time.Hour} {
		statusAt(t, c, recorder, after)
	}
	close(recorder.Events)
	var got []string
	for event := range recorder.Events {
		got = append(got, event)
	}
	want := []string{"Warning ExceptionExpiring ends at 2026-12-03T12:00:00Z: what it lets past strict (0 times up to now) will be judged again when pods start"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// counting runs a count of uses, in a bubble of synctest, and counts its writes.
type counting struct {
	*controller.ExceptionUses
	client client.Client
	writes atomic.Int32
	// fails says that every write fails.
	fails atomic.Bool
	stop  func()
}

func newCounting(t *testing.T) *counting {
	t.Helper()
	u := &counting{}
	u.client = exceptionClient(t, interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
		u.writes.Add(1)
		if u.fails.Load() {
			return errors.New("connection refused")
		}
		return c.SubResource(sub).Patch(ctx, o, patch, opts...)
	}}, exception("prod", "a", time.Hour))
	u.ExceptionUses = controller.NewExceptionUses(u.client, u.client, clock.RealClock{}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	u.stop = func() { cancel(); synctest.Wait() }
	go func() {
		if err := u.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return u
}

func (u *counting) use(t *testing.T, name string) {
	t.Helper()
	e, err := policy.CompileException(exception("prod", name, time.Hour), longest)
	if err != nil {
		t.Fatal(err)
	}
	u.Excepted(gate.ExceptionUse{Exception: e, Policy: "strict"})
}

// check waits until nothing more happens by itself, and checks what was written.
func (u *counting) check(t *testing.T, when string, uses int64, writes int32) {
	t.Helper()
	synctest.Wait()
	var e v1alpha1.ImageScanException
	if err := u.client.Get(t.Context(), client.ObjectKey{Namespace: "prod", Name: "a"}, &e); err != nil {
		t.Fatal(err)
	}
	if e.Status.Uses != uses || u.writes.Load() != writes {
		t.Errorf("%s: %d uses in %d writes, want %d in %d", when, e.Status.Uses, u.writes.Load(), uses, writes)
	}
}

func TestUsesAreWrittenAtMostOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := newCounting(t)
		u.use(t, "a")
		u.check(t, "at once", 1, 1)
		for range 1000 {
			u.use(t, "a")
		}
		u.use(t, "deleted")
		u.check(t, "within the minute", 1, 1)
		time.Sleep(time.Minute)
		u.check(t, "after a minute", 1001, 2)
		u.use(t, "a")
		u.check(t, "within the next", 1001, 2)
		u.stop()
		u.check(t, "at the end", 1002, 3)
	})
}

func TestUsesThatAreNotWrittenWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := newCounting(t)
		u.fails.Store(true)
		u.use(t, "a")
		u.check(t, "at once", 0, 1)
		u.fails.Store(false)
		time.Sleep(time.Minute)
		u.check(t, "after a minute", 1, 2)
		u.stop()
	})
}
