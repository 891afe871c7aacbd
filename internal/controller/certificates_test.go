package controller_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hssgate/hssgate/internal/certificate"
	"github.com/hssgate/hssgate/internal/controller"
)

var (
	start     = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	secretKey = client.ObjectKey{Namespace: "hssgate-system", Name: "hssgate-ca"}
)

// site is a cluster with a clock and a log.
type site struct {
	client.Client
	clock *clocktesting.FakePassiveClock
	log   bytes.Buffer
	patch func(client.Object) error // of the webhook configurations
}

func newSite(t *testing.T, objects ...client.Object) *site {
	t.Helper()
	s := &site{clock: clocktesting.NewFakePassiveClock(start)}
	s.Client = newClient(t, &interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if s.patch != nil {
				if err := s.patch(o); err != nil {
					return err
				}
			}
			return c.Patch(ctx, o, p, opts...)
		},
	}, objects...)
	return s
}

func (s *site) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&s.log, nil)) }

func (s *site) pass(d time.Duration) { s.clock.SetTime(s.clock.Now().Add(d)) }

// replica is what runs in each.
type replica struct{ *controller.Certificates }

func (s *site) replica() *replica {
	return s.replicaOf(secretKey, certificate.NewIssuer(s.clock, "localhost"))
}

func (s *site) replicaOf(secret client.ObjectKey, issuer *certificate.Issuer) *replica {
	return &replica{&controller.Certificates{
		Client: s.Client, Secret: secret, Configurations: []client.Object{webhooks(), mutating()}, Issuer: issuer, Clock: s.clock, Log: s.logger(),
	}}
}

// follow has the replica do what is due, and returns when it looks again.
func (r *replica) follow(t *testing.T) time.Duration {
	t.Helper()
	return reconcile(t, r.Certificates, "", "").RequeueAfter
}

// settled is a cluster in which a replica serves.
func settled(t *testing.T) (*site, *replica) {
	t.Helper()
	s := newSite(t, webhooks(), mutating(), caSecret(nil))
	r := s.replica()
	r.follow(t)
	must(t, r.Ready())
	return s, r
}

func (s *site) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	return get(t, s, secretKey.Namespace, secretKey.Name, &corev1.Secret{})
}

func (s *site) ca(t *testing.T) *certificate.CA {
	t.Helper()
	data := s.secret(t).Data
	ca, err := certificate.ParseCA(data["ca.crt"], data["ca.key"])
	must(t, err)
	return ca
}

func (s *site) change(t *testing.T, change func(data map[string][]byte)) {
	t.Helper()
	secret := s.secret(t)
	change(secret.Data)
	must(t, s.Update(t.Context(), secret))
}

// moveCA is the first command of a rotation, removeOld the second.
func moveCA(data map[string][]byte) {
	data["old.crt"], data["old.key"] = data["ca.crt"], data["ca.key"]
	delete(data, "ca.crt")
	delete(data, "ca.key")
}

func removeOld(data map[string][]byte) {
	delete(data, "old.crt")
	delete(data, "old.key")
}

// bundles returns the webhook configurations, and their caBundles.
func (s *site) bundles(t *testing.T) ([]client.Object, []*[]byte) {
	t.Helper()
	v, m := get(t, s, "", "hssgate", webhooks()), get(t, s, "", "hssgate", mutating())
	return []client.Object{v, m}, []*[]byte{&v.Webhooks[0].ClientConfig.CABundle, &v.Webhooks[1].ClientConfig.CABundle, &m.Webhooks[0].ClientConfig.CABundle}
}

// wantTrusted checks that every webhook trusts just these CAs.
func (s *site) wantTrusted(t *testing.T, when string, cas ...*certificate.CA) {
	t.Helper()
	var want []byte
	for _, ca := range cas {
		want = append(want, ca.PEM()...)
	}
	_, bundles := s.bundles(t)
	for n, got := range bundles {
		if !bytes.Equal(*got, want) {
			t.Errorf("%s: webhook %d trusts %s, want %s", when, n, *got, want)
		}
	}
}

func (s *site) setBundles(t *testing.T, bundle []byte) {
	t.Helper()
	configurations, bundles := s.bundles(t)
	for _, b := range bundles {
		*b = bundle
	}
	for _, c := range configurations {
		must(t, s.Update(t.Context(), c))
	}
}

