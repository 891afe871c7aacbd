package controller_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/hssgate/hssgate/certificate"
	"github.com/hssgate/hssgate/controller"
	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// TestRotationOnAnAPIServer renews the authority of two replicas again and
// again, changes their leader and damages what they share, while clients
// connect that trust just what the webhook configuration holds.
func TestRotationOnAnAPIServer(t *testing.T) {
	t.Parallel()
	env := controlplanetest.Start(t)
	r := newRotating(t, env)
	one, two := r.start(t), r.start(t)
	r.await(t, "both are ready", func() error { return errors.Join(one.certificates.Ready(), two.certificates.Ready()) })

	var clients sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for _, replica := range []*replica{one, two} {
		clients.Go(func() { r.keepConnecting(ctx, t, replica) })
	}
	r.rotate(t, "at the first demand", one, two)
	r.rotate(t, "at the second demand", one, two)
	r.damage(t)
	r.rotate(t, "after damage", one, two)
	one.stopLeading()
	r.rotate(t, "by another leader", one, two)
	r.retire(t)
	stop()
	clients.Wait()
	if n := r.handshakes.Load(); n < 100 {
		t.Errorf("only %d handshakes", n)
	}
	t.Logf("%d handshakes", r.handshakes.Load())
}

// rotating is a cluster with a webhook configuration and a namespace.
type rotating struct {
	client.Client
	env        *controlplanetest.Environment
	scheme     *runtime.Scheme
	handshakes atomic.Int64
}

// replica serves TLS by the authority that all share.
type replica struct {
	address      string
	certificates *controller.Certificates
	stopLeading  context.CancelFunc
}

// patience is for a busy machine.
const patience = time.Minute

func newRotating(t *testing.T, env *controlplanetest.Environment) *rotating {
	t.Helper()
	r := &rotating{env: env, scheme: runtime.NewScheme()}
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, admissionregistrationv1.AddToScheme} {
		if err := add(r.scheme); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if r.Client, err = client.New(env.Config, client.Options{Scheme: r.scheme}); err != nil {
		t.Fatal(err)
	}
	configuration := webhooks()
	none := admissionregistrationv1.SideEffectClassNone
	for i := range configuration.Webhooks {
		w := &configuration.Webhooks[i]
		url := "https://127.0.0.1:9/"
		w.ClientConfig.URL, w.SideEffects, w.AdmissionReviewVersions = &url, &none, []string{"v1"}
	}
	for _, o := range []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: secretKey.Namespace}}, configuration} {
		if err := r.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *rotating) start(t *testing.T) *replica {
	t.Helper()
	issuer, err := certificate.NewIssuer(clock.RealClock{}, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	every, elected := r.newManager(t, false), r.newManager(t, true)
	p := &replica{certificates: &controller.Certificates{
		Client: every.GetClient(), Secret: secretKey, ConfigurationName: configurationName,
		Issuer: issuer, Propagation: soon, Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler),
	}}
	authority := &controller.Authority{
		Client: elected.GetClient(), Secret: secretKey, ConfigurationName: configurationName,
		Rotation: certificate.Rotation{Lifetime: time.Hour, Propagation: soon, Retirement: 10 * soon},
		Clock:    clock.RealClock{}, Log: slog.New(slog.DiscardHandler),
	}
	if err := errors.Join(p.certificates.SetupWithManager(every), authority.SetupWithManager(elected)); err != nil {
		t.Fatal(err)
	}
	run(t, every)
	p.stopLeading = run(t, elected)
	p.serve(t, issuer)
	return p
}

func (r *rotating) newManager(t *testing.T, elect bool) ctrl.Manager {
	t.Helper()
	only := func(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
	manager, err := ctrl.NewManager(r.env.Config, ctrl.Options{
		Scheme: r.scheme,
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{secretKey.Namespace: {FieldSelector: only(secretKey.Name)}}},
			&admissionregistrationv1.ValidatingWebhookConfiguration{}: {Field: only(configurationName)},
		}},
		Metrics:        metricsserver.Options{BindAddress: "0"},
		LeaderElection: elect, LeaderElectionID: "hssgate", LeaderElectionNamespace: secretKey.Namespace, LeaderElectionReleaseOnCancel: true,
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return manager
}

