package audit

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// writeStatus writes into each policy's status what was found for it.
func (a *Auditor) writeStatus(ctx context.Context, s *Summary) error {
	var list v1alpha1.ImageScanPolicyList
	if err := a.Client.List(ctx, &list); err != nil {
		return fmt.Errorf("read the policies: %w", err)
	}
	var failures []error
	for i := range list.Items {
		p := &list.Items[i]
		before := p.DeepCopy()
		p.Status.LastAudit = new(s.Status(p.Name))
		// Whoever writes the conditions meanwhile writes other fields.
		if err := a.Client.Status().Patch(ctx, p, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
			failures = append(failures, fmt.Errorf("write status of policy %q: %w", before.Name, err))
		}
	}
	return errors.Join(failures...)
}