func webhooks() *admissionregistrationv1.ValidatingWebhookConfiguration {
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "hssgate"}, Webhooks: []admissionregistrationv1.ValidatingWebhook{{Name: "pods.hssgate.io"}, {Name: "policies.hssgate.io"}},
	}
}

func mutating() *admissionregistrationv1.MutatingWebhookConfiguration {
	return &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "hssgate"}, Webhooks: []admissionregistrationv1.MutatingWebhook{{Name: "pin.hssgate.io"}},
	}
}

// caSecret returns the Secret, with some data.
func caSecret(data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secretKey.Namespace, Name: secretKey.Name}, Data: data}
}

func TestTheFirstCA(t *testing.T) {
	t.Parallel()
	for name, objects := range map[string][]client.Object{
		"without a Secret": {webhooks(), mutating()},
		"in a Secret":      {webhooks(), mutating(), caSecret(map[string][]byte{"other": []byte("stays")})},
	} {
		s := newSite(t, objects...)
		r := s.replica()
		if err := r.Ready(); !errors.Is(err, certificate.ErrNoCA) {
			t.Errorf("%s: before there is one: %v", name, err)
		}
		r.follow(t)
		before := s.secret(t)
		s.wantTrusted(t, name, s.ca(t))
		r.follow(t)
		if err := r.Ready(); err != nil || s.secret(t).ResourceVersion != before.ResourceVersion {
			t.Errorf("%s: ready: %v; the Secret is written again: %t", name, err, s.secret(t).ResourceVersion != before.ResourceVersion)
		}
		if len(objects) == 3 && string(s.secret(t).Data["other"]) != "stays" {
			t.Errorf("%s: the Secret has lost other data", name)
		}
	}
}

func TestARotationByTwoCommands(t *testing.T) {
	t.Parallel()
	s, one := settled(t)
	other, late := s.replica(), s.replica()
	other.follow(t)
	first := s.ca(t)
	s.pass(time.Second)
	s.change(t, moveCA)
	for name, r := range map[string]*replica{"one": one, "other": other, "late": late} {
		if wait := r.follow(t); wait != 10*time.Second || !r.Issuer.CA().Equal(first) {
			t.Errorf("%s looks again after %s, and serves by the old CA: %t", name, wait, r.Issuer.CA().Equal(first))
		}
	}
	second := s.ca(t)
	s.wantTrusted(t, "after the first command", first, second)
	s.change(t, removeOld)
	if wait := other.follow(t); wait != 10*time.Second || !other.Issuer.CA().Equal(first) {
		t.Errorf("it serves by %v at once, and looks again after %s", other.Issuer.CA(), wait)
	}
	s.wantTrusted(t, "right after the second command", first, second)
	s.pass(10 * time.Second)
	if wait := other.follow(t); wait != 10*time.Minute-10*time.Second || !other.Issuer.CA().Equal(second) {
		t.Errorf("it serves by %v, and looks again after %s", other.Issuer.CA(), wait)
	}
	s.wantTrusted(t, "when it serves by the new CA", first, second)
	s.pass(10 * time.Minute)
	other.follow(t)
	s.wantTrusted(t, "later", second)
	if strings.Contains(s.log.String(), "PRIVATE KEY") {
		t.Error("the log holds a key")
	}
}

func TestTheSecretIsRepaired(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(data map[string][]byte){
		"emptied":     func(data map[string][]byte) { clear(data) },
		"without key": func(data map[string][]byte) { delete(data, "ca.key") },
		"junk":        func(data map[string][]byte) { data["ca.crt"] = []byte("junk") },
	} {
		s, one := settled(t)
		first := s.ca(t)
		s.change(t, damage)
		if one.follow(t); !one.Issuer.CA().Equal(first) || !s.ca(t).Equal(first) {
			t.Errorf("%s: the CA in use is not put back", name)
		}
		s.wantTrusted(t, name, first)
		// A replica that has never read it makes a new one.
		s.change(t, damage)
		s.replica().follow(t)
		s.wantTrusted(t, name+", by another replica", first, s.ca(t))
	}
}

