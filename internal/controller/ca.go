package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/certificate"
)

const (
	// keyCertificate and keyKey are the Secret's keys of the CA that hssgate makes. Other CAs are in pairs
	// named alike: NAME.crt and NAME.key.
	keyCertificate, keyKey = "ca.crt", "ca.key"
	// untrustDelay is how long a CA that has left the Secret stays in a caBundle, for replicas that still serve by it.
	untrustDelay = 10 * time.Minute
	// restoreDelay keeps a Secret from coming back while hssgate is being uninstalled.
	restoreDelay = 10 * time.Second
	// fieldOwner owns the fields of a Secret that hssgate creates.
	fieldOwner = client.FieldOwner("hssgate")
)

// CA makes the CA in the Secret if there is none, and keeps every caBundle equal to the CAs in the Secret.
// The leader runs it. A Secret that has lost its CA gets the one back that this replica serves by.
type CA struct {
	Serving

	// held describes the CAs that the Secret has held since a time.
	held  string
	since time.Time
}

// SetupWithManager follows the Secret and the webhook configurations on the leader.
func (c *CA) SetupWithManager(mgr ctrl.Manager) error {
	if err := c.Configurations.follow(mgr, "ca", c.Secret).Complete(c); err != nil {
		return fmt.Errorf("keep the CA: %w", err)
	}
	return nil
}

// Reconcile repairs the Secret and the caBundles.
func (c *CA) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	secret, configurations, err := c.read(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	now, serving, others := c.Clock.Now(), c.Issuer.CA(), true
	cas, wait := []*certificate.CA{serving}, time.Duration(0)
	if secret.ResourceVersion == "" && serving != nil {
		wait = restoreDelay - c.unchanged(nil, now)
	}
	if wait <= 0 {
		if cas, err = c.complete(ctx, secret, now); err != nil {
			return afterConflict(err)
		}
		wait = untrustDelay - c.unchanged(cas, now)
		others = wait > 0
	}
	err = writeBundles(ctx, c.Client, configurations, func(bundle []byte) []byte {
		return certificate.MergeBundle(bundle, cas, now, others)
	})
	if err != nil {
		return afterConflict(err)
	}
	return ctrl.Result{RequeueAfter: max(0, wait)}, nil
}

// unchanged returns for how long the Secret has been seen to hold just these CAs.
func (c *CA) unchanged(cas []*certificate.CA, now time.Time) time.Duration {
	if held := fmt.Sprint(cas); held != c.held {
		c.held, c.since = held, now
	}
	return now.Sub(c.since)
}

// complete writes a CA into the Secret if ca.crt and ca.key are missing, damaged or expired: the one that this
// replica serves by, or a new one. It returns the CAs that the Secret then holds.
func (c *CA) complete(ctx context.Context, secret *corev1.Secret, now time.Time) ([]*certificate.CA, error) {
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

func (c *CA) write(ctx context.Context, secret *corev1.Secret, ca *certificate.CA) error {
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
