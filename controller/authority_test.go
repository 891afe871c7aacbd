package controller_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hssgate/hssgate/certificate"
	"github.com/hssgate/hssgate/controller"
)

var (
	start     = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	secretKey = client.ObjectKey{Namespace: "hssgate-system", Name: "hssgate-authority"}
)

const (
	configurationName = "hssgate"
	propagation       = time.Minute
	retirement        = 24 * time.Hour
	lifetime          = 90 * 24 * time.Hour
)

// site is a cluster with a clock, an elected replica and its log.
type site struct {
	client.Client
	clock     *clocktesting.FakePassiveClock
	authority *controller.Authority
	log       *logBuffer
	fails     interceptor.Funcs
}

// logBuffer may be read while others write.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends to the buffer.
func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSite(t *testing.T, objects ...client.Object) *site {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, admissionregistrationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	s := &site{clock: clocktesting.NewFakePassiveClock(start), log: &logBuffer{}}
	s.Client = interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(), interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			if s.fails.Apply != nil {
				return s.fails.Apply(ctx, c, o, opts...)
			}
			return c.Apply(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if s.fails.Update != nil {
				return s.fails.Update(ctx, c, o, opts...)
			}
			return c.Update(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if s.fails.Patch != nil {
				return s.fails.Patch(ctx, c, o, p, opts...)
			}
			return c.Patch(ctx, o, p, opts...)
		},
	})
	s.elect()
	return s
}

// elect makes another replica the elected one.
func (s *site) elect() {
	s.authority = &controller.Authority{
		Client: s.Client, Secret: secretKey, ConfigurationName: configurationName,
		Rotation: certificate.Rotation{Lifetime: lifetime, Propagation: propagation, Retirement: retirement},
		Clock:    s.clock, Log: s.logger(),
	}
}

func (s *site) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s.log, nil)) }

func (s *site) pass(d time.Duration) { s.clock.SetTime(s.clock.Now().Add(d)) }

// lead has the elected replica do what is due, and returns when it asks again.
func (s *site) lead(t *testing.T) time.Duration {
	t.Helper()
	result, err := s.authority.Reconcile(t.Context(), ctrl.Request{NamespacedName: secretKey})
	if err != nil {
		t.Fatal(err)
	}
	return result.RequeueAfter
}

func (s *site) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	if err := s.Get(t.Context(), secretKey, secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

// roots reads the Secret, which must be in order.
func (s *site) roots(t *testing.T) *certificate.Roots {
	t.Helper()
	roots, err := certificate.ParseRoots(s.secret(t).Data)
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

func (s *site) change(t *testing.T, change func(*corev1.Secret)) {
	t.Helper()
	secret := s.secret(t)
	change(secret)
	if err := s.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

// bundle returns what all webhooks hold.
func (s *site) bundle(t *testing.T) string {
	t.Helper()
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := s.Get(t.Context(), client.ObjectKey{Name: configurationName}, configuration); err != nil {
		t.Fatal(err)
	}
	first := string(configuration.Webhooks[0].ClientConfig.CABundle)
	for _, w := range configuration.Webhooks[1:] {
		if diff := cmp.Diff(first, string(w.ClientConfig.CABundle)); diff != "" {
			t.Errorf("the webhooks differ:\n%s", diff)
		}
	}
	return first
}

func (s *site) setBundles(t *testing.T, bundles ...[]byte) {
	t.Helper()
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := s.Get(t.Context(), client.ObjectKey{Name: configurationName}, configuration); err != nil {
		t.Fatal(err)
	}
	for i, bundle := range bundles {
		configuration.Webhooks[i].ClientConfig.CABundle = bundle
	}
	if err := s.Update(t.Context(), configuration); err != nil {
		t.Fatal(err)
	}
}

func webhooks() *admissionregistrationv1.ValidatingWebhookConfiguration {
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: configurationName},
		Webhooks:   []admissionregistrationv1.ValidatingWebhook{{Name: "pods.hssgate.io"}, {Name: "policies.hssgate.io"}},
	}
}

func emptySecret() *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: secretKey.Namespace, Name: secretKey.Name, Labels: map[string]string{"app": "hssgate"}},
		Data:       map[string][]byte{"other": []byte("stays")},
	}
}

func pems(roots ...*certificate.Root) string {
	var all strings.Builder
	for _, r := range roots {
		all.Write(r.PEM())
	}
	return all.String()
}

func TestTheFirstAuthority(t *testing.T) {
	t.Parallel()
	for name, objects := range map[string][]client.Object{
		"without anything":   nil,
		"without a Secret":   {webhooks()},
		"in an empty Secret": {emptySecret(), webhooks()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, objects...)
			if wait := s.lead(t); wait != 0 {
				t.Errorf("it asks again after %s, want when the Secret changes", wait)
			}
			roots := s.roots(t)
			if roots.Current == nil || roots.Next != nil || len(roots.Previous) > 0 {
				t.Fatalf("got %v", roots)
			}
			if got, want := roots.Current.Expires(), start.Add(lifetime); !got.Equal(want) {
				t.Errorf("it is valid until %s, want %s", got, want)
			}
			before := s.secret(t)
			if wait := s.lead(t); wait != lifetime*2/3 {
				t.Errorf("it asks again after %s, want %s", wait, lifetime*2/3)
			}
			if diff := cmp.Diff(before, s.secret(t)); diff != "" {
				t.Errorf("it doesn't come to rest:\n%s", diff)
			}
			if len(objects) > 0 && s.bundle(t) != pems(roots.Current) {
				t.Error("it isn't what the webhooks trust")
			}
		})
	}
}

