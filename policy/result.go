package policy

import (
	"slices"
	"time"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// decisiveScan is the scan that stands for the record: that of the one
// architecture which the reference pins, else the record's own.
func decisiveScan(r *Record) *Scan {
	if r.PinnedArchitecture {
		return &r.Architectures[0].Scan
	}
	return &r.Scan
}

// lacksArchitectures tells whether nothing can be said of what would run.
func lacksArchitectures(r *Record) bool {
	return (r.MultiArch || r.PinnedArchitecture) && len(r.Architectures) == 0
}

// updatedAfter says that an image was pushed after its scan, if so.
func updatedAfter(updated, scanned time.Time) string {
	if updated.IsZero() || scanned.IsZero() || !updated.After(scanned) {
		return ""
	}
	return "updated " + readable(updated.Sub(scanned)) + " after its last scan"
}

// lastResults returns the completed results that decide for a record which is
// waiting for a scan or being scanned, or says why there is none. There can be
// two: what the row still shows, and what it showed when its scan was done.
func lastResults(r *Record) (results []*Record, why string) {
	status := decisiveScan(r).Status
	if status == v1alpha1.ScanStatusUnscan {
		return nil, pendingText(status)
	}
	if late := updatedAfter(r.UpdatedAt, r.ScannedAt); late != "" {
		return nil, late
	}
	if isRescan(r.Scan.Status) && !r.ScannedAt.IsZero() && r.Severity != "" {
		results = append(results, asCompleted(r))
	}
	if last := lastCompleted(r); last != nil {
		if late := updatedAfter(latest(r.UpdatedAt, last.UpdatedAt), last.ScannedAt); late != "" {
			return nil, late
		}
		results = append(results, last)
	}
	if len(results) == 0 {
		return nil, pendingText(status)
	}
	return results, ""
}

// asCompleted reads what r shows of its last scan as that scan's result.
func asCompleted(r *Record) *Record {
	completed := *r
	completed.Scan.Status = v1alpha1.ScanStatusSuccess
	completed.Architectures = slices.Clone(r.Architectures)
	for i := range completed.Architectures {
		scan := &completed.Architectures[i].Scan
		if isRescan(scan.Status) {
			scan.Status = v1alpha1.ScanStatusSuccess
		}
	}
	return &completed
}

// isRescan tells whether an earlier scan may stand behind a pending status.
func isRescan(s v1alpha1.ScanStatus) bool {
	return s == v1alpha1.ScanStatusScanning || s == v1alpha1.ScanStatusWaitingForScan
}

// lastCompleted is r.LastCompleted if it is a completed scan of the same
// digest, which is the only proof that it is of the same image.
func lastCompleted(r *Record) *Record {
	last := r.LastCompleted
	if last == nil {
		return nil
	}
	if r.PinnedArchitecture {
		return pinnedTo(last, r.Architectures[0].Digest)
	}
	same := r.Digest != "" && r.Digest == last.Digest && !last.PinnedArchitecture
	if !same || last.Scan.Status != v1alpha1.ScanStatusSuccess || lacksArchitectures(last) {
		return nil
	}
	return last
}

// pinnedTo reduces last to its architecture with digest; nil if that has no
// completed scan.
func pinnedTo(last *Record, digest string) *Record {
	a := architectureOf(last, digest)
	if a == nil || a.Scan.Status != v1alpha1.ScanStatusSuccess {
		return nil
	}
	pinned := *last
	pinned.Architectures = []Architecture{*a}
	pinned.PinnedArchitecture = true
	return &pinned
}

func architectureOf(r *Record, digest string) *Architecture {
	for i := range r.Architectures {
		if digest != "" && r.Architectures[i].Digest == digest {
			return &r.Architectures[i]
		}
	}
	return nil
}

// lastScanOf is the last completed scan of an architecture that is being
// scanned again; nil if none is known.
func lastScanOf(r *Record, a *Architecture) *Scan {
	last := r.LastCompleted
	if last == nil || !isRescan(a.Scan.Status) || updatedAfter(r.UpdatedAt, last.ScannedAt) != "" {
		return nil
	}
	before := architectureOf(last, a.Digest)
	if before == nil || before.Scan.Status != v1alpha1.ScanStatusSuccess {
		return nil
	}
	return &before.Scan
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
