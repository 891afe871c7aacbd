package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Describe puts what HSS knows of an image into a few words. Ages count to now.
func Describe(f *policy.Facts, now time.Time) string {
	switch f.State {
	case policy.StateFound:
	case policy.StateNotFound:
		return "nothing"
	default:
		return "HSS cannot be asked"
	}
	records := make([]string, len(f.Records))
	for i := range f.Records {
		records[i] = describeRecord(&f.Records[i], now)
		if len(records) > 1 {
			records[i] = fmt.Sprintf("%d of %d: %s", i+1, len(records), records[i])
		}
	}
	return strings.Join(records, "; ")
}

func describeRecord(r *policy.Record, now time.Time) string {
	var words []string
	switch {
	case r.Scan.Status == v1alpha1.ScanStatusSuccess:
		words = append(words, findings(r)...)
	case r.Scan.FailedCode != "":
		return "scan " + string(r.Scan.Status) + ": " + r.Scan.FailedCode
	case r.ScannedAt.IsZero():
		return statusWords(r.Scan.Status)
	default:
		words = append(append(words, statusWords(r.Scan.Status)+" again; last"), findings(r)...)
	}
	if !r.ScannedAt.IsZero() {
		words = append(words, "scanned "+when(now.Sub(r.ScannedAt)))
	}
	if r.UpdatedAt.After(r.ScannedAt) && !r.ScannedAt.IsZero() {
		words = append(words, "pushed "+when(now.Sub(r.UpdatedAt)))
	}
	return strings.ReplaceAll(strings.Join(words, ", "), "last, ", "last ")
}

func statusWords(s v1alpha1.ScanStatus) string {
	switch s {
	case v1alpha1.ScanStatusUnscan:
		return "never scanned"
	case v1alpha1.ScanStatusScanning:
		return "being scanned"
	case v1alpha1.ScanStatusWaitingForScan:
		return "waiting for a scan"
	default:
		return "scan " + string(s)
	}
}

// findings are the severity and what the scan found, of the whole and of each
// architecture.
func findings(r *policy.Record) []string {
	words := []string{"no severity"}
	if r.Severity != "" {
		words[0] = "severity " + string(r.Severity)
	}
	words = append(words, counts(&r.Scan)...)
	for i := range r.Architectures {
		if bad := counts(&r.Architectures[i].Scan); len(bad) > 0 {
			words = append(words, fmt.Sprintf("architecture %d of %d: %s", i+1, len(r.Architectures), strings.Join(bad, ", ")))
		}
	}
	return words
}

func counts(s *policy.Scan) []string {
	var words []string
	for _, c := range []struct {
		count     *int
		one, many string
	}{
		{s.Vulnerabilities, "vulnerability", "vulnerabilities"},
		{s.MaliciousFiles, "malicious file", "malicious files"},
		{s.UnsafeSettings, "unsafe setting", "unsafe settings"},
	} {
		switch {
		case c.count == nil || *c.count == 0:
		case *c.count == 1:
			words = append(words, "1 "+c.one)
		default:
			words = append(words, fmt.Sprintf("%d %s", *c.count, c.many))
		}
	}
	return words
}

// when says how long ago something was by HSS's clock, which may run ahead.
func when(d time.Duration) string {
	if d < 0 {
		return age(-max(d, -math.MaxInt64)) + " from now"
	}
	return age(d) + " ago"
}

// age is a duration in its largest unit.
func age(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	case d >= time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	case d >= time.Minute:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}
