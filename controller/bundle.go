package controller

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/hssgate/hssgate/certificate"
)

// Bundle keeps the authority of hssgate's own certificates in the caBundle of
// the webhooks of one ValidatingWebhookConfiguration, whenever it is made or
// changed. It is for replicas that each have an authority of their own, and
// every one adds its own: see Certificates for those that share one.
type Bundle struct {
	Client client.Client
	// ConfigurationName is that of the ValidatingWebhookConfiguration.
	ConfigurationName string
	// Authority is the certificate to add, in PEM.
	Authority []byte
	Clock     clock.PassiveClock

	trusted atomic.Bool
}

// Ready returns why the API server doesn't trust the authority yet, or nil.
// Without a webhook configuration nobody asks, and it is ready.
func (b *Bundle) Ready() error { return trusted(&b.trusted, b.ConfigurationName) }

func trusted(yes *atomic.Bool, configuration string) error {
	if !yes.Load() {
		return fmt.Errorf("the caBundle of ValidatingWebhookConfiguration %q doesn't hold the authority yet", configuration)
	}
	return nil
}

// SetupWithManager follows the configuration on every replica.
func (b *Bundle) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("ca-bundle").
		For(&admissionregistrationv1.ValidatingWebhookConfiguration{}, builder.WithPredicates(named(b.ConfigurationName))).
		WatchesRawSource(atStart(client.ObjectKey{Name: b.ConfigurationName})).
		WithOptions(ctrlcontroller.Options{NeedLeaderElection: new(false)}).
		Complete(b)
	if err != nil {
		return fmt.Errorf("follow the webhook configuration: %w", err)
	}
	return nil
}

func named(name string) predicate.Predicate {
	return predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetName() == name })
}

// Reconcile adds the authority where it is missing.
func (b *Bundle) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	configuration, err := readConfiguration(ctx, b.Client, b.ConfigurationName)
	if err != nil {
		return ctrl.Result{}, err
	}
	err = writeBundles(ctx, b.Client, configuration, func(bundle []byte) []byte {
		return certificate.AddToBundle(bundle, b.Authority, b.Clock.Now())
	})
	if err != nil {
		return ctrl.Result{}, err
	}
	b.trusted.Store(true)
	return ctrl.Result{}, nil
}

// readConfiguration returns nil if there's none.
func readConfiguration(ctx context.Context, c client.Reader, name string) (*admissionregistrationv1.ValidatingWebhookConfiguration, error) {
	var configuration admissionregistrationv1.ValidatingWebhookConfiguration
	err := c.Get(ctx, client.ObjectKey{Name: name}, &configuration)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // an absent one is nothing to do, not a failure
	}
	if err != nil {
		return nil, fmt.Errorf("read ValidatingWebhookConfiguration %q: %w", name, err)
	}
	return &configuration, nil
}

func bundles(configuration *admissionregistrationv1.ValidatingWebhookConfiguration) [][]byte {
	if configuration == nil {
		return nil
	}
	all := make([][]byte, 0, len(configuration.Webhooks))
	for i := range configuration.Webhooks {
		all = append(all, configuration.Webhooks[i].ClientConfig.CABundle)
	}
	return all
}

// writeBundles changes the caBundle of every webhook; a configuration of nil has
// none.
func writeBundles(ctx context.Context, c client.Client, configuration *admissionregistrationv1.ValidatingWebhookConfiguration, change func([]byte) []byte) error {
	if configuration == nil {
		return nil
	}
	before := configuration.DeepCopy()
	changed := false
	for i := range configuration.Webhooks {
		old := &configuration.Webhooks[i].ClientConfig.CABundle
		bundle := change(*old)
		changed = changed || !bytes.Equal(*old, bundle)
		*old = bundle
	}
	if !changed {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := c.Patch(ctx, configuration, patch); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("write the caBundle of %q: %w", configuration.Name, err))
	}
	return nil
}