func TestADeletedSecretIsPutBackLater(t *testing.T) {
	t.Parallel()
	s, one := settled(t)
	first := s.ca(t)
	must(t, s.Delete(t.Context(), s.secret(t)))
	s.setBundles(t, []byte("damaged"))
	if wait := one.follow(t); wait != 10*time.Second {
		t.Errorf("it looks again after %s", wait)
	}
	s.wantTrusted(t, "while the Secret is gone", first)
	if err := s.Get(t.Context(), secretKey, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Secret is back at once: %v", err)
	}
	s.pass(10 * time.Second)
	one.follow(t)
	if !s.ca(t).Equal(first) {
		t.Error("another CA came back")
	}
}

func TestAReplacedOrExpiredCA(t *testing.T) {
	t.Parallel()
	s, r := settled(t)
	theirs, err := certificate.NewCA(start.Add(time.Hour))
	must(t, err)
	key, _ := theirs.KeyPEM()
	s.pass(2 * time.Hour)
	s.change(t, func(data map[string][]byte) { data["ca.crt"], data["ca.key"] = theirs.PEM(), key })
	first := r.Issuer.CA()
	if wait := r.follow(t); wait != 10*time.Second || !r.Issuer.CA().Equal(first) {
		t.Errorf("it serves at once by a CA that webhooks trust since a moment ago, or looks again after %s", wait)
	}
	s.wantTrusted(t, "at once", first, theirs)
	s.pass(10 * time.Second)
	if r.follow(t); !r.Issuer.CA().Equal(theirs) {
		t.Error("it doesn't serve by the CA that replaced its own")
	}
	s.pass(10 * 365 * 24 * time.Hour)
	if r.follow(t); !r.Issuer.CA().Equal(s.ca(t)) || s.ca(t).Equal(theirs) {
		t.Error("it serves by an expired CA")
	}
	s.wantTrusted(t, "after the end", s.ca(t))
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	s, one := settled(t)
	s.patch = func(client.Object) error { return errors.New("forbidden") }
	s.setBundles(t, nil)
	if err := one.Ready(); err != nil {
		t.Errorf("once ready, it stays so: %v", err)
	}
	r := s.replica()
	if _, err := r.Reconcile(t.Context(), ctrl.Request{}); err == nil || r.Ready() == nil {
		t.Errorf("without trust: %v, ready: %v", err, r.Ready())
	}
	s.patch = nil
	r.follow(t)
	must(t, r.Ready())
	alone := newSite(t)
	r = alone.replica()
	r.follow(t)
	must(t, r.Ready())
}

func TestFailedWrites(t *testing.T) {
	t.Parallel()
	s, r := settled(t)
	s.setBundles(t, nil)
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "validatingwebhookconfigurations"}, "hssgate", errors.New("too late"))
	lost := errors.New("lost")
	s.patch = func(client.Object) error { return conflict }
	if wait := r.follow(t); wait != time.Second {
		t.Errorf("after a conflict it tries again after %s", wait)
	}
	s.patch = func(o client.Object) error {
		if _, ok := o.(*admissionregistrationv1.ValidatingWebhookConfiguration); ok {
			return lost
		}
		return nil
	}
	if _, err := r.Reconcile(t.Context(), ctrl.Request{}); !errors.Is(err, lost) {
		t.Errorf("got error %v", err)
	}
	if _, bundles := s.bundles(t); !bytes.Equal(*bundles[2], s.ca(t).PEM()) {
		t.Error("the other configuration isn't written")
	}
}

func TestReplicasWithCAsOfTheirOwnShareACaBundle(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks(), mutating())
	var cas []*certificate.CA
	for range 2 {
		issuer, err := certificate.NewSelfSigned(s.clock, "localhost")
		must(t, err)
		r := s.replicaOf(client.ObjectKey{}, issuer)
		if r.Ready() == nil {
			t.Error("ready before its CA is trusted")
		}
		r.follow(t)
		must(t, r.Ready())
		cas = append(cas, issuer.CA())
		s.patch = func(client.Object) error { return errors.New("written again") }
		r.follow(t)
		s.patch = nil
	}
	s.wantTrusted(t, "both", cas...)
}
