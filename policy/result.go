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

// scannedAsItIs reports whether the times of a record show that its scan is of
// the image as it is: after its last update, at a time that is known.
func scannedAsItIs(r *Record) bool {
	return !r.ScannedAt.IsZero() && updatedAfter(r.UpdatedAt, r.ScannedAt) == ""
}

// completedResults returns the completed results that decide for a record whose
// scan is done, under way or to come, or says why there is none. There can be two:
// what the row shows, and what it showed when an earlier scan of the same digest
// was done. That one also counts if the image was updated since: an unchanged
// image may have been pushed again. A result without the time of its scan is not
// known to be completed, and counts all the same if it is bad.
func completedResults(r *Record) (results []*Record, why string) {
	status := decisiveScan(r).Status
	isDone := stageOf(status) == stageDone
	late, last := updatedAfter(r.UpdatedAt, r.ScannedAt), lastCompleted(r)
	switch {
	case isDone && r.ScannedAt.IsZero():
		return []*Record{r}, "the time of its scan is unknown"
	case isDone && late == "":
		return []*Record{r}, ""
	case status == v1alpha1.ScanStatusUnscan:
		return nil, pendingText(status)
	case late != "" && last == nil:
		return nil, late
	case isDone:
		return []*Record{r, last}, ""
	}
	if isRescan(r.Scan.Status) && !r.ScannedAt.IsZero() && r.Severity != "" {
		results = append(results, asCompleted(r))
	}
	if last != nil {
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
	if last == nil || !scannedAsItIs(last) {
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

// lastScansOf returns the last completed scans of the digest of an architecture
// that is being scanned again. Several architectures may have it. There is none
// unless all were completed.
func lastScansOf(r *Record, a *Architecture) (scans []*Scan) {
	last := r.LastCompleted
	if last == nil || a.Digest == "" || !isRescan(a.Scan.Status) || !scannedAsItIs(last) {
		return nil
	}
	for i := range last.Architectures {
		before := &last.Architectures[i]
		switch {
		case before.Digest != a.Digest:
		case before.Scan.Status != v1alpha1.ScanStatusSuccess:
			return nil
		default:
			scans = append(scans, &before.Scan)
		}
	}
	return scans
}
