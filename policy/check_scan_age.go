package policy

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The last scan must not be too long ago: new vulnerabilities become known
every day, and an old scan knows nothing of them.

	forbids:  a scan longer ago than scanAge.max, one at an unknown time, one in
	          the future by more than clocks can differ
	allows:   younger ones
	judges:   each record; architectures have no times of their own
*/

func checkScanAge() check {
	return check{id: CheckScanAge, scope: ofRecord, needsResult: true, compile: compileScanAge}
}

// clockTolerance is how far HSS's clock may be ahead of ours. HSS refuses
// signatures with a greater difference.
const clockTolerance = 15 * time.Minute

func compileScanAge(r *v1alpha1.Requirements, path *field.Path) ([]judge, field.ErrorList) {
	if r.ScanAge == nil {
		return nil, nil
	}
	limit := r.ScanAge.Max.Duration
	var errs field.ErrorList
	if limit <= 0 {
		errs = append(errs, field.Invalid(path.Child("scanAge", "max"), limit.String(), "must be longer than 0s, such as 168h"))
	}
	return []judge{func(_ context.Context, s *subject) string {
		return judgeScanAge(s.record.ScannedAt, s.now, limit)
	}}, errs
}

func judgeScanAge(scanned, now time.Time, limit time.Duration) string {
	if scanned.IsZero() {
		return fmt.Sprintf("time of scan unknown, allowed %s", readable(limit))
	}
	age := now.Sub(scanned)
	switch {
	case age < -clockTolerance:
		return fmt.Sprintf("scanned %s from now by HSS's clock, allowed %s ago", readable(-age), readable(limit))
	case limit > 0 && age <= limit:
		return ""
	}
	found, allowed := readablePair(age, limit)
	return fmt.Sprintf("scanned %s ago, allowed %s", found, allowed)
}
