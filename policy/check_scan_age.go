package policy

import (
	"context"
	"fmt"
	"time"

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
			return fmt.Sprintf("time of scan unknown, allowed %s", readable(limit))
		case age < -clockTolerance:
			return fmt.Sprintf("scanned %s from now by HSS's clock, allowed %s ago", readable(-age), readable(limit))
		case limit > 0 && age <= limit:
			return ""
		}
		found, allowed := readablePair(age, limit)
		return fmt.Sprintf("scanned %s ago, allowed %s", found, allowed)
	}}}, nil
}

// clockTolerance is how far HSS's clock may be ahead of ours: HSS refuses
// signatures with a greater difference.
const clockTolerance = 15 * time.Minute

const day = 24 * time.Hour

// readable formats d in its largest fitting unit: "7 days", "36h", "5m", "30s".
func readable(d time.Duration) string {
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d == day:
		return "1 day"
	case d >= time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d >= time.Second:
		return d.Truncate(time.Second).String()
	}
	return d.String()
}

// readablePair formats two durations that differ so that the texts differ, too.
func readablePair(a, b time.Duration) (string, string) {
	if x, y := readable(a), readable(b); x != y {
		return x, y
	}
	if x := a.Truncate(time.Second); x != b {
		a = x
	}
	return a.String(), b.String()
}
