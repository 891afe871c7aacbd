package controller_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	corev1 "k8s.io/api/core/v1"

	"github.com/hssgate/hssgate/controller"
	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func newClient(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.ImageScanPolicy{}).WithInterceptorFuncs(funcs).Build()
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

func reconcile(t *testing.T, r interface {
	Reconcile(context.Context, ctrl.Request) (ctrl.Result, error)
}, name string) error {
	t.Helper()
	_, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Name: name}})
	return err
}

// denies tells what the policies in force do, as the gate sees it.
func denies(p *controller.Policies) bool {
	return (&gate.Gate{Policies: p}).Denies("prod")
}

func TestPoliciesFollowTheCluster(t *testing.T) {
	t.Parallel()
	p := denying("strict")
	c := newClient(t, interceptor.Funcs{})
	policies := controller.NewPolicies(c)
	steps := []struct {
		name   string
		change func() error
		want   bool
	}{
		{"a new policy is in force", func() error { return c.Create(t.Context(), p) }, true},
		{"a milder one takes its place", func() error {
			p.Spec.Enforcement = v1alpha1.EnforcementAudit
			return c.Update(t.Context(), p)
		}, false},
		{"an invalid one still denies", func() error {
			p.Spec = invalid("strict").Spec
			return c.Update(t.Context(), p)
		}, true},
		{"a deleted one is forgotten", func() error { return c.Delete(t.Context(), p) }, false},
	}
	for _, step := range steps {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		if err := reconcile(t, policies, "strict"); err != nil {
			t.Fatal(err)
		}
		if got := denies(policies); got != step.want {
			t.Errorf("%s: denies = %t, want %t", step.name, got, step.want)
		}
	}
}

func TestAPolicyThatCannotBeReadStaysInForce(t *testing.T) {
	t.Parallel()
	broken := errors.New("cache is closed")
	var failing bool
	c := newClient(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if failing {
			return broken
		}
		return c.Get(ctx, key, o, opts...)
	}}, denying("strict"))
	policies := controller.NewPolicies(c)
	if err := reconcile(t, policies, "strict"); err != nil {
		t.Fatal(err)
	}
	failing = true
	if err := reconcile(t, policies, "strict"); !errors.Is(err, broken) {
		t.Errorf("Reconcile = %v, want %v", err, broken)
	}
	if !denies(policies) {
		t.Error("the policy is no longer in force")
	}
}

func TestPoliciesAreNotReadyBeforeTheyWereRead(t *testing.T) {
	t.Parallel()
	if err := controller.NewPolicies(newClient(t, interceptor.Funcs{})).Ready(); !errors.Is(err, controller.ErrNotSynced) {
		t.Errorf("Ready = %v, want ErrNotSynced", err)
	}
}

func TestStatusTellsWhetherAPolicyIsInForce(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		policy *v1alpha1.ImageScanPolicy
		status metav1.ConditionStatus
		reason string
	}{
		"a valid policy is ready":     {denying("p"), metav1.ConditionTrue, controller.ReasonInForce},
		"an invalid policy says what": {invalid("p"), metav1.ConditionFalse, controller.ReasonInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, interceptor.Funcs{}, tt.policy)
			if err := reconcile(t, &controller.Status{Client: c}, "p"); err != nil {
				t.Fatal(err)
			}
			var got v1alpha1.ImageScanPolicy
			if err := c.Get(t.Context(), client.ObjectKey{Name: "p"}, &got); err != nil {
				t.Fatal(err)
			}
			condition := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionReady)
			if condition == nil || condition.Status != tt.status || condition.Reason != tt.reason || condition.ObservedGeneration != 3 || got.Status.ObservedGeneration != 3 {
				t.Errorf("condition = %+v, want %s because %s of generation 3", condition, tt.status, tt.reason)
			}
		})
	}
}

func TestStatusIsWrittenOnlyIfItChanges(t *testing.T) {
	t.Parallel()
	writes := 0
	c := newClient(t, interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
		writes++
		return c.SubResource(sub).Patch(ctx, o, patch, opts...)
	}}, denying("p"))
	status := &controller.Status{Client: c}
	for range 3 {
		if err := reconcile(t, status, "p"); err != nil {
			t.Fatal(err)
		}
	}
	if writes != 1 {
		t.Errorf("the status was written %d times, want once", writes)
	}
	if err := reconcile(t, status, "gone"); err != nil {
		t.Errorf("a policy that is gone is an error: %v", err)
	}
}

func TestNamespaceLabels(t *testing.T) {
	t.Parallel()
	namespace := func(name, env string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"env": env}}}
	}
	cached := newClient(t, interceptor.Funcs{}, namespace("old", "prod"))
	live := newClient(t, interceptor.Funcs{}, namespace("old", "changed"), namespace("new", "dev"))
	tests := map[string]struct {
		name string
		want map[string]string
	}{
		"a known namespace comes from the cache":          {"old", map[string]string{"env": "prod"}},
		"one made a moment ago comes from the API server": {"new", map[string]string{"env": "dev"}},
	}
	namespaces := &controller.Namespaces{Cache: cached, Live: live}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := namespaces.NamespaceLabels(t.Context(), tt.name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := namespaces.NamespaceLabels(t.Context(), "nowhere"); !apierrors.IsNotFound(err) {
		t.Errorf("NamespaceLabels of a namespace that isn't there = %v, want not found", err)
	}
}
