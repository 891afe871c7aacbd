package controller_test

import (
	"context"
	"errors"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/controller"
)

// mutating is the configuration of the webhook that pins, with the same name as
// the other.
func mutating() *admissionregistrationv1.MutatingWebhookConfiguration {
	return &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: configurationName},
		Webhooks:   []admissionregistrationv1.MutatingWebhook{{Name: "pin.hssgate.io"}},
	}
}

func (s *site) mutatingBundle(t *testing.T) string {
	t.Helper()
	configuration := mutating()
	if err := s.Get(t.Context(), client.ObjectKeyFromObject(configuration), configuration); err != nil {
		t.Fatal(err)
	}
	return string(configuration.Webhooks[0].ClientConfig.CABundle)
}

func TestBothConfigurationsHoldTheAuthority(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks(), mutating())
	bundle, root := newBundle(t, s)
	bundle.MutatingConfigurationName = configurationName
	if _, err := bundle.Reconcile(t.Context(), ctrl.Request{}); err != nil {
		t.Fatal(err)
	}
	if got := s.bundle(t) + s.mutatingBundle(t); got != pems(root)+pems(root) {
		t.Errorf("trusted:\n%s", got)
	}
}

func TestAConfigurationThatIsNotNamedIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks(), mutating())
	bundle, _ := newBundle(t, s)
	if _, err := bundle.Reconcile(t.Context(), ctrl.Request{}); err != nil {
		t.Fatal(err)
	}
	if got := s.mutatingBundle(t); got != "" {
		t.Errorf("trusted:\n%s", got)
	}
}

func TestOneConfigurationIsWrittenThoughTheOtherCannotBe(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks(), mutating())
	bundle, root := newBundle(t, s)
	bundle.MutatingConfigurationName = configurationName
	lost := errors.New("lost")
	s.fails.Patch = func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		if _, ok := o.(*admissionregistrationv1.ValidatingWebhookConfiguration); ok {
			return lost
		}
		return c.Patch(ctx, o, p, opts...)
	}
	if _, err := bundle.Reconcile(t.Context(), ctrl.Request{}); !errors.Is(err, lost) {
		t.Errorf("got error %v", err)
	}
	if got := s.mutatingBundle(t); got != pems(root) {
		t.Errorf("trusted:\n%s", got)
	}
	if bundle.Ready() == nil {
		t.Error("it is ready though one configuration doesn't trust it")
	}
}

// An authority takes over only once both configurations vouch for it.
func TestARotationWaitsForBothConfigurations(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks(), mutating())
	s.authority.MutatingConfigurationName = configurationName
	replica := s.replica(t)
	replica.MutatingConfigurationName = configurationName
	s.lead(t)
	follow(t, replica)
	if err := replica.Ready(); err != nil {
		t.Fatal(err)
	}
	first := s.roots(t).Current
	s.change(t, func(secret *corev1.Secret) { secret.Annotations[controller.AnnotationRotate] = "true" })
	s.lead(t)
	s.lead(t)
	next := s.roots(t).Next
	if got := s.mutatingBundle(t); got != pems(first, next) || got != s.bundle(t) {
		t.Errorf("the webhook that pins trusts:\n%s", got)
	}
	s.setMutatingBundle(t, first.PEM())
	refused := errors.New("refused")
	s.fails.Patch = func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
		return refused
	}
	s.pass(propagation)
	if _, err := s.authority.Reconcile(t.Context(), ctrl.Request{}); !errors.Is(err, refused) || !s.roots(t).Current.Equal(first) {
		t.Errorf("it took over though one configuration doesn't trust it: %v", err)
	}
	s.fails.Patch = nil
	s.lead(t)
	s.lead(t)
	s.pass(propagation)
	s.lead(t)
	if got := s.roots(t).Current; !got.Equal(next) {
		t.Errorf("current is %v, want %v", got, next)
	}
}

func (s *site) setMutatingBundle(t *testing.T, bundle []byte) {
	t.Helper()
	configuration := mutating()
	if err := s.Get(t.Context(), client.ObjectKeyFromObject(configuration), configuration); err != nil {
		t.Fatal(err)
	}
	configuration.Webhooks[0].ClientConfig.CABundle = bundle
	if err := s.Update(t.Context(), configuration); err != nil {
		t.Fatal(err)
	}
}

func TestAConfigurationThatIsMissingIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	s.authority.MutatingConfigurationName = configurationName
	replica := s.replica(t)
	replica.MutatingConfigurationName = configurationName
	s.lead(t)
	follow(t, replica)
	if err := replica.Ready(); err != nil {
		t.Error(err)
	}
}
