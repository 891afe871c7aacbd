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
	start          = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	secretKey      = client.ObjectKey{Namespace: "hssgate-system", Name: "hssgate-ca"}
	configurations = controller.WebhookConfigurations{Validating: "hssgate", Mutating: "hssgate"}
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

// replica is what runs in each, and ca what runs in the leader.
type replica struct {
	*controller.Certificates
	ca *controller.CA
}

func (s *site) replica(t *testing.T) *replica {
	t.Helper()
	issuer, err := certificate.NewIssuer(s.clock, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	serving := controller.Serving{Client: s.Client, Secret: secretKey, Configurations: configurations, Issuer: issuer, Clock: s.clock, Log: s.logger()}
	return &replica{&controller.Certificates{Serving: serving}, &controller.CA{Serving: serving}}
}

// follow has the replica see what there is, and returns when it looks again.
func (r *replica) follow(t *testing.T) time.Duration {
	t.Helper()
	return reconcile(t, r.Certificates, "", "").RequeueAfter
}

// lead has the leader do what is due.
func (r *replica) lead(t *testing.T) time.Duration {
	t.Helper()
	return reconcile(t, r.ca, "", "").RequeueAfter
}

// settled is a cluster in which a replica leads and serves.
func settled(t *testing.T) (*site, *replica) {
	t.Helper()
	s := newSite(t, webhooks(), mutating(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secretKey.Namespace, Name: secretKey.Name}})
	r := s.replica(t)
	r.lead(t)
	r.follow(t)
	if err := r.Ready(); err != nil {
		t.Fatal(err)
	}
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
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func (s *site) change(t *testing.T, change func(data map[string][]byte)) {
	t.Helper()
	secret := s.secret(t)
	change(secret.Data)
	if err := s.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
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

// webhooks returns the configurations as they are.
func (s *site) webhooks(t *testing.T) (*admissionregistrationv1.ValidatingWebhookConfiguration, *admissionregistrationv1.MutatingWebhookConfiguration) {
	t.Helper()
	return get(t, s, "", configurations.Validating, webhooks()), get(t, s, "", configurations.Mutating, mutating())
}

// wantTrusted checks that every webhook trusts just these CAs.
func (s *site) wantTrusted(t *testing.T, when string, cas ...*certificate.CA) {
	t.Helper()
	var want []byte
	for _, ca := range cas {
		want = append(want, ca.PEM()...)
	}
	v, m := s.webhooks(t)
	for name, got := range map[string][]byte{"pods": v.Webhooks[0].ClientConfig.CABundle, "policies": v.Webhooks[1].ClientConfig.CABundle, "pin": m.Webhooks[0].ClientConfig.CABundle} {
		if !bytes.Equal(got, want) {
			t.Errorf("%s: webhook %s trusts %s, want %s", when, name, got, want)
		}
	}
}

func (s *site) setBundles(t *testing.T, bundle []byte) {
	t.Helper()
	v, m := s.webhooks(t)
	v.Webhooks[0].ClientConfig.CABundle, v.Webhooks[1].ClientConfig.CABundle, m.Webhooks[0].ClientConfig.CABundle = bundle, bundle, bundle
	if err := errors.Join(s.Update(t.Context(), v), s.Update(t.Context(), m)); err != nil {
		t.Fatal(err)
	}
}

func webhooks() *admissionregistrationv1.ValidatingWebhookConfiguration {
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: configurations.Validating},
		Webhooks:   []admissionregistrationv1.ValidatingWebhook{{Name: "pods.hssgate.io"}, {Name: "policies.hssgate.io"}},
	}
}

func mutating() *admissionregistrationv1.MutatingWebhookConfiguration {
	return &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: configurations.Mutating},
		Webhooks:   []admissionregistrationv1.MutatingWebhook{{Name: "pin.hssgate.io"}},
	}
}

func TestTheFirstCA(t *testing.T) {
	t.Parallel()
	for name, objects := range map[string][]client.Object{
		"without a Secret": {webhooks(), mutating()},
		"in a Secret": {webhooks(), mutating(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: secretKey.Namespace, Name: secretKey.Name}, Data: map[string][]byte{"other": []byte("stays")},
		}},
	} {
		s := newSite(t, objects...)
		r := s.replica(t)
		r.follow(t)
		if err := r.Ready(); !errors.Is(err, certificate.ErrNoCA) {
			t.Errorf("%s: before there is one: %v", name, err)
		}
		r.lead(t)
		before := s.secret(t)
		s.wantTrusted(t, name, s.ca(t))
		r.follow(t)
		r.lead(t)
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
	s, leader := settled(t)
	other, late := s.replica(t), s.replica(t)
	other.follow(t)
	first := s.ca(t)
	s.pass(time.Second)
	s.change(t, moveCA)
	leader.lead(t)
	second := s.ca(t)
	s.wantTrusted(t, "after the first command", first, second)
	late.follow(t)
	for name, r := range map[string]*replica{"leader": leader, "other": other, "late": late} {
		if wait := r.follow(t); wait != 0 || !r.Issuer.CA().Equal(first) {
			t.Errorf("%s doesn't serve by the old CA as long as it's there", name)
		}
	}
	s.change(t, removeOld)
	if wait := leader.lead(t); wait != 10*time.Minute {
		t.Errorf("the leader looks again after %s", wait)
	}
	s.wantTrusted(t, "right after the second command", first, second)
	if wait := other.follow(t); wait != 10*time.Second || !other.Issuer.CA().Equal(first) {
		t.Errorf("it serves by %v at once, and looks again after %s", other.Issuer.CA(), wait)
	}
	s.pass(10 * time.Second)
	if other.follow(t); !other.Issuer.CA().Equal(second) {
		t.Error("it doesn't serve by the new CA")
	}
	s.pass(10 * time.Minute)
	leader.lead(t)
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
		s, leader := settled(t)
		first := s.ca(t)
		s.change(t, damage)
		if leader.follow(t); !leader.Issuer.CA().Equal(first) {
			t.Errorf("%s: the replica serves by another CA", name)
		}
		leader.lead(t)
		if !s.ca(t).Equal(first) {
			t.Errorf("%s: the CA in use is not put back", name)
		}
		s.wantTrusted(t, name, first)
		// A leader that has never read it makes a new one.
		s.change(t, damage)
		s.replica(t).lead(t)
		s.wantTrusted(t, name+", by another leader", first, s.ca(t))
	}
}

