package controller_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hssgate/hssgate/internal/controller"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const longest = 30 * 24 * time.Hour

// today is the time of creation of the tests' exceptions.
var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// newClient returns the API server of a test. Of funcs, only what a test needs is set.
func newClient(t *testing.T, funcs *interceptor.Funcs, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme, admissionregistrationv1.AddToScheme} {
		must(t, add(scheme))
	}
	b := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.ImageScanPolicy{}, &v1alpha1.ImageScanException{}, &v1alpha1.ClusterImageScanException{})
	if funcs != nil {
		b = b.WithInterceptorFuncs(*funcs)
	}
	return b.Build()
}

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// get reads an object from the API server of a test.
func get[O client.Object](t *testing.T, c client.Reader, namespace, name string, o O) O {
	t.Helper()
	must(t, c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o))
	return o
}

func denying(name string) *v1alpha1.ImageScanPolicy {
	p := &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 3}}
	p.Spec.Enforcement = v1alpha1.EnforcementDeny
	p.Spec.Require.MaliciousFiles = &v1alpha1.CountRequirement{}
	return p
}

func invalid(name string) *v1alpha1.ImageScanPolicy {
	p := denying(name)
	p.Spec.Require.Expressions = []v1alpha1.Expression{{Expression: "image.nonsense"}}
	return p
}

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

func clusterWide(name string, lifetime time.Duration) *v1alpha1.ClusterImageScanException {
	return (*v1alpha1.ClusterImageScanException)(exception("", name, lifetime))
}

type reconciler interface {
	Reconcile(context.Context, ctrl.Request) (ctrl.Result, error)
}

func reconcile(t *testing.T, r reconciler, namespace, name string) ctrl.Result {
	t.Helper()
	result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}})
	must(t, err)
	return result
}

func TestRulesFollowTheCluster(t *testing.T) {
	t.Parallel()
	c := newClient(t, nil, exception("dev", "a", time.Hour))
	r := controller.NewRules(c, longest)
	if err := r.Ready(); !errors.Is(err, controller.ErrNotSynced) {
		t.Errorf("before the first reading: %v, want ErrNotSynced", err)
	}
	p, e := denying("strict"), exception("prod", "a", time.Hour)
	change := func(generation *int64, do func(), o client.Object) func() error {
		return func() error { *generation++; do(); return c.Update(t.Context(), o) }
	}
	nothing := func() error { return nil }
	for _, step := range []struct {
		name       string
		change     func() error
		denies     bool
		exceptions []string
	}{
		{"exceptions of other namespaces are kept apart", nothing, false, nil},
		{"a new policy is in force", func() error { return c.Create(t.Context(), p) }, true, nil},
		{"a milder one takes its place", change(&p.Generation, func() { p.Spec.Enforcement = v1alpha1.EnforcementAudit }, p), false, nil},
		{"an invalid one denies", change(&p.Generation, func() { p.Spec = invalid("").Spec }, p), true, nil},
		{"a deleted one is forgotten", func() error { return c.Delete(t.Context(), p) }, false, nil},
		{"a new exception is in force", func() error { return c.Create(t.Context(), e) }, false, []string{"a for PLAT-217"}},
		{"a second one too", func() error { return c.Create(t.Context(), exception("prod", "b", 2*time.Hour)) }, false, []string{"a for PLAT-217", "b for PLAT-217"}},
		{"a changed one takes its place", change(&e.Generation, func() { e.Spec.Reason = "PLAT-218" }, e), false, []string{"a for PLAT-218", "b for PLAT-217"}},
		{"a deleted one is forgotten too", func() error { return c.Delete(t.Context(), e) }, false, []string{"b for PLAT-217"}},
		{"one for the whole cluster is in force too", func() error { return c.Create(t.Context(), clusterWide("c", time.Hour)) }, false, []string{"b for PLAT-217", "c for PLAT-217"}},
	} {
		policies, exceptions := r.PolicyChanges(), r.ExceptionChanges()
		if err := step.change(); err != nil {
			t.Fatal(step.name, err)
		}
		reconcile(t, r, "", "policies")
		reconcile(t, r, "", "exceptions")
		if got := (&gate.Gate{Policies: r.Policies}).Denies("prod"); got != step.denies {
			t.Errorf("%s: denies = %t, want %t", step.name, got, step.denies)
		}
		var got []string
		for _, e := range r.Exceptions("prod") {
			got = append(got, e.Name()+" for "+e.Reason())
		}
		slices.Sort(got)
		if diff := cmp.Diff(step.exceptions, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		if r.PolicyChanges() == policies || r.ExceptionChanges() == exceptions {
			t.Errorf("%s: no change is counted", step.name)
		}
	}
	if err := r.Ready(); err != nil || len(r.Exceptions("dev")) != 2 || len(r.Exceptions("new")) != 1 {
		t.Errorf("ready: %v; %d exceptions in dev", err, len(r.Exceptions("dev")))
	}
}

func TestRulesThatCannotBeReadStayInForce(t *testing.T) {
	t.Parallel()
	broken, failing := errors.New("cache is closed"), false
	c := newClient(t, &interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if failing {
			return broken
		}
		return c.List(ctx, list, opts...)
	}}, denying("strict"), denying("a"), exception("prod", "a", time.Hour))
	r := controller.NewRules(c, longest)
	reconcile(t, r, "", "policies")
	if err := r.Ready(); !errors.Is(err, controller.ErrNotSynced) {
		t.Errorf("before exceptions are read: %v, want ErrNotSynced", err)
	}
	reconcile(t, r, "", "exceptions")
	failing = true
	for _, name := range []string{"policies", "exceptions"} {
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: name}}); !errors.Is(err, broken) {
			t.Errorf("Reconcile = %v, want %v", err, broken)
		}
	}
	if p := r.Policies(); len(p) != 2 || p[0].Name() != "a" || p[1].Name() != "strict" || len(r.Exceptions("prod")) != 1 {
		t.Errorf("in force are %d policies and %d exceptions", len(p), len(r.Exceptions("prod")))
	}
}

func TestNamespaceLabels(t *testing.T) {
	t.Parallel()
	namespace := func(name, env string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"env": env}}}
	}
	labels := controller.NamespaceLabels(newClient(t, nil, namespace("old", "prod")), newClient(t, nil, namespace("old", "changed"), namespace("new", "dev")))
	// A known namespace comes from the cache, one made a moment ago from the API server.
	for name, want := range map[string]string{"old": "prod", "new": "dev"} {
		if got, err := labels(t.Context(), name); err != nil || got["env"] != want {
			t.Errorf("%s: got %v, %v, want env=%s", name, got, err, want)
		}
	}
	if _, err := labels(t.Context(), "nowhere"); !apierrors.IsNotFound(err) {
		t.Errorf("labels of a namespace that isn't there: %v, want not found", err)
	}
}
