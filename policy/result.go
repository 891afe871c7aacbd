package policy

import (
	"cmp"
	"slices"
	"time"

	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// result is a scan that decides for a record, or why there is none.
type result struct {
	// record is what HSS shows, or showed, with the scan.
	record *Record
	// architecture is that of the scan; nil: the scan is the record's own, or of the
	// one architecture that the reference pins.
	architecture *Architecture
	// scan is completed, or has failed; nil: there is none.
	scan    *Scan
	missing string
	// suffix distinguishes messages from those of another result of the record.
	suffix string
}

// eachResult calls do with the results that decide for a record, and with why any of
// them lacks a completed scan. Those of architectures follow their record's.
func eachResult(l language.Language, r *Record, do func(result)) {
	var few [2]*Record
	var one [1]*Scan
	records, why := decisiveRecords(l, few[:0], r)
	if why != "" {
		do(result{missing: why})
	}
	suffix := ""
	for _, record := range records {
		do(result{record: record, scan: decisiveScan(record), suffix: suffix})
		for i := range record.Architectures {
			if record.PinnedArchitecture {
				break
			}
			a := &record.Architectures[i]
			scans := scansOf(one[:0], record, a)
			for _, scan := range scans {
				do(result{record: record, architecture: a, scan: scan, suffix: suffix})
			}
			if len(scans) == 0 {
				do(result{record: record, architecture: a, missing: l.Text(pendingText(a.Scan.Status))})
			}
		}
		suffix = l.Text(" in its last completed scan")
	}
}

// unscanned returns why no completed scan of the record is known; empty: one is.
func unscanned(l language.Language, r *Record) string {
	var failed, missing string
	eachResult(l, r, func(one result) {
		switch {
		case one.scan == nil:
			missing = cmp.Or(missing, one.architecture.prefix(l)+one.missing)
		case stageOf(one.scan.Status) != stageDone:
			failed = cmp.Or(failed, one.architecture.prefix(l)+l.Sprintf("its scan ended with %s", l.Text(orElse(string(one.scan.Status), "no status"))))
		}
	})
	return cmp.Or(failed, missing)
}

// prefix names an architecture, if there is one, by the beginning of its digest.
func (a *Architecture) prefix(l language.Language) string {
	const short = len("sha256:") + 12
	if a == nil {
		return ""
	}
	name := clean(a.Digest)
	switch {
	case a.Digest == "":
		name = orElse(a.ID, l.Text("without digest"))
	case len(a.Digest) > short:
		name = clean(a.Digest[:short]) + "…"
	}
	return l.Sprintf("architecture %s: ", name)
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
func updatedAfter(l language.Language, updated, scanned time.Time) string {
	if !isUpdated(updated, scanned) {
		return ""
	}
	return l.Sprintf("updated %s after its last scan", readable(l, rounded(updated.Sub(scanned))))
}

func isUpdated(updated, scanned time.Time) bool {
	return !updated.IsZero() && !scanned.IsZero() && updated.After(scanned)
}

// scannedAsItIs reports whether the scan is known to be of the image as it is now.
func scannedAsItIs(r *Record) bool {
	return !r.ScannedAt.IsZero() && !isUpdated(r.UpdatedAt, r.ScannedAt)
}

// decisiveRecords appends the records whose results decide for r, and returns why one
// of them, or all, lack a completed scan. There can be two completed results: what
// the row shows, and what it showed when an earlier scan of the same digest was
// completed. The latter also counts if the image was updated since: an unchanged
// image may have been pushed again. A result without the time of its scan is not
// known to be completed, but still counts if it is bad, and so does what a row shows
// while it is scanned.
func decisiveRecords(l language.Language, records []*Record, r *Record) (decisive []*Record, why string) {
	if lacksArchitectures(r) {
		return nil, l.Text("HSS lists none of its architectures")
	}
	status := decisiveScan(r).Status
	late := updatedAfter(l, r.UpdatedAt, r.ScannedAt)
	last := lastCompleted(r)
	switch stage := stageOf(status); {
	case stage == stageUnknown || stage == stageFailed:
		return append(records, r), late
	case stage == stageDone && r.ScannedAt.IsZero():
		return append(records, r), l.Text("the time of its scan is unknown")
	case stage == stageDone && late == "":
		return append(records, r), ""
	case status == v1alpha1.ScanStatusUnscan:
		return nil, l.Text(pendingText(status))
	case late != "" && last == nil:
		return nil, late
	case stage == stageDone:
		return append(records, r, last), ""
	case showsLastResult(r) && last != nil:
		return append(records, asCompleted(r), last), ""
	case showsLastResult(r) && holdsLastResult(r):
		return append(records, asCompleted(r)), ""
	case showsLastResult(r):
		return append(records, asCompleted(r)), l.Text(pendingText(status))
	case last != nil:
		return append(records, last), ""
	}
	return nil, l.Text(pendingText(status))
}

// showsLastResult reports whether a record that is being scanned again still shows
// the result of its last scan.
func showsLastResult(r *Record) bool {
	return isRescan(r.Scan.Status) && !r.ScannedAt.IsZero() && r.Severity != ""
}

// holdsLastResult reports whether that is sure to be a whole result. It is not
// documented when HSS sets level, counts and time: during a scan they may be a part of
// the new result, and no findings may mean that there is no result at all.
func holdsLastResult(r *Record) bool {
	scanning := func(s *Scan) bool { return s.Status == v1alpha1.ScanStatusScanning }
	return r.Severity != v1alpha1.SeveritySecurity && !slices.ContainsFunc(r.scans(), scanning)
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

// scansOf appends the scans that decide for an architecture: its own or, while it is
// being scanned again, the last completed scans of its digest. Several architectures
// may have it; without a completed scan of each there is none.
func scansOf(scans []*Scan, r *Record, a *Architecture) []*Scan {
	last := r.LastCompleted
	switch {
	case stageOf(a.Scan.Status) != stagePending:
		return append(scans, &a.Scan)
	case last == nil, a.Digest == "", !isRescan(a.Scan.Status), !scannedAsItIs(last):
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