func TestADeletedSecretIsPutBackLater(t *testing.T) {
	t.Parallel()
	s, leader := settled(t)
	first := s.ca(t)
	if err := s.Delete(t.Context(), s.secret(t)); err != nil {
		t.Fatal(err)
	}
	s.setBundles(t, []byte("damaged"))
	if wait := leader.lead(t); wait != 10*time.Second {
		t.Errorf("it looks again after %s", wait)
	}
	s.wantTrusted(t, "while the Secret is gone", first)
	if err := s.Get(t.Context(), secretKey, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Secret is back at once: %v", err)
	}
	s.pass(10 * time.Second)
	leader.lead(t)
	if !s.ca(t).Equal(first) {
		t.Error("another CA came back")
	}
}

func TestAReplacedOrExpiredCA(t *testing.T) {
	t.Parallel()
	s, leader := settled(t)
	theirs, err := certificate.NewCA(start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	key, _ := theirs.KeyPEM()
	s.pass(2 * time.Hour)
	s.change(t, func(data map[string][]byte) { data["ca.crt"], data["ca.key"] = theirs.PEM(), key })
	first := leader.Issuer.CA()
	if leader.follow(t); !leader.Issuer.CA().Equal(first) {
		t.Error("it serves by a CA that no webhook trusts")
	}
	leader.lead(t)
	leader.follow(t)
	s.pass(10 * time.Second)
	if leader.follow(t); !leader.Issuer.CA().Equal(theirs) {
		t.Error("it doesn't serve by the CA that replaced its own")
	}
	s.pass(10 * 365 * 24 * time.Hour)
	leader.lead(t)
	if leader.follow(t); !leader.Issuer.CA().Equal(s.ca(t)) || s.ca(t).Equal(theirs) {
		t.Error("it serves by an expired CA")
	}
	s.wantTrusted(t, "after the end", s.ca(t))
}

func TestAReplicaWhoseCAIsNotTrustedTakesAnotherAtOnce(t *testing.T) {
	t.Parallel()
	s, _ := settled(t)
	r := s.replica(t)
	r.follow(t)
	s.change(t, func(data map[string][]byte) { clear(data) })
	s.setBundles(t, nil)
	s.replica(t).lead(t)
	if r.follow(t); !r.Issuer.CA().Equal(s.ca(t)) {
		t.Error("it goes on serving by a CA that no webhook trusts")
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	s, leader := settled(t)
	s.setBundles(t, nil)
	if err := leader.Ready(); err != nil {
		t.Errorf("once ready, it stays so: %v", err)
	}
	r := s.replica(t)
	r.follow(t)
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), `caBundle of ValidatingWebhookConfiguration "hssgate"`) {
		t.Errorf("without trust: %v", err)
	}
	leader.lead(t)
	r.follow(t)
	if err := r.Ready(); err != nil {
		t.Error(err)
	}
	alone := newSite(t)
	r = alone.replica(t)
	r.lead(t)
	r.follow(t)
	if err := r.Ready(); err != nil {
		t.Errorf("without webhook configurations: %v", err)
	}
}

func TestFailedWrites(t *testing.T) {
	t.Parallel()
	s, leader := settled(t)
	s.setBundles(t, nil)
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "validatingwebhookconfigurations"}, "hssgate", errors.New("too late"))
	lost := errors.New("lost")
	s.patch = func(client.Object) error { return conflict }
	if wait := leader.lead(t); wait != time.Second {
		t.Errorf("after a conflict it tries again after %s", wait)
	}
	s.patch = func(o client.Object) error {
		if _, ok := o.(*admissionregistrationv1.ValidatingWebhookConfiguration); ok {
			return lost
		}
		return nil
	}
	if _, err := leader.ca.Reconcile(t.Context(), ctrl.Request{}); !errors.Is(err, lost) {
		t.Errorf("got error %v", err)
	}
	if _, m := s.webhooks(t); !bytes.Equal(m.Webhooks[0].ClientConfig.CABundle, s.ca(t).PEM()) {
		t.Error("the other configuration isn't written")
	}
}

func TestReplicasWithCAsOfTheirOwnShareACaBundle(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks(), mutating())
	var cas []*certificate.CA
	for range 2 {
		issuer, err := certificate.NewSelfSigned(s.clock, "localhost")
		if err != nil {
			t.Fatal(err)
		}
		r := &controller.Certificates{Serving: controller.Serving{Client: s.Client, Configurations: configurations, Issuer: issuer, Clock: s.clock, Log: s.logger()}}
		if r.Ready() == nil {
			t.Error("ready before its CA is trusted")
		}
		reconcile(t, r, "", "")
		if err := r.Ready(); err != nil {
			t.Error(err)
		}
		cas = append(cas, issuer.CA())
		s.patch = func(client.Object) error { return errors.New("written again") }
		reconcile(t, r, "", "")
		s.patch = nil
	}
	s.wantTrusted(t, "both", cas...)
}
