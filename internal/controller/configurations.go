package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/certificate"
)

// read returns the webhook configurations that exist.
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

// writeBundles changes the caBundle of every webhook, and reports whether one differed. A failure with one
// configuration doesn't keep the other from being written.
func writeBundles(ctx context.Context, c client.Client, configurations []client.Object, change func([]byte) []byte) (written bool, err error) {
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
		written = true
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := c.Patch(ctx, configuration, patch); client.IgnoreNotFound(err) != nil {
			problems = append(problems, fmt.Errorf("write the caBundle of %q: %w", configuration.GetName(), err))
		}
	}
	return written, errors.Join(problems...)
}
