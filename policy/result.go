package policy

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// result is a completed scan that decides for a record, or one that failed.
type result struct {
	// record is what HSS shows, or showed, with the scan.
	record *Record
	// scan is that of the one architecture that the reference pins, or else the
	// record's own.
	scan *Scan
	// architectures are those that must pass besides.
	architectures []architectureScan
}

type architectureScan struct {
	prefix string // of what is said of the scan
	scan   *Scan
}

// resultsOf returns the results that decide for a record, and why any of them, or of
// their architectures, lacks a completed scan.
func resultsOf(r *Record) (results []result, missing []string) {
	records, why := decisiveRecords(r)
	if why != "" {
		missing = append(missing, why)
	}
	for _, record := range records {
		one := result{record: record, scan: decisiveScan(record)}
		for i := range record.Architectures {
			if record.PinnedArchitecture {
				break
			}
			a := &record.Architectures[i]
			scans := []*Scan{&a.Scan}
			if stageOf(a.Scan.Status) == stagePending {
				if scans = lastScansOf(record, a); len(scans) == 0 {
					missing = append(missing, a.prefix()+pendingText(a.Scan.Status))
				}
			}
			for _, scan := range scans {
				one.architectures = append(one.architectures, architectureScan{a.prefix(), scan})
			}
		}
		results = append(results, one)
	}
	return results, missing
}

// unscanned returns why no completed scan of the record is known; empty: one is.
func unscanned(r *Record) string {
	results, missing := resultsOf(r)
	for _, one := range results {
		for _, a := range append(one.architectures, architectureScan{"", one.scan}) {
			if stageOf(a.scan.Status) != stageDone {
				return a.prefix + "its scan ended with " + orElse(string(a.scan.Status), "no status")
			}
		}
	}
	if len(missing) > 0 {
		return missing[0]
	}
	return ""
}

// prefix names an architecture by the beginning of its digest.
func (a *Architecture) prefix() string {
	const short = len("sha256:") + 12
	name := clean(a.Digest)
	switch {
	case a.Digest == "":
		name = orElse(a.ID, "without digest")
	case len(a.Digest) > short:
		name = clean(a.Digest[:short]) + "…"
	}
	return "architecture " + name + ": "
}

func decisiveScan(r *Record) *Scan {
	if r.PinnedArchitecture {
		return &r.Architectures[0].Scan
	}
	return &r.Scan
}

// lacksArchitectures reports whether it is unknown what would run.
func lacksArchitectures(r *Record) bool {
	return (r.MultiArch || r.PinnedArchitecture) && len(r.Architectures) == 0
}

// updatedAfter returns a message if an image was updated after its scan.
func updatedAfter(updated, scanned time.Time) string {
	if updated.IsZero() || scanned.IsZero() || !updated.After(scanned) {
		return ""
	}
	return "updated " + duration.HumanDuration(updated.Sub(scanned)) + " after its last scan"
}

// scannedAsItIs reports whether the scan is known to be of the image as it is now.
func scannedAsItIs(r *Record) bool {
	return !r.ScannedAt.IsZero() && updatedAfter(r.UpdatedAt, r.ScannedAt) == ""
}

// decisiveRecords returns the records whose results decide for a record, and why one of
// them, or all, lack a completed scan. There can be two completed results: what
// the row shows, and what it showed when an earlier scan of the same digest was
// completed. The latter also counts if the image was updated since: an unchanged
// image may have been pushed again. A result without the time of its scan is not
// known to be completed, but still counts if it is bad.
func decisiveRecords(r *Record) (records []*Record, why string) {
	if lacksArchitectures(r) {
		return nil, "HSS lists none of its architectures"
	}
	status := decisiveScan(r).Status
	late := updatedAfter(r.UpdatedAt, r.ScannedAt)
	var completed []*Record
	if last := lastCompleted(r); last != nil {
		completed = append(completed, last)
	}
	switch stage := stageOf(status); {
	case stage == stageUnknown || stage == stageFailed:
		return []*Record{r}, late
	case stage == stageDone && r.ScannedAt.IsZero():
		return []*Record{r}, "the time of its scan is unknown"
	case stage == stageDone && late == "":
		return []*Record{r}, ""
	case status == v1alpha1.ScanStatusUnscan:
		return nil, pendingText(status)
	case late != "" && completed == nil:
		return nil, late
	case stage == stageDone:
		return append([]*Record{r}, completed...), ""
	case showsLastResult(r):
		return append([]*Record{asCompleted(r)}, completed...), ""
	case completed != nil:
		return completed, ""
	}
	return nil, pendingText(status)
}

// showsLastResult reports whether a record that is being scanned again still shows
// the result of its last scan.
func showsLastResult(r *Record) bool {
	return isRescan(r.Scan.Status) && !r.ScannedAt.IsZero() && r.Severity != ""
}

// asCompleted returns what r still shows of its last scan as that scan's result.
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

// isRescan reports whether an earlier scan may exist beside a pending one.
func isRescan(s v1alpha1.ScanStatus) bool {
	return s == v1alpha1.ScanStatusScanning || s == v1alpha1.ScanStatusWaitingForScan
}

// lastCompleted returns r.LastCompleted if it is a completed scan of the same
// digest, which is the only proof that it is of the same image; or nil.
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

// pinnedTo reduces last to its architecture with a digest; nil if that has no
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
// that is being scanned again. Several architectures may have it; without a
// completed scan of each there is none.
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
