package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
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
	// settleDelay is how long the CAs must have been unchanged before a replica acts on them: API servers learn of
	// a new CA before a replica serves by it, and a Secret doesn't come back while hssgate is being uninstalled.
	settleDelay = 10 * time.Second
	// untrustDelay is how long a CA that has left the Secret stays in a caBundle, for replicas that still serve by it.
	untrustDelay  = 10 * time.Minute
	conflictRetry = time.Second                  // the pause after a write that another one overtook
	fieldOwner    = client.FieldOwner("hssgate") // owns the CA that hssgate writes into the Secret
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
	// Configurations name the webhook configurations, by which the API server calls hssgate and trusts the CAs.
	Configurations []client.Object
	Issuer         *certificate.Issuer
	Clock          clock.PassiveClock
	Log            *slog.Logger

	// held describes the CAs in the Secret. They, and the caBundles, were last changed at a time.
	held    string
	changed time.Time
	trusted atomic.Bool
}

// Ready returns why the API server can't connect to the replica yet, or nil.
func (c *Certificates) Ready() error {
	if c.Issuer.CA() == nil {
		return fmt.Errorf("%w: Secret %q holds none", certificate.ErrNoCA, c.Secret)
	}
	if !c.trusted.Load() {
		return fmt.Errorf("the caBundle of ValidatingWebhookConfiguration %q doesn't hold the CA yet", c.Configurations[0].GetName())
	}
	return nil
}

// SetupWithManager follows the Secret and the webhook configurations on every replica. The manager's cache must hold no others.
func (c *Certificates) SetupWithManager(mgr ctrl.Manager) error {
	const name = "certificates"
	watched := slices.Clone(c.Configurations)
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

// Reconcile repairs the Secret and the caBundles, and takes over the CA of the Secret, once it is trusted. It does so
// again when a change is long enough ago to go on.
func (c *Certificates) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	switch err := c.reconcile(ctx); {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: conflictRetry}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	since := c.Clock.Since(c.changed)
	for _, delay := range []time.Duration{settleDelay, untrustDelay} {
		if since < delay {
			return ctrl.Result{RequeueAfter: delay - since}, nil
		}
	}
	return ctrl.Result{}, nil
}

func (c *Certificates) reconcile(ctx context.Context) error {
	configurations, err := c.read(ctx)
	if err != nil {
		return err
	}
	cas := []*certificate.CA{c.Issuer.CA()}
	if c.Secret.Name != "" {
		if cas, err = c.inSecret(ctx); err != nil {
			return err
		}
	}
	if err := c.writeBundles(ctx, configurations, cas); err != nil {
		return err
	}
	if err := c.adopt(cas[0], configurations); err != nil {
		return err
	}
	if trustedByAll(configurations, c.Issuer.CA()) {
		c.trusted.Store(true)
	}
	return nil
}

func (c *Certificates) unchangedFor(d time.Duration) bool { return c.Clock.Since(c.changed) >= d }

// inSecret returns the valid CAs in the Secret, the oldest first. If ca.crt and ca.key are missing, damaged or expired,
// it writes them: the CA that this replica serves by, or a new one. A Secret that is gone comes back later.
func (c *Certificates) inSecret(ctx context.Context) ([]*certificate.CA, error) {
	secret, now, serving := &corev1.Secret{}, c.Clock.Now(), c.Issuer.CA()
	if err := c.Client.Get(ctx, c.Secret, secret); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read Secret %q: %w", c.Secret, err)
	}
	cas, complete, problem := parseCAs(secret.Data, now)
	gone := secret.ResourceVersion == ""
	if held := fmt.Sprint(gone, cas); held != c.held {
		c.held, c.changed = held, now
	}
	switch {
	case complete:
		return cas, nil
	case gone && serving != nil && !c.unchangedFor(settleDelay):
		return []*certificate.CA{serving}, nil
	}
	ca, err := serving, error(nil)
	if ca == nil || !ca.ValidAt(now) || slices.ContainsFunc(cas, ca.Equal) {
		ca, err = certificate.NewCA(now)
	}
	if err == nil {
		err = c.write(ctx, secret.ResourceVersion, ca)
	}
	if err != nil {
		return nil, fmt.Errorf("write the CA into Secret %q: %w", c.Secret, err)
	}
	c.Log.Info("CA written into its Secret", "secret", c.Secret.String(), "ca", ca.String(), "problem", problem)
	return append(cas, ca), nil
}

