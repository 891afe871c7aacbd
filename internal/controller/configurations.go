package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/hssgate/hssgate/internal/certificate"
)

// WebhookConfigurations names the webhook configurations by which the API server calls hssgate.
type WebhookConfigurations struct {
	// Validating is the name of the ValidatingWebhookConfiguration.
	Validating string
	// Mutating is the name of the MutatingWebhookConfiguration; optional.
	Mutating string
}

// follow reconciles one key whenever one of the configurations or the Secret (optional) changes, and at the start.
func (w WebhookConfigurations) follow(mgr ctrl.Manager, name string, secret client.ObjectKey) *builder.Builder {
	named := func(key client.ObjectKey) builder.Predicates {
		return builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool { return client.ObjectKeyFromObject(o) == key }))
	}
	b := whenever(mgr, name, name).
		Watches(&admissionregistrationv1.ValidatingWebhookConfiguration{}, enqueue(name), named(client.ObjectKey{Name: w.Validating}))
	if w.Mutating != "" {
		b = b.Watches(&admissionregistrationv1.MutatingWebhookConfiguration{}, enqueue(name), named(client.ObjectKey{Name: w.Mutating}))
	}
	if secret.Name != "" {
		b = b.Watches(&corev1.Secret{}, enqueue(name), named(secret))
	}
	return b
}

// read returns the webhook configurations that exist.
func (w WebhookConfigurations) read(ctx context.Context, c client.Reader) ([]client.Object, error) {
	var found []client.Object
	for _, one := range []struct {
		name string
		into client.Object
	}{
		{w.Validating, &admissionregistrationv1.ValidatingWebhookConfiguration{}},
		{w.Mutating, &admissionregistrationv1.MutatingWebhookConfiguration{}},
	} {
		if one.name == "" {
			continue
		}
		err := c.Get(ctx, client.ObjectKey{Name: one.name}, one.into)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("read the webhook configuration %q: %w", one.name, err)
		}
		if err == nil {
			found = append(found, one.into)
		}
	}
	return found, nil
}

// bundlesOf returns the caBundles of all webhooks.
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

// trustedByAll reports whether every webhook trusts a CA.
func trustedByAll(configurations []client.Object, ca *certificate.CA) bool {
	return ca != nil && !slices.ContainsFunc(bundlesOf(configurations), func(bundle *[]byte) bool {
		return !certificate.Trusts(*bundle, ca)
	})
}

// writeBundles changes the caBundle of every webhook. A failure with one configuration doesn't keep the other
// from being written.
func writeBundles(ctx context.Context, c client.Client, configurations []client.Object, change func([]byte) []byte) error {
	var problems []error
	for _, configuration := range configurations {
		before, _ := configuration.DeepCopyObject().(client.Object) // of the same type
		changed := false
		for _, bundle := range bundlesOf([]client.Object{configuration}) {
			after := change(*bundle)
			changed = changed || !bytes.Equal(*bundle, after)
			*bundle = after
		}
		if !changed {
			continue
		}
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := c.Patch(ctx, configuration, patch); client.IgnoreNotFound(err) != nil {
			problems = append(problems, fmt.Errorf("write the caBundle of %q: %w", configuration.GetName(), err))
		}
	}
	return errors.Join(problems...)
}