// run runs a manager until the returned function, or the test's end, stops it.
func run(t *testing.T, manager ctrl.Manager) context.CancelFunc {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (p *replica) serve(t *testing.T, issuer *certificate.Issuer) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: issuer.GetCertificate, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	p.address = listener.Addr().String()
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				// The client says what was wrong.
				_ = c.(*tls.Conn).HandshakeContext(context.Background())
			}()
		}
	}()
}

// soon is how long a new authority is known before anything is served by it.
const soon = 2 * time.Second

// keepConnecting trusts what the webhook configuration holds before it connects,
// as an API server does.
func (r *rotating) keepConnecting(ctx context.Context, t *testing.T, p *replica) {
	// The end of the test cuts none off.
	whole := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		begun := time.Now()
		var configuration admissionregistrationv1.ValidatingWebhookConfiguration
		if err := r.Get(whole, client.ObjectKey{Name: configurationName}, &configuration); err != nil {
			t.Error(err)
			return
		}
		for i := range configuration.Webhooks {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(configuration.Webhooks[i].ClientConfig.CABundle)
			dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}
			c, err := dialer.DialContext(whole, "tcp", p.address)
			if err != nil && time.Since(begun) > soon/2 {
				break // what it trusts is from before a pause of the machine
			}
			if err != nil {
				t.Errorf("a handshake with %s failed: %v", p.address, err)
				return
			}
			_ = c.Close()
			r.handshakes.Add(1)
		}
	}
}

func (r *rotating) await(t *testing.T, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s: %v", what, patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var errNotYet = errors.New("not yet")

func (r *rotating) change(t *testing.T, change func(*corev1.Secret)) {
	t.Helper()
	r.await(t, "the Secret is changed", func() error {
		secret := &corev1.Secret{}
		if err := r.Get(t.Context(), secretKey, secret); err != nil {
			return err
		}
		change(secret)
		return r.Update(t.Context(), secret)
	})
}

// rotate asks for another authority and waits until both replicas serve by it.
func (r *rotating) rotate(t *testing.T, when string, replicas ...*replica) {
	t.Helper()
	before := replicas[0].certificates.Issuer.Root()
	r.change(t, func(s *corev1.Secret) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, controller.AnnotationRotate, "true")
	})
	r.await(t, when, func() error {
		now := replicas[0].certificates.Issuer.Root()
		for _, p := range replicas {
			if root := p.certificates.Issuer.Root(); root.Equal(before) || !root.Equal(now) {
				return errNotYet
			}
		}
		return nil
	})
}

// damage takes the key away, and waits until it is back.
func (r *rotating) damage(t *testing.T) {
	t.Helper()
	var key []byte
	r.change(t, func(s *corev1.Secret) {
		key = s.Data["ca.key"]
		delete(s.Data, "ca.key")
	})
	r.await(t, "the key is back", func() error {
		secret := &corev1.Secret{}
		if err := r.Get(t.Context(), secretKey, secret); err != nil {
			return err
		}
		if string(secret.Data["ca.key"]) != string(key) {
			return errNotYet
		}
		return nil
	})
}

// retire waits until only the authority in use is in the Secret.
func (r *rotating) retire(t *testing.T) {
	t.Helper()
	r.await(t, "those before are gone", func() error {
		secret := &corev1.Secret{}
		if err := r.Get(t.Context(), secretKey, secret); err != nil {
			return err
		}
		roots, err := certificate.ParseRoots(secret.Data)
		if err == nil && len(roots.PEMs()) > 1 {
			err = errNotYet
		}
		return err
	})
}
