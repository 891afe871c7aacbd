package controller

import (
	"context"
	"fmt"
	"sync/atomic"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/hssgate/hssgate/certificate"
)

// Bundle keeps the authority of hssgate's own certificates in the caBundle of
// the webhooks that ask it, whenever their configurations are made or changed. It is for replicas that each have an authority of their own, and
// every one adds its own: see Certificates for those that share one.
type Bundle struct {
	Client client.Client
	// ConfigurationName is that of the ValidatingWebhookConfiguration.
	ConfigurationName string
	// MutatingConfigurationName is that of the MutatingWebhookConfiguration;
	// empty: there is none.
	MutatingConfigurationName string
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
	key := client.ObjectKey{Name: b.ConfigurationName}
	following := ctrl.NewControllerManagedBy(mgr).
		Named("ca-bundle").
		For(&admissionregistrationv1.ValidatingWebhookConfiguration{}, builder.WithPredicates(named(b.ConfigurationName))).
		WatchesRawSource(atStart(key)).
		WithOptions(ctrlcontroller.Options{NeedLeaderElection: new(false)})
	if err := followMutating(following, key, b.MutatingConfigurationName).Complete(b); err != nil {
		return fmt.Errorf("follow the webhook configuration: %w", err)
	}
	return nil
}

// followMutating asks for key whenever the MutatingWebhookConfiguration changes,
// if there is to be one.
func followMutating(following *builder.Builder, key client.ObjectKey, name string) *builder.Builder {
	if name == "" {
		return following
	}
	return following.Watches(&admissionregistrationv1.MutatingWebhookConfiguration{}, toKey(key), builder.WithPredicates(named(name)))
}

// toKey asks for one key, whatever has changed.
func toKey(key client.ObjectKey) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: key}}
	})
}

func named(name string) predicate.Predicate {
	return predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetName() == name })
}

// Reconcile adds the authority where it is missing.
func (b *Bundle) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	configurations, err := readConfigurations(ctx, b.Client, b.ConfigurationName, b.MutatingConfigurationName)
	if err != nil {
		return ctrl.Result{}, err
	}
	err = writeBundles(ctx, b.Client, configurations, func(bundle []byte) []byte {
		return certificate.AddToBundle(bundle, b.Authority, b.Clock.Now())
	})
	if err != nil {
		return ctrl.Result{}, err
	}
	b.trusted.Store(true)
	return ctrl.Result{}, nil
}
