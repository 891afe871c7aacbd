package controller

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/hssgate/hssgate/certificate"
)

// Certificates has a replica serve by the authority that all replicas share, and
// keeps the authorities in the caBundle of the webhooks. Authority, which one
// replica runs, makes and renews what is shared.
type Certificates struct {
	Client client.Client
	// Secret keeps the authorities.
	Secret client.ObjectKey
	// ConfigurationName is that of the ValidatingWebhookConfiguration.
	ConfigurationName string
	// MutatingConfigurationName is that of the MutatingWebhookConfiguration;
	// empty: there is none.
	MutatingConfigurationName string
	// Issuer makes the serving certificate.
	Issuer *certificate.Issuer
	// Propagation is how long API servers are given to learn of an authority
	// before certificates come from it.
	Propagation time.Duration
	Clock       clock.PassiveClock
	Log         *slog.Logger

	trust   certificate.Trust
	trusted atomic.Bool
}

// Ready returns why the replica can't serve yet, or nil: from when it has a
// certificate that the API server trusts. Without a webhook configuration nobody
// asks, and the certificate is enough.
func (c *Certificates) Ready() error {
	if c.Issuer.Root() == nil {
		return fmt.Errorf("%w: Secret %q holds none", certificate.ErrNoAuthority, c.Secret)
	}
	return trusted(&c.trusted, c.ConfigurationName)
}

// SetupWithManager follows the Secret and the webhook configuration on every
// replica.
func (c *Certificates) SetupWithManager(mgr ctrl.Manager) error {
	err := followCertificates(mgr, "certificates", c.Secret, c.ConfigurationName, c.MutatingConfigurationName).
		WithOptions(ctrlcontroller.Options{NeedLeaderElection: new(false)}).
		Complete(c)
	if err != nil {
		return fmt.Errorf("follow the certificates' authority: %w", err)
	}
	return nil
}

// followCertificates asks for one key, the Secret's, whatever changes.
func followCertificates(mgr ctrl.Manager, name string, secret client.ObjectKey, configuration, mutating string) *builder.Builder {
	own := predicate.NewPredicateFuncs(func(o client.Object) bool { return client.ObjectKeyFromObject(o) == secret })
	following := ctrl.NewControllerManagedBy(mgr).
		Named(name).
		For(&corev1.Secret{}, builder.WithPredicates(own)).
		Watches(&admissionregistrationv1.ValidatingWebhookConfiguration{}, toKey(secret), builder.WithPredicates(named(configuration))).
		WatchesRawSource(atStart(secret))
	return followMutating(following, secret, mutating)
}

// atStart asks for key once, also if nothing of that name is there.
func atStart(key client.ObjectKey) source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		queue.Add(reconcile.Request{NamespacedName: key})
		return nil
	})
}

// Reconcile takes over what the Secret holds, as far as it is trusted.
func (c *Certificates) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	secret, err := readSecret(ctx, c.Client, c.Secret)
	if err != nil {
		return ctrl.Result{}, err
	}
	configurations, err := readConfigurations(ctx, c.Client, c.ConfigurationName, c.MutatingConfigurationName)
	if err != nil {
		return ctrl.Result{}, err
	}
	now := c.Clock.Now()
	c.trust.Observe(now, bundles(configurations)...)
	roots, err := certificate.ParseRoots(secret.Data)
	if err != nil {
		c.Log.Warn("the Secret of the authority is damaged: serving by the last good one, until it is repaired", "secret", c.Secret.String(), "error", err)
	}
	wait, err := c.adopt(now, roots.Current)
	if err != nil {
		return ctrl.Result{}, err
	}
	trusted := c.toTrust(now, roots)
	err = writeBundles(ctx, c.Client, configurations, func(bundle []byte) []byte {
		return certificate.MergeBundle(bundle, trusted, now, nil)
	})
	if apierrors.IsConflict(err) {
		// Another replica was faster: its change comes along soon.
		return ctrl.Result{RequeueAfter: conflictRetry}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	c.note(configurations)
	return ctrl.Result{RequeueAfter: wait}, nil
}

// toTrust returns the authorities that belong in a caBundle: those of the Secret
// and the one in use, which the Secret may have lost.
func (c *Certificates) toTrust(now time.Time, roots *certificate.Roots) [][]byte {
	all := roots.PEMs()
	serving := c.Issuer.Root()
	if serving == nil || !serving.ValidAt(now) || slices.ContainsFunc(all, func(one []byte) bool { return bytes.Equal(one, serving.PEM()) }) {
		return all
	}
	return append([][]byte{serving.PEM()}, all...)
}

// adopt serves by current if it may, and otherwise returns when to try again; 0
// means once something changes. What isn't trusted yet may only be served if
// nothing better is there.
func (c *Certificates) adopt(now time.Time, current *certificate.Root) (time.Duration, error) {
	serving := c.Issuer.Root()
	if current == nil || !current.ValidAt(now) || current.Equal(serving) {
		return 0, nil
	}
	if serving != nil && serving.ValidAt(now) {
		since, isTrusted := c.trust.Since(current)
		if !isTrusted {
			return 0, nil
		}
		if wait := since.Add(c.Propagation).Sub(now); wait > 0 {
			return wait, nil
		}
	}
	if err := c.Issuer.Use(current); err != nil {
		return 0, fmt.Errorf("serve by the authority of Secret %q: %w", c.Secret, err)
	}
	c.Log.Info("serving by another authority", "authority", current, "before", serving)
	return 0, nil
}

// note notes that the authority in use is in the webhook configurations as they
// were read or have just been written.
func (c *Certificates) note(configurations []client.Object) {
	c.trust.Observe(c.Clock.Now(), bundles(configurations)...)
	root := c.Issuer.Root()
	_, isTrusted := c.trust.Since(root)
	if isTrusted || root != nil && len(configurations) == 0 {
		c.trusted.Store(true)
	}
}

// readSecret returns one without data if there's none.
func readSecret(ctx context.Context, c client.Reader, key client.ObjectKey) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := c.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %q: %w", key, err)
	}
	return secret, nil
}
