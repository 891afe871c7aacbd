package policy_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func scannedAt(at time.Time) policy.Record {
	return with(func(r *policy.Record) { r.ScannedAt, r.UpdatedAt = at, time.Time{} })
}

func youngerThan(d time.Duration) v1alpha1.Requirements {
	return v1alpha1.Requirements{ScanAge: &v1alpha1.ScanAgeRequirement{Max: metav1.Duration{Duration: d}}}
}

func TestScanAge(t *testing.T) {
	t.Parallel()
	runRequirement(t, youngerThan(7*day), []requirementCase{
		{"a scan of this moment passes", scannedAt(now()), ""},
		{"a scan of just the allowed age passes", scannedAt(ago(7 * day)), ""},
		{"an old scan fails", scannedAt(ago(60 * day)), "scanAge: scanned 60 days ago, allowed 7 days"},
		{"a scan that is hours too old says the hours", scannedAt(ago(7*day + 5*time.Hour)),
			"scanAge: scanned 173h ago, allowed 168h"},
		{"a scan that is a minute too old says the minute", scannedAt(ago(7*day + time.Minute)),
			"scanAge: scanned 168h1m ago, allowed 168h"},
		{"a scan that is a second too old says the second", scannedAt(ago(7*day + time.Second)),
			"scanAge: scanned 168h0m1s ago, allowed 168h"},
		{"a scan that is a nanosecond too old fails", scannedAt(ago(7*day + 1)),
			"scanAge: scanned 168h0m0.000000001s ago, allowed 168h0m0s"},
		{"an unknown time fails", scannedAt(time.Time{}), "notScanned: the time of its scan is unknown\nscanAge: time of scan unknown, allowed 7 days"},
		{"clocks may differ a little", scannedAt(ago(-10 * time.Minute)), ""},
		{"a scan in the future fails", scannedAt(ago(-3 * day)),
			"scanAge: scanned 3 days from now by HSS's clock, allowed 7 days ago"},
		{"a failed scan has no age", failed(), "scanStatus: scan failed (authentication_failed: 认证失败), allowed success"},
	})
}

func TestScanAgeInSmallUnits(t *testing.T) {
	t.Parallel()
	runRequirement(t, youngerThan(90*time.Second), []requirementCase{
		{"minutes", scannedAt(ago(5 * time.Minute)), "scanAge: scanned 5m ago, allowed 1m"},
		{"hours", scannedAt(ago(30 * time.Hour)), "scanAge: scanned 30h ago, allowed 1m"},
		{"a day", scannedAt(ago(day)), "scanAge: scanned 1 day ago, allowed 1m"},
	})
}