// write writes a CA into a version of the Secret, or creates it: server-side apply can by a right limited to the name.
func (c *Certificates) write(ctx context.Context, version string, ca *certificate.CA) error {
	key, err := ca.KeyPEM()
	if err != nil {
		return err
	}
	secret := applycorev1.Secret(c.Secret.Name, c.Secret.Namespace).WithData(map[string][]byte{keyCertificate: ca.PEM(), keyKey: key})
	if version != "" {
		secret.WithResourceVersion(version)
	}
	return c.Client.Apply(ctx, secret, fieldOwner, client.ForceOwnership)
}

// adopt serves by the oldest CA: at once if the API server accepts no certificate of this replica, else once all
// is unchanged for settleDelay.
func (c *Certificates) adopt(oldest *certificate.CA, configurations []client.Object) error {
	serving := c.Issuer.CA()
	accepted := serving != nil && serving.ValidAt(c.Clock.Now()) && trustedByAll(configurations, serving)
	if oldest.Equal(serving) || accepted && !c.unchangedFor(settleDelay) {
		return nil
	}
	if err := c.Issuer.Use(oldest); err != nil {
		return fmt.Errorf("serve by the CA of Secret %q: %w", c.Secret, err)
	}
	c.Log.Info("serving by another CA", "ca", oldest.String(), "before", serving.String())
	return nil
}

// parseCAs returns the valid CAs in a Secret, the oldest first, whether hssgate's is one, and what is wrong with others.
func parseCAs(data map[string][]byte, now time.Time) (cas []*certificate.CA, complete bool, problem error) {
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
			cas, complete = append(cas, ca), complete || name == keyCertificate
		}
	}
	slices.SortStableFunc(cas, func(a, b *certificate.CA) int { return a.NotBefore().Compare(b.NotBefore()) })
	return cas, complete, errors.Join(problems...)
}

func (c *Certificates) read(ctx context.Context) ([]client.Object, error) {
	var found []client.Object
	for _, named := range c.Configurations {
		o, _ := named.DeepCopyObject().(client.Object) // of the same type
		err := c.Client.Get(ctx, client.ObjectKeyFromObject(named), o)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("read the webhook configuration %q: %w", named.GetName(), err)
		}
		if err == nil {
			found = append(found, o)
		}
	}
	return found, nil
}

func bundlesOf(configurations []client.Object) []*[]byte {
	var all []*[]byte
	for _, configuration := range configurations {
		switch c := configuration.(type) {
		case *admissionregistrationv1.ValidatingWebhookConfiguration:
			for i := range c.Webhooks {
				all = append(all, &c.Webhooks[i].ClientConfig.CABundle)
			}
		case *admissionregistrationv1.MutatingWebhookConfiguration:
			for i := range c.Webhooks {
				all = append(all, &c.Webhooks[i].ClientConfig.CABundle)
			}
		}
	}
	return all
}

func trustedByAll(configurations []client.Object, ca *certificate.CA) bool {
	return ca != nil && !slices.ContainsFunc(bundlesOf(configurations), func(bundle *[]byte) bool {
		return !certificate.Trusts(*bundle, ca)
	})
}

// writeBundles has every webhook trust the CAs. A failure with one configuration doesn't keep the other from being written.
func (c *Certificates) writeBundles(ctx context.Context, configurations []client.Object, cas []*certificate.CA) error {
	var problems []error
	now, keepOthers := c.Clock.Now(), c.Secret.Name == "" || !c.unchangedFor(untrustDelay)
	for _, configuration := range configurations {
		before, _ := configuration.DeepCopyObject().(client.Object) // of the same type
		changed := false
		for _, bundle := range bundlesOf([]client.Object{configuration}) {
			after := certificate.MergeBundle(*bundle, cas, now, keepOthers)
			changed = changed || !bytes.Equal(*bundle, after)
			*bundle = after
		}
		if !changed {
			continue
		}
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := c.Client.Patch(ctx, configuration, patch); client.IgnoreNotFound(err) != nil {
			problems = append(problems, fmt.Errorf("write the caBundle of %q: %w", configuration.GetName(), err))
		} else {
			c.changed = now
		}
	}
	return errors.Join(problems...)
}
