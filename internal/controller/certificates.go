package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/certificate"
)

const (
	// keyCertificate and keyKey are the Secret's keys of the CA that hssgate makes. Other CAs are in pairs
	// named alike: NAME.crt and NAME.key.
	keyCertificate, keyKey = "ca.crt", "ca.key"
	// propagation is the time that API servers get to learn of a new CA before a replica serves by it.
	propagation = 10 * time.Second
	// untrustDelay is how long a CA that has left the Secret stays in a caBundle, for replicas that still serve by it.
	untrustDelay = 10 * time.Minute
	// restoreDelay keeps a Secret from coming back while hssgate is being uninstalled.
	restoreDelay = 10 * time.Second
	// conflictRetry is the pause after a write that another one overtook.
	conflictRetry = time.Second
	// fieldOwner owns the fields of a Secret that hssgate creates.
	fieldOwner = client.FieldOwner("hssgate")
)

// Certificates has a replica serve by a CA in a Secret: the oldest valid one, so that a CA that is added is
// trusted long before it is used. A CA that replaces it at once is used when every webhook has trusted it for
// a while. Every replica makes the CA if there is none, puts the one that it serves by back into a Secret that
// has lost it, and keeps every caBundle equal to the CAs in the Secret. Without a Secret, the Issuer has a CA
// of its own, which every replica adds to the caBundle.
type Certificates struct {
	Client client.Client
	// Secret holds the CAs; optional.
	Secret client.ObjectKey
	// Configurations are the webhook configurations that trust the CAs.
	Configurations WebhookConfigurations
	// Issuer makes the serving certificate.
	Issuer *certificate.Issuer
	Clock  clock.PassiveClock
	Log    *slog.Logger

	// held describes the CAs that the Secret has held since a time.
	held      string
	heldSince time.Time
	// next waits to be used since nextSince.
	next      *certificate.CA
	nextSince time.Time
	trusted   atomic.Bool
}

// Ready returns why the API server can't connect to the replica yet, or nil. Without a webhook configuration a
// certificate is enough.
func (c *Certificates) Ready() error {
	if c.Issuer.CA() == nil {
		return fmt.Errorf("%w: Secret %q holds none", certificate.ErrNoCA, c.Secret)
	}
	if !c.trusted.Load() {
		return fmt.Errorf("the caBundle of ValidatingWebhookConfiguration %q doesn't hold the CA yet", c.Configurations.Validating)
	}
	return nil
}

// SetupWithManager follows the Secret and the webhook configurations on every replica. The manager's cache must hold no others.
func (c *Certificates) SetupWithManager(mgr ctrl.Manager) error {
	const name = "certificates"
	watched := c.Configurations.objects()
	if c.Secret.Name != "" {
		watched = append(watched, &corev1.Secret{})
	}
	b := whenever(mgr, name, name)
	for _, o := range watched {
		b = b.Watches(o, enqueue(name))
	}
	if err := b.Complete(c); err != nil {
		return fmt.Errorf("follow the CA: %w", err)
	}
	return nil
}

// Reconcile repairs the Secret and the caBundles, and takes over the CA of the Secret, once it is trusted.
func (c *Certificates) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	wait, err := c.reconcile(ctx)
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: conflictRetry}, nil
	}
	return ctrl.Result{RequeueAfter: wait}, err
}

// reconcile returns how long to wait until there is more to do; 0 means until something changes.
func (c *Certificates) reconcile(ctx context.Context) (time.Duration, error) {
	configurations, err := c.Configurations.read(ctx, c.Client)
	if err != nil {
		return 0, err
	}
	cas, wait, only := []*certificate.CA{c.Issuer.CA()}, time.Duration(0), false
	if c.Secret.Name != "" {
		if cas, wait, only, err = c.inSecret(ctx); err != nil {
			return 0, err
		}
	}
	now := c.Clock.Now()
	err = writeBundles(ctx, c.Client, configurations, func(bundle []byte) []byte { return certificate.MergeBundle(bundle, cas, now, !only) })
	if err != nil {
		return 0, err
	}
	adopting, err := c.adopt(cas[0], configurations)
	if trustedByAll(configurations, c.Issuer.CA()) {
		c.trusted.Store(true)
	}
	if adopting > 0 {
		wait = adopting
	}
	return wait, err
}

