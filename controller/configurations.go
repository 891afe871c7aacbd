package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// readConfigurations returns the webhook configurations that are there, the
// validating one first. Empty names are read for none.
func readConfigurations(ctx context.Context, c client.Reader, validating, mutating string) ([]client.Object, error) {
	var found []client.Object
	for _, one := range []struct {
		name string
		into client.Object
	}{
		{validating, &admissionregistrationv1.ValidatingWebhookConfiguration{}},
		{mutating, &admissionregistrationv1.MutatingWebhookConfiguration{}},
	} {
		if one.name == "" {
			continue
		}
		err := c.Get(ctx, client.ObjectKey{Name: one.name}, one.into)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the webhook configuration %q: %w", one.name, err)
		}
		found = append(found, one.into)
	}
	return found, nil
}

// caBundles are those of all webhooks of a configuration.
func caBundles(configuration client.Object) []*[]byte {
	var all []*[]byte
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
	return all
}

func bundles(configurations []client.Object) [][]byte {
	var all [][]byte
	for _, configuration := range configurations {
		for _, bundle := range caBundles(configuration) {
			all = append(all, *bundle)
		}
	}
	return all
}

// writeBundles changes the caBundle of every webhook. What keeps one
// configuration from being written doesn't keep the other.
func writeBundles(ctx context.Context, c client.Client, configurations []client.Object, change func([]byte) []byte) error {
	var problems []error
	for _, configuration := range configurations {
		problems = append(problems, writeBundlesOf(ctx, c, configuration, change))
	}
	return errors.Join(problems...)
}

func writeBundlesOf(ctx context.Context, c client.Client, configuration client.Object, change func([]byte) []byte) error {
	// It is a copy of the same type.
	before, _ := configuration.DeepCopyObject().(client.Object)
	changed := false
	for _, old := range caBundles(configuration) {
		bundle := change(*old)
		changed = changed || !bytes.Equal(*old, bundle)
		*old = bundle
	}
	if !changed {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := c.Patch(ctx, configuration, patch); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("write the caBundle of %q: %w", configuration.GetName(), err))
	}
	return nil
}
