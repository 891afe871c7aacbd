package controller_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/certificate"
	"github.com/hssgate/hssgate/controller"
)

func (s *site) replica(t *testing.T) *controller.Certificates {
	t.Helper()
	issuer, err := certificate.NewIssuer(s.clock, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	return &controller.Certificates{
		Client: s.Client, Secret: secretKey, ConfigurationName: configurationName,
		Issuer: issuer, Propagation: propagation, Clock: s.clock, Log: s.logger(),
	}
}

// follow has the replica see what there is, and returns when it looks again.
func follow(t *testing.T, c *controller.Certificates) time.Duration {
	t.Helper()
	result, err := c.Reconcile(t.Context(), ctrl.Request{NamespacedName: secretKey})
	if err != nil {
		t.Fatal(err)
	}
	return result.RequeueAfter
}

func TestAReplicaIsReadyOnceItsCertificateIsTrusted(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	replica := s.replica(t)
	follow(t, replica)
	if err := replica.Ready(); !errors.Is(err, certificate.ErrNoAuthority) {
		t.Errorf("without a Secret: %v", err)
	}
	s.lead(t)
	s.setBundles(t, nil, nil)
	tooLate := apierrors.NewConflict(schema.GroupResource{Resource: "validatingwebhookconfigurations"}, configurationName, errors.New("too late"))
	s.fails.Patch = func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
		return tooLate
	}
	if wait := follow(t, replica); wait != time.Second {
		t.Errorf("after a conflict it looks again after %s, want 1s", wait)
	}
	if err := replica.Ready(); err == nil || !strings.Contains(err.Error(), `caBundle of ValidatingWebhookConfiguration "hssgate"`) {
		t.Errorf("without trust: %v", err)
	}
	if _, err := replica.Issuer.GetCertificate(nil); err != nil {
		t.Errorf("without trust it has no certificate: %v", err)
	}
	s.fails.Patch = nil
	follow(t, replica)
	if err := replica.Ready(); err != nil {
		t.Error(err)
	}
	if got := s.bundle(t); got != pems(s.roots(t).Current) {
		t.Errorf("trusted:\n%s", got)
	}
	s.setBundles(t, nil, nil)
	if err := replica.Ready(); err != nil {
		t.Errorf("once ready, it stays so: %v", err)
	}
}

func TestAReplicaThatNobodyAsksIsReady(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.lead(t)
	replica := s.replica(t)
	follow(t, replica)
	if err := replica.Ready(); err != nil {
		t.Error(err)
	}
}

func TestAReplicaFollowsARotation(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	s.lead(t)
	replica, late := s.replica(t), s.replica(t)
	follow(t, replica)
	follow(t, late)
	first := s.roots(t).Current
	s.change(t, func(secret *corev1.Secret) { secret.Annotations[controller.AnnotationRotate] = "true" })
	s.lead(t)
	s.lead(t)
	follow(t, replica)
	s.pass(propagation)
	s.lead(t)
	second := s.roots(t).Current
	if second.Equal(first) {
		t.Fatal("the authority isn't another one")
	}
	if follow(t, replica); !replica.Issuer.Root().Equal(second) {
		t.Error("one that has seen the trust spread doesn't serve by the second")
	}
	if wait := follow(t, late); wait != propagation || !late.Issuer.Root().Equal(first) {
		t.Errorf("one that hasn't seen the trust spread serves by %v, and looks again after %s", late.Issuer.Root(), wait)
	}
	s.pass(propagation)
	if follow(t, late); !late.Issuer.Root().Equal(second) {
		t.Error("one that has waited doesn't serve by the second")
	}
}

func TestAReplicaWithAGoodAuthorityKeepsIt(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*corev1.Secret){
		"of a damaged Secret":             func(s *corev1.Secret) { s.Data["ca.key"] = []byte("junk") },
		"of an empty Secret":              func(s *corev1.Secret) { s.Data = nil },
		"of one that nobody trusts (yet)": func(s *corev1.Secret) { s.Data["ca.crt"], s.Data["ca.key"] = s.Data["next.crt"], s.Data["next.key"] },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, webhooks())
			s.lead(t)
			first := s.roots(t).Current
			replica := s.replica(t)
			follow(t, replica)
			s.change(t, func(secret *corev1.Secret) { secret.Annotations[controller.AnnotationRotate] = "true" })
			s.lead(t)
			s.setBundles(t, first.PEM(), first.PEM())
			s.change(t, change)
			follow(t, replica)
			if !replica.Issuer.Root().Equal(first) {
				t.Error("it serves by another one")
			}
			if err := replica.Ready(); err != nil {
				t.Error(err)
			}
			if got := s.bundle(t); !strings.Contains(got, pems(first)) {
				t.Error("it is no longer trusted")
			}
		})
	}
}

func TestAReplicaWithoutAGoodAuthorityTakesWhatThereIs(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	s.lead(t)
	replica := s.replica(t)
	follow(t, replica)
	s.pass(lifetime)
	follow(t, replica)
	s.elect()
	s.lead(t)
	s.setBundles(t, nil, nil)
	follow(t, replica)
	if !replica.Issuer.Root().Equal(s.roots(t).Current) {
		t.Error("it serves by one that has expired")
	}
}

func TestAReplicaKeepsItsAuthorityTrustedWhileTheSecretIsGone(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	s.lead(t)
	replica := s.replica(t)
	follow(t, replica)
	first := s.roots(t).Current
	if err := s.Delete(t.Context(), s.secret(t)); err != nil {
		t.Fatal(err)
	}
	s.setBundles(t, []byte("damaged"), nil)
	follow(t, replica)
	if got := s.bundle(t); got != pems(first) {
		t.Errorf("without the Secret, trusted:\n%s", got)
	}
	// The leader of before is gone, too: another one makes a new authority.
	s.elect()
	s.lead(t)
	s.setBundles(t, nil, nil)
	follow(t, replica)
	if got := s.bundle(t); got != pems(first, s.roots(t).Current) || !replica.Issuer.Root().Equal(first) {
		t.Errorf("with another Secret, trusted:\n%s", got)
	}
}

func TestAReplicaEndsNoTrust(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	s.lead(t)
	stranger, err := certificate.NewRoot(start, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	s.setBundles(t, stranger.PEM(), stranger.PEM())
	s.pass(24 * time.Hour)
	follow(t, s.replica(t))
	if got := s.bundle(t); got != pems(stranger, s.roots(t).Current) {
		t.Errorf("trusted:\n%s", got)
	}
}

func TestAFailureToReadIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.fails.Apply = func(ctx context.Context, _ client.WithWatch, _ runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
		return ctx.Err()
	}
	if _, err := s.authority.Reconcile(ctx, ctrl.Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
