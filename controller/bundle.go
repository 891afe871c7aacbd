package controller

import (
	"bytes"
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
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
// changed. Every replica adds its own.
type Bundle struct {
	Client client.Client
	// ConfigurationName is that of the ValidatingWebhookConfiguration.
	ConfigurationName string
	// Authority is the certificate to add, in PEM.
	Authority []byte
	Clock     clock.PassiveClock
}

// SetupWithManager follows the configuration on every replica.
func (b *Bundle) SetupWithManager(mgr ctrl.Manager) error {
	named := predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetName() == b.ConfigurationName })
	err := ctrl.NewControllerManagedBy(mgr).
		Named("ca-bundle").
		For(&admissionregistrationv1.ValidatingWebhookConfiguration{}, builder.WithPredicates(named)).
		WithOptions(ctrlcontroller.Options{NeedLeaderElection: new(false)}).
		Complete(b)
	if err != nil {
		return fmt.Errorf("follow the webhook configuration: %w", err)
	}
	return nil
}

// Reconcile adds the authority where it is missing.
func (b *Bundle) Reconcile(ctx context.Context, r ctrl.Request) (ctrl.Result, error) {
	var configuration admissionregistrationv1.ValidatingWebhookConfiguration
	if err := b.Client.Get(ctx, r.NamespacedName, &configuration); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := configuration.DeepCopy()
	changed := false
	for i := range configuration.Webhooks {
		old := &configuration.Webhooks[i].ClientConfig.CABundle
		bundle := certificate.AddToBundle(*old, b.Authority, b.Clock.Now())
		changed = changed || !bytes.Equal(*old, bundle)
		*old = bundle
	}
	if !changed {
		return ctrl.Result{}, nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := b.Client.Patch(ctx, &configuration, patch); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(fmt.Errorf("write the caBundle of %q: %w", r.Name, err))
	}
	return ctrl.Result{}, nil
}
