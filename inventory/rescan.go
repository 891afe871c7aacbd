package inventory

import (
	"slices"
	"unique"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
)

// holds tells whether a digest is the record's, or that of one of its
// architectures.
func (r *record) holds(digest string) bool {
	return r.digest() == digest || slices.ContainsFunc(r.architectures(), func(a architecture) bool { return a.digest() == digest })
}

// is tells whether what is asked of scan statuses is true of the row's own or
// of that of an architecture. With a digest that is an architecture's, the
// other architectures don't matter.
func (r *record) is(what func(hss.ScanStatus) bool, digest string) bool {
	if what(hss.ScanStatus(r.attributes.Value().status)) {
		return true
	}
	whole := digest == "" || digest == r.digest()
	for _, a := range r.architectures() {
		if (whole || a.digest() == digest) && what(hss.ScanStatus(a.status.Value())) {
			return true
		}
	}
	return false
}

func (r *record) isRunning() bool   { return r.is(running, "") }
func (r *record) isCompleted() bool { return !r.is(uncompleted, "") }

func pending(s hss.ScanStatus) bool     { return s.Pending() }
func running(s hss.ScanStatus) bool     { return s.Running() }
func uncompleted(s hss.ScanStatus) bool { return !s.Completed() }

// isUpdated reports whether the image was updated since its scan.
func (r *record) isUpdated() bool { return r.scannedAt > 0 && r.updatedAt > r.scannedAt }

// keepCompleted gives records that are being scanned again, or were updated
// since their scan, the last result that was seen of the same row with the same
// digest. Another digest is another image, and a digest that is none proves
// nothing. What a row that is being scanned still shows may then be the other
// image's result, and doesn't count.
func keepCompleted(records, previous []record) {
	for i := range records {
		r := &records[i]
		at := slices.IndexFunc(previous, func(p record) bool { return p.isSameRow(r) })
		if at < 0 {
			at = slices.IndexFunc(previous, func(p record) bool { return p.isSameEntry(r) })
		}
		if at < 0 {
			continue
		}
		before := &previous[at]
		if r.isCompleted() {
			r.updatedAt = max(r.updatedAt, r.leastUpdate(before))
		}
		if !r.isRunning() && (!r.isCompleted() || !r.isUpdated()) {
			continue
		}
		if r.isRunning() && (before.digest() != r.digest() || before.isRunning() && before.showsNothing()) {
			*r = r.withoutResult()
		}
		if before.digest() == r.digest() && image.IsDigest(r.digest()) {
			*r = r.withLast(before.completed())
		}
	}
}

// leastUpdate returns a time that the last update cannot have been before, in
// milliseconds since the epoch; 0: none is known. If the digest is another than
// it was when the same scan was seen before, the scan is of that other digest.
func (r *record) leastUpdate(before *record) int64 {
	switch {
	case r.scannedAt == 0 || r.scannedAt != before.scannedAt, !image.IsDigest(r.digest()), !image.IsDigest(before.digest()):
		return 0
	case r.digest() != before.digest():
		return r.scannedAt + 1
	}
	return before.updatedAt
}

// showsNothing tells of a record that is being scanned without the severity of
// an earlier scan.
func (r *record) showsNothing() bool { return r.attributes.Value().severity == "" }

// withoutResult is the record of an image that was never scanned as it is now.
func (r *record) withoutResult() record {
	a := r.attributes.Value()
	a.severity = ""
	bare := *r
	bare.attributes = unique.Make(a)
	return bare
}

// completed returns a record's last completed result: itself, if its scan is of
// the image as it is, or what it kept.
func (r *record) completed() *record {
	switch {
	case r.isCompleted() && r.scannedAt > 0 && !r.isUpdated():
		last := r.withLast(nil)
		return &last
	case r.isCompleted(), r.isRunning():
		return r.last()
	default:
		return nil
	}
}
