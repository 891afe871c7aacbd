package policy

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The last scan must be recent: new vulnerabilities become known every day.

	forbids:   a scan longer ago than scanAge.max, at an unknown time, or further
	           in the future than clocks can differ
	allows:    newer ones
	evaluates: each record; architectures have no times of their own
*/
func compileScanAge(r *v1alpha1.Requirements, _ *field.Path) ([]rule, field.ErrorList) {
	if r.ScanAge == nil {
		return nil, nil
	}
	limit := r.ScanAge.Max.Duration
	return []rule{{fmt.Sprintf("at most %s", limit), func(_ context.Context, s subject) string {
		age := s.now.Sub(s.record.ScannedAt)
		switch {
		case s.record.ScannedAt.IsZero():
			return fmt.Sprintf("time of scan unknown, allowed %s", duration.HumanDuration(limit))
		case age < -clockTolerance:
			return fmt.Sprintf("scanned %s from now by HSS's clock, allowed %s ago", duration.HumanDuration(-age), duration.HumanDuration(limit))
		case limit > 0 && age <= limit:
			return ""
		}
		return fmt.Sprintf("scanned over %s ago, allowed %s", duration.HumanDuration(age), duration.HumanDuration(limit))
	}}}, nil
}

// clockTolerance is how far HSS's clock may be ahead of ours: HSS refuses
// signatures with a greater difference.
const clockTolerance = 15 * time.Minute
