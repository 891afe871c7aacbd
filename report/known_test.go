package report

import (
	"testing"
	"time"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	scanned := func(change func(*policy.Record)) policy.Facts {
		r := policy.Record{Severity: "Low", Scan: policy.Scan{Status: v1alpha1.ScanStatusSuccess}, ScannedAt: now.Add(-6 * time.Hour), UpdatedAt: now.Add(-48 * time.Hour)}
		change(&r)
		return policy.Facts{State: policy.StateFound, Records: []policy.Record{r}}
	}
	tests := map[string]struct {
		facts policy.Facts
		want  string
	}{
		"not found":          {policy.Facts{State: policy.StateNotFound}, "nothing"},
		"unavailable":        {policy.Facts{State: policy.StateUnavailable}, "HSS cannot be asked"},
		"the zero value":     {policy.Facts{}, "HSS cannot be asked"},
		"clean":              {scanned(func(*policy.Record) {}), "severity Low, scanned 6h ago"},
		"without a severity": {scanned(func(r *policy.Record) { r.Severity = "" }), "no severity, scanned 6h ago"},
		"every count": {
			scanned(func(r *policy.Record) {
				r.Scan.Vulnerabilities, r.Scan.MaliciousFiles, r.Scan.UnsafeSettings = new(1), new(1), new(2)
			}),
			"severity Low, 1 vulnerability, 1 malicious file, 2 unsafe settings, scanned 6h ago",
		},
		"a waiting rescan": {scanned(func(r *policy.Record) { r.Scan.Status = v1alpha1.ScanStatusWaitingForScan }), "waiting for a scan again; last severity Low, scanned 6h ago"},
		"an unknown status": {
			scanned(func(r *policy.Record) { r.Scan.Status, r.ScannedAt = "paused", time.Time{} }), "scan paused",
		},
		"scanned in the future":     {scanned(func(r *policy.Record) { r.ScannedAt = now.Add(5 * time.Minute) }), "severity Low, scanned 5m from now"},
		"scanned in the far future": {scanned(func(r *policy.Record) { r.ScannedAt = time.UnixMilli(253402300799999) }), "severity Low, scanned 106751d from now"},
		"pushed in the future": {
			scanned(func(r *policy.Record) { r.UpdatedAt = now.Add(50 * time.Hour) }), "severity Low, scanned 6h ago, pushed 2d from now",
		},
		"scanned just now": {scanned(func(r *policy.Record) { r.ScannedAt = now.Add(-5 * time.Second) }), "severity Low, scanned 5s ago"},
		"minutes ago":      {scanned(func(r *policy.Record) { r.ScannedAt = now.Add(-5 * time.Minute) }), "severity Low, scanned 5m ago"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Describe(&tt.facts, now); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