func TestASecretKeepsWhatElseItHolds(t *testing.T) {
	t.Parallel()
	s := newSite(t, emptySecret())
	s.lead(t)
	secret := s.secret(t)
	if string(secret.Data["other"]) != "stays" || secret.Labels["app"] != "hssgate" {
		t.Errorf("got %v, %v", secret.Labels, secret.Data)
	}
}

func TestARotationOnDemand(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	s.lead(t)
	first := s.roots(t).Current
	s.change(t, func(secret *corev1.Secret) { secret.Annotations[controller.AnnotationRotate] = "true" })

	s.lead(t)
	second := s.roots(t).Next
	if second == nil || !s.roots(t).Current.Equal(first) {
		t.Fatal("the next one isn't beside the first")
	}
	if _, still := s.secret(t).Annotations[controller.AnnotationRotate]; still {
		t.Error("the request is still there")
	}
	if got := s.bundle(t); got != pems(first, second) {
		t.Fatalf("both should be trusted:\n%s", got)
	}

	if wait := s.lead(t); wait != propagation {
		t.Errorf("trust has %s to spread, want %s", wait, propagation)
	}
	s.pass(propagation)
	s.lead(t)
	if roots := s.roots(t); !roots.Current.Equal(second) || roots.Next != nil || string(roots.Previous) != pems(first) {
		t.Fatalf("the second isn't in use: %v", roots)
	}
	if got := s.bundle(t); got != pems(first, second) {
		t.Fatalf("both should still be trusted:\n%s", got)
	}

	if wait := s.lead(t); wait != retirement {
		t.Errorf("the first stays for %s, want %s", wait, retirement)
	}
	s.pass(retirement)
	s.lead(t)
	if roots := s.roots(t); len(roots.Previous) > 0 {
		t.Errorf("the first is still in the Secret: %v", roots)
	}
	s.pass(time.Hour)
	s.lead(t)
	if got := s.bundle(t); got != pems(second) {
		t.Errorf("the second should be trusted alone:\n%s", got)
	}
	checkSecrecy(t, s)
}

// checkSecrecy looks for keys in the log.
func checkSecrecy(t *testing.T, s *site) {
	t.Helper()
	log := s.log.String()
	if log == "" || strings.Contains(log, "BEGIN") {
		t.Errorf("the log:\n%s", log)
	}
	for name, value := range s.secret(t).Data {
		if strings.Contains(log, string(value)) {
			t.Errorf("the log holds %s:\n%s", name, log)
		}
	}
}

func TestARotationInTime(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	s.lead(t)
	s.pass(s.lead(t))
	s.lead(t)
	if s.roots(t).Next == nil {
		t.Error("with a third of its life left, no other one is made")
	}
}

func TestTheNextOneWaitsForEveryWebhook(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	s.lead(t)
	first := s.roots(t).Current
	s.change(t, func(secret *corev1.Secret) { secret.Annotations[controller.AnnotationRotate] = "true" })
	s.lead(t)
	next := s.roots(t).Next
	s.lead(t)
	s.pass(propagation / 2)
	s.setBundles(t, append(first.PEM(), next.PEM()...), first.PEM())
	s.fails.Patch = func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
		return nil
	}
	s.lead(t)
	s.pass(time.Hour)
	s.lead(t)
	if !s.roots(t).Current.Equal(first) {
		t.Fatal("one that a webhook doesn't trust is in use")
	}
	s.fails.Patch = nil
	s.lead(t)
	s.lead(t)
	s.pass(propagation)
	s.lead(t)
	if !s.roots(t).Current.Equal(next) {
		t.Error("one that all trust isn't in use")
	}
}

func TestADamagedSecretIsRepaired(t *testing.T) {
	t.Parallel()
	other, err := certificate.NewRoot(start, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	otherKey, err := other.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		damage func(*corev1.Secret)
		// kept says whether the replica that knew the authority keeps it.
		kept bool
	}{
		"a lost key":        {func(s *corev1.Secret) { delete(s.Data, "ca.key") }, true},
		"a lost pair":       {func(s *corev1.Secret) { delete(s.Data, "ca.key"); delete(s.Data, "ca.crt") }, true},
		"junk":              {func(s *corev1.Secret) { s.Data["ca.crt"] = []byte("junk") }, true},
		"no data":           {func(s *corev1.Secret) { s.Data = nil }, true},
		"another one's key": {func(s *corev1.Secret) { s.Data["ca.key"] = otherKey }, true},
		"junk elsewhere":    {func(s *corev1.Secret) { s.Data["previous.crt"] = []byte("junk") }, true},
		"another authority": {func(s *corev1.Secret) { s.Data["ca.crt"], s.Data["ca.key"] = other.PEM(), otherKey }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, webhooks())
			s.lead(t)
			first := s.roots(t).Current
			s.change(t, tt.damage)
			s.lead(t)
			if got := s.roots(t).Current; got.Equal(first) != tt.kept {
				t.Errorf("got %v, first %v", got, first)
			}
			checkSecrecy(t, s)

			t.Log("a replica that knows nothing makes what is missing")
			s.change(t, tt.damage)
			s.elect()
			s.lead(t)
			if got := s.roots(t).Current; got == nil {
				t.Error("there is none")
			}
			if got := s.bundle(t); !strings.Contains(got, pems(first)) {
				t.Error("replicas that serve by the first are no longer trusted")
			}
		})
	}
}

func TestAnExpiredAuthorityIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	s.lead(t)
	first := s.roots(t).Current
	s.pass(lifetime)
	s.elect()
	s.lead(t)
	if got := s.roots(t).Current; got.Equal(first) || s.bundle(t) != pems(got) {
		t.Errorf("got %v, trusted:\n%s", got, s.bundle(t))
	}
}

func TestADeletedSecretIsPutBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	s.lead(t)
	first := s.secret(t)
	if err := s.Delete(t.Context(), s.secret(t)); err != nil {
		t.Fatal(err)
	}
	wait := s.lead(t)
	if wait != 10*time.Second {
		t.Errorf("it is put back after %s, want 10s: it may be being uninstalled", wait)
	}
	if err := s.Get(t.Context(), secretKey, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("it is back at once: %v", err)
	}
	s.pass(wait)
	s.lead(t)
	if diff := cmp.Diff(first.Data, s.secret(t).Data); diff != "" {
		t.Errorf("another one is back:\n%s", diff)
	}
}

func TestStrangersStayAnHour(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	stranger, err := certificate.NewRoot(start, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	s.setBundles(t, stranger.PEM(), stranger.PEM())
	s.lead(t)
	current := s.roots(t).Current
	if wait := s.lead(t); wait != time.Hour {
		t.Errorf("it asks again after %s, want 1h", wait)
	}
	s.pass(time.Hour - time.Second)
	s.lead(t)
	if s.bundle(t) != pems(stranger, current) {
		t.Error("replicas of before are no longer trusted")
	}
	s.pass(time.Second)
	s.lead(t)
	if s.bundle(t) != pems(current) {
		t.Error("the stranger is still trusted")
	}
}

func TestAMissingNoteOfUseKeepsTrust(t *testing.T) {
	t.Parallel()
	for name, note := range map[string]func(map[string]string){
		"it is gone":    func(a map[string]string) { delete(a, controller.AnnotationPromotedAt) },
		"it is no time": func(a map[string]string) { a[controller.AnnotationPromotedAt] = "yesterday" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, webhooks())
			s.lead(t)
			first := s.roots(t).Current
			s.change(t, func(secret *corev1.Secret) { secret.Annotations[controller.AnnotationRotate] = "true" })
			s.lead(t)
			s.lead(t)
			s.pass(propagation)
			s.lead(t)
			s.change(t, func(secret *corev1.Secret) { note(secret.Annotations) })
			s.pass(2 * retirement)
			s.lead(t)
			if got := s.bundle(t); !strings.HasPrefix(got, pems(first)) {
				t.Error("the one before is no longer trusted, and nobody knows since when it is out of use")
			}
			s.pass(retirement)
			s.lead(t)
			if got := s.roots(t); len(got.Previous) > 0 {
				t.Error("the one before is trusted forever")
			}
		})
	}
}

func TestWhatOthersWriteFirstIsNoFailure(t *testing.T) {
	t.Parallel()
	kind := schema.GroupResource{Resource: "secrets"}
	conflict := apierrors.NewConflict(kind, secretKey.Name, errors.New("too late"))
	denied := apierrors.NewForbidden(kind, secretKey.Name, errors.New("no"))
	tests := map[string]struct {
		objects []client.Object
		err     error
		fails   bool
	}{
		"another one created it":   {[]client.Object{webhooks()}, conflict, false},
		"another one changed it":   {[]client.Object{webhooks(), emptySecret()}, conflict, false},
		"creating it is forbidden": {[]client.Object{webhooks()}, denied, true},
		"changing it is forbidden": {[]client.Object{webhooks(), emptySecret()}, denied, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tt.objects...)
			s.fails.Apply = func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
				return tt.err
			}
			s.fails.Update = func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error { return tt.err }
			result, err := s.authority.Reconcile(t.Context(), ctrl.Request{})
			if (err != nil) != tt.fails || !tt.fails && result.RequeueAfter == 0 {
				t.Errorf("got %v, %v", result, err)
			}
			if err != nil && !strings.Contains(err.Error(), `write the authority into Secret "hssgate-system/hssgate-authority"`) {
				t.Errorf("got %v", err)
			}
			if got := s.bundle(t); got != "" {
				t.Errorf("what wasn't written is trusted:\n%s", got)
			}
		})
	}
}
