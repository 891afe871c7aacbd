package policy

import (
	"context"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/internal/language"
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
	return []rule{{"at most " + readable(language.English, limit), func(_ context.Context, s subject) string {
		age := s.now.Sub(s.record.ScannedAt)
		switch {
		case s.record.ScannedAt.IsZero():
			return s.Sprintf("time of scan unknown, allowed %s", readable(s.Language, limit))
		case age < -clockTolerance:
			return s.Sprintf("scanned %s from now by HSS's clock, allowed %s ago", readable(s.Language, rounded(-age)), readable(s.Language, limit))
		case limit > 0 && age <= limit:
			return ""
		}
		found, allowed := readablePair(s.Language, age, limit)
		return s.Sprintf("scanned %s ago, allowed %s", found, allowed)
	}}}, nil
}

// clockTolerance is how far HSS's clock may be ahead of ours: HSS refuses
// signatures with a greater difference.
const clockTolerance = 15 * time.Minute

const day = 24 * time.Hour

// readable formats d: "7 days", "36h", "1h30m", "5m", "30s".
func readable(l language.Language, d time.Duration) string {
	switch {
	case d == day:
		return l.Text("1 day")
	case d >= day && d%day == 0:
		return l.Sprintf("%d days", d/day)
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// rounded leaves out of an age what is small beside it.
func rounded(d time.Duration) time.Duration {
	for _, unit := range []time.Duration{day, time.Minute, time.Second} {
		if d >= 2*unit {
			return d.Truncate(unit)
		}
	}
	return d
}

// readablePair formats an age and a limit that differ so that the texts differ, too.
func readablePair(l language.Language, age, limit time.Duration) (string, string) {
	allowed := readable(l, limit)
	for _, d := range []time.Duration{rounded(age), age.Truncate(time.Second)} {
		if found := readable(l, d); found != allowed {
			return found, allowed
		}
	}
	return age.String(), limit.String()
}