// inSecret returns the valid CAs in the Secret, the oldest first, after it has put one there if need be; the CA in
// use as long as the Secret is gone. only reports whether no other CA is in use any more; wait is until then.
func (c *Certificates) inSecret(ctx context.Context) (cas []*certificate.CA, wait time.Duration, only bool, err error) {
	secret := &corev1.Secret{}
	if err := c.Client.Get(ctx, c.Secret, secret); client.IgnoreNotFound(err) != nil {
		return nil, 0, false, fmt.Errorf("read Secret %q: %w", c.Secret, err)
	}
	if serving := c.Issuer.CA(); secret.ResourceVersion == "" && serving != nil {
		if wait := restoreDelay - c.unchanged(nil); wait > 0 {
			return []*certificate.CA{serving}, wait, false, nil
		}
	}
	if cas, err = c.complete(ctx, secret); err != nil {
		return nil, 0, false, err
	}
	wait = untrustDelay - c.unchanged(cas)
	return cas, max(0, wait), wait <= 0, nil
}

// unchanged returns for how long the Secret has been seen to hold just these CAs.
func (c *Certificates) unchanged(cas []*certificate.CA) time.Duration {
	now := c.Clock.Now()
	if held := fmt.Sprint(cas); held != c.held {
		c.held, c.heldSince = held, now
	}
	return now.Sub(c.heldSince)
}

// complete writes a CA into the Secret if ca.crt and ca.key are missing, damaged or expired: the one that this
// replica serves by, or a new one. It returns the CAs that the Secret then holds.
func (c *Certificates) complete(ctx context.Context, secret *corev1.Secret) ([]*certificate.CA, error) {
	now := c.Clock.Now()
	cas, problem := parseCAs(secret.Data, now)
	own, err := certificate.ParseCA(secret.Data[keyCertificate], secret.Data[keyKey])
	if err == nil && own.ValidAt(now) {
		return cas, nil
	}
	ca := c.Issuer.CA()
	if ca == nil || !ca.ValidAt(now) || slices.ContainsFunc(cas, ca.Equal) {
		if ca, err = certificate.NewCA(now); err != nil {
			return nil, err
		}
	}
	if err := c.write(ctx, secret, ca); err != nil {
		return nil, fmt.Errorf("write the CA into Secret %q: %w", c.Secret, err)
	}
	c.Log.Info("CA written into its Secret", "secret", c.Secret.String(), "ca", ca, "problem", problem)
	return append(cas, ca), nil
}

func (c *Certificates) write(ctx context.Context, secret *corev1.Secret, ca *certificate.CA) error {
	key, err := ca.KeyPEM()
	if err != nil {
		return err
	}
	data := map[string][]byte{keyCertificate: ca.PEM(), keyKey: key}
	if secret.ResourceVersion == "" {
		// Only server-side apply can create by a right that is limited to the name.
		created := applycorev1.Secret(c.Secret.Name, c.Secret.Namespace).WithType(corev1.SecretTypeOpaque).WithData(data)
		return c.Client.Apply(ctx, created, fieldOwner)
	}
	updated := secret.DeepCopy()
	if updated.Data == nil {
		updated.Data = map[string][]byte{}
	}
	maps.Copy(updated.Data, data)
	return c.Client.Update(ctx, updated)
}

// adopt serves by the oldest CA if it may, and returns how long to wait otherwise; 0 means until something changes.
func (c *Certificates) adopt(oldest *certificate.CA, configurations []client.Object) (time.Duration, error) {
	now, serving := c.Clock.Now(), c.Issuer.CA()
	if oldest.Equal(serving) {
		c.next = nil
		return 0, nil
	}
	if serving != nil && serving.ValidAt(now) && trustedByAll(configurations, serving) {
		if !oldest.Equal(c.next) {
			c.next, c.nextSince = oldest, now
		}
		if wait := c.nextSince.Add(propagation).Sub(now); wait > 0 {
			return wait, nil
		}
	}
	if err := c.Issuer.Use(oldest); err != nil {
		return 0, fmt.Errorf("serve by the CA of Secret %q: %w", c.Secret, err)
	}
	c.next = nil
	c.Log.Info("serving by another CA", "ca", oldest, "before", serving)
	return 0, nil
}

// parseCAs returns the valid CAs in a Secret, the oldest first, and what is wrong with others.
func parseCAs(data map[string][]byte, now time.Time) ([]*certificate.CA, error) {
	var cas []*certificate.CA
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(data)) {
		base, ok := strings.CutSuffix(name, ".crt")
		if !ok {
			continue
		}
		ca, err := certificate.ParseCA(data[name], data[base+".key"])
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: %w", base, err))
		case !ca.ValidAt(now):
			problems = append(problems, fmt.Errorf("%s: not valid now: %s", base, ca))
		default:
			cas = append(cas, ca)
		}
	}
	slices.SortStableFunc(cas, func(a, b *certificate.CA) int { return a.NotBefore().Compare(b.NotBefore()) })
	return cas, errors.Join(problems...)
}
