package inventory

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// listRecords lists the rows of an image under every spelling of its name. If one of them fails there is no answer. It
// keeps the last completed results of rows that changed.
func (i *Inventory) listRecords(ctx context.Context, k key, known []policy.Record) ([]policy.Record, error) {
	rows, err := k.rows(ctx)
	records, unreadable := recordsOf(rows, known)
	return records, cmp.Or(err, unreadable)
}

// rows lists the rows of an image under every spelling of its name, as far as they were seen. A row that changed
// meanwhile is there in both states, and the worse decides.
func (k key) rows(ctx context.Context) (rows []hss.Image, err error) {
	i := k.project().inventory
	for _, name := range k.spellings() {
		var all []hss.Image
		for row, failed := range k.project().client.All(ctx, k.request(name)) {
			if err = failed; err != nil {
				break
			}
			if i.explained {
				all = append(all, row)
			}
			if !k.fits(&row, name) {
				continue
			}
			if rows = append(rows, row); len(rows) > maxRecords {
				return nil, lookup.BadRowsf("HSS lists more than %d rows for %s", maxRecords, k)
			}
		}
		if i.explained {
			i.responses.Store(spelling{k, name}, response{all, err})
		}
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// recordsOf converts rows to records, which keep the last completed results that are known. With those that can be read, it
// returns why the first other one cannot.
func recordsOf(rows []hss.Image, known []policy.Record) (records []policy.Record, err error) {
	records = make([]policy.Record, 0, len(rows))
	for n := range rows {
		r, why := recordOf(&rows[n])
		switch {
		case why == nil:
			records = append(records, r)
		case err == nil:
			err = why
		}
	}
	keepCompleted(records, known)
	return records, err
}

// recordOf converts a row to what verdicts need. It fails if the row cannot be read, and returns its name only.
func recordOf(row *hss.Image) (policy.Record, error) {
	if err := unreadable(row); err != nil {
		return policy.Record{Namespace: row.Namespace, Name: row.Name, Version: row.Version}, err
	}
	r := policy.Record{
		ID: row.ID, Namespace: shared(row.Namespace), Name: row.Name, Version: row.Version, Digest: image.CompleteDigest(row.Digest),
		ImageType: shared(row.Type), RegistryType: shared(row.RegistryType), RegistryName: shared(row.RegistryName),
		InstanceID: shared(row.InstanceID), InstanceName: shared(row.InstanceName),
		Severity: v1alpha1.Severity(shared(row.Severity)), MultiArch: row.MultiArch,
		ScannedAt: row.LatestScanTime, UpdatedAt: row.LatestUpdateTime,
		Scan: scanOf(row.ScanStatus, row.Vulnerabilities, row.UnsafeSettings, row.MaliciousFiles),
	}
	r.Scan.FailedCode, r.Scan.FailedDescription = row.ScanFailedCode, row.ScanFailedDescription
	r.ImageID = imageID(row.ImageID, row.Digest)
	for n := range row.Architectures {
		a := &row.Architectures[n]
		r.Architectures = append(r.Architectures, policy.Architecture{
			ID: a.ID, ImageID: imageID(a.ImageID, a.Digest), Digest: image.CompleteDigest(a.Digest),
			Scan: scanOf(a.ScanStatus, a.Vulnerabilities, a.UnsafeSettings, a.MaliciousFiles),
		})
	}
	r.Architectures = slices.Clip(r.Architectures)
	return r, nil
}

// unreadable returns why nothing can be concluded from a row, or nil.
func unreadable(row *hss.Image) error {
	switch {
	case row.Unreadable == "":
		return nil
	case row.Anonymous():
		return lookup.BadRowsf("HSS sent a row that cannot be read and may be of any image: %s", row.Unreadable)
	default:
		return lookup.BadRowsf("HSS's row for %s/%s:%s cannot be read: %s", row.Namespace, row.Name, row.Version, row.Unreadable)
	}
}

// shared returns a text that many rows have, as a string that all of them share.
func shared[S ~string](text S) string { return unique.Make(string(text)).Value() }

// imageID returns the ID by which HSS lists details of an image, as a part of its digest where it is one.
func imageID(id, digest string) string {
	if part := strings.TrimPrefix(digest, "sha256:"); part == id {
		return part
	}
	return id
}

// scanOf converts a scan.
func scanOf(status hss.ScanStatus, vulnerabilities, unsafeSettings, maliciousFiles *int) policy.Scan {
	return policy.Scan{
		Status: v1alpha1.ScanStatus(shared(status)), Vulnerabilities: vulnerabilities, UnsafeSettings: unsafeSettings, MaliciousFiles: maliciousFiles,
	}
}

// recordsBytes returns about how much memory records take.
func recordsBytes(records []policy.Record) int {
	const perRecord, perArchitecture = 448, 208
	n := 0
	for i := range records {
		r := &records[i]
		n += perRecord + len(r.ID) + len(r.Namespace) + len(r.Name) + len(r.Version) + len(r.ImageID) + len(r.Digest) +
			len(r.Scan.FailedCode) + len(r.Scan.FailedDescription)
		for _, a := range r.Architectures {
			n += perArchitecture + len(a.ID) + len(a.ImageID) + len(a.Digest)
		}
		if r.LastCompleted != nil {
			n += recordsBytes([]policy.Record{*r.LastCompleted})
		}
	}
	return n
}

// pin returns what a digest pins of records: whole records whose digest it is, and of others one record for each of
// their architectures that has the digest. Several may, and all count. Without a digest it returns all records.
func pin(records []policy.Record, digest string) []policy.Record {
	if digest == "" {
		return records
	}
	if !image.IsDigest(digest) {
		return nil
	}
	if !slices.ContainsFunc(records, func(r policy.Record) bool { return r.Digest != digest }) {
		return records
	}
	var pinned []policy.Record
	for i := range records {
		pinned = append(pinned, pinRecord(&records[i], digest)...)
	}
	return pinned
}

func pinRecord(r *policy.Record, digest string) []policy.Record {
	if r.Digest == digest {
		return []policy.Record{*r}
	}
	var last []policy.Record
	if r.LastCompleted != nil {
		last = pinRecord(r.LastCompleted, digest)
	}
	var pinned []policy.Record
	add := func(a policy.Architecture) {
		p := *r
		p.Architectures, p.PinnedArchitecture, p.LastCompleted = []policy.Architecture{a}, true, nil
		if n := len(pinned); len(last) > 0 {
			p.LastCompleted = &last[min(n, len(last)-1)]
		}
		pinned = append(pinned, p)
	}
	for _, a := range r.Architectures {
		if a.Digest == digest {
			add(a)
		}
	}
	for n := len(pinned); n > 0 && n < len(last); n++ { // each of the last results counts, too
		add(pinned[0].Architectures[0])
	}
	return pinned
}

// isPending reports whether a scan of any record is still to come or under way.
func isPending(records []policy.Record) bool {
	for i := range records {
		if anyStatus(&records[i], hss.ScanStatus.Pending) {
			return true
		}
	}
	return false
}

// anyStatus reports whether the status of a record, or of one of its architectures, is as described.
func anyStatus(r *policy.Record, is func(hss.ScanStatus) bool) bool {
	return is(hss.ScanStatus(r.Scan.Status)) ||
		slices.ContainsFunc(r.Architectures, func(a policy.Architecture) bool { return is(hss.ScanStatus(a.Scan.Status)) })
}

func isRunning(r *policy.Record) bool { return anyStatus(r, hss.ScanStatus.Running) }

func isCompleted(r *policy.Record) bool {
	return !anyStatus(r, func(s hss.ScanStatus) bool { return !s.Completed() })
}

// isUpdated reports whether the image was updated since its scan.
func isUpdated(r *policy.Record) bool { return !r.ScannedAt.IsZero() && r.UpdatedAt.After(r.ScannedAt) }

// keepCompleted gives records that are being scanned again, or were updated since their scan, the last result that was
// seen of the same row with the same digest. Another digest is another image, and a digest that is none proves nothing:
// what a row that is being scanned still shows may then be the other image's result, and does not count.
func keepCompleted(records, known []policy.Record) {
	for i := range records {
		r := &records[i]
		at := slices.IndexFunc(known, func(p policy.Record) bool { return isSameRow(&p, r) })
		if at < 0 {
			at = slices.IndexFunc(known, func(p policy.Record) bool { return isSameEntry(&p, r) })
		}
		if at < 0 {
			continue
		}
		before := &known[at]
		if isCompleted(r) {
			if least := leastUpdate(r, before); least.After(r.UpdatedAt) {
				r.UpdatedAt = least
			}
		}
		if !isRunning(r) && (!isCompleted(r) || !isUpdated(r)) {
			continue
		}
		if isRunning(r) && (before.Digest != r.Digest || isRunning(before) && before.Severity == "") {
			r.Severity = ""
		}
		if before.Digest == r.Digest && image.IsDigest(r.Digest) {
			r.LastCompleted = completed(before)
		}
	}
}

// leastUpdate returns a time that the last update cannot have been before; zero: none is known. If the digest is
// another than it was when the same scan was seen before, the scan is of that other digest.
func leastUpdate(r, before *policy.Record) time.Time {
	switch {
	case r.ScannedAt.IsZero(), !r.ScannedAt.Equal(before.ScannedAt), !image.IsDigest(r.Digest), !image.IsDigest(before.Digest):
		return time.Time{}
	case r.Digest != before.Digest:
		return r.ScannedAt.Add(time.Millisecond)
	}
	return before.UpdatedAt
}

// completed returns a record's last completed result: itself, if its scan is of the image as it is, or what it kept.
func completed(r *policy.Record) *policy.Record {
	switch {
	case isCompleted(r) && !r.ScannedAt.IsZero() && !isUpdated(r):
		last := *r
		last.LastCompleted = nil
		return &last
	case isCompleted(r), isRunning(r):
		return r.LastCompleted
	default:
		return nil
	}
}

// hasID reports whether an ID identifies a row: HSS may leave it out or send 0.
func hasID(id string) bool { return id != "" && id != "0" }

// isSameRow reports whether two records are of one row of HSS's list with one digest, which may have changed otherwise.
func isSameRow(a, b *policy.Record) bool { return a.Digest == b.Digest && isSameEntry(a, b) }

// isSameEntry is isSameRow, whatever the digests.
func isSameEntry(a, b *policy.Record) bool {
	return hasID(a.ID) && a.ID == b.ID && a.ImageType == b.ImageType && a.RegistryType == b.RegistryType &&
		a.RegistryName == b.RegistryName && a.InstanceID == b.InstanceID && a.InstanceName == b.InstanceName
}

// isSame reports whether two records say the same, but for their last completed results, which HSS did not send.
func isSame(a, b *policy.Record) bool {
	if a == b || a.LastCompleted == nil && b.LastCompleted == nil {
		return reflect.DeepEqual(a, b)
	}
	x, y := *a, *b
	x.LastCompleted, y.LastCompleted = nil, nil
	return reflect.DeepEqual(&x, &y)
}

// areIdentical reports whether two sets of records are one in memory.
func areIdentical(a, b []policy.Record) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// areSame reports whether two sets of records say the same.
func areSame(a, b []policy.Record) bool {
	return areIdentical(a, b) || len(a) == len(b) && arePartOf(a, b, isSame) && arePartOf(b, a, isSame)
}

// arePartOf reports whether every one of the records is also one of others.
func arePartOf(records, others []policy.Record, same func(a, b *policy.Record) bool) bool {
	return !slices.ContainsFunc(records, func(r policy.Record) bool {
		return !slices.ContainsFunc(others, func(o policy.Record) bool { return same(&o, &r) })
	})
}

// digestsOf names the digests of records, a few of them.
func digestsOf(l language.Language, records []policy.Record) string {
	const most = 3
	var names []string
	for i := range records {
		name := l.Sprintf("digest %s", records[i].Digest)
		if !image.IsDigest(records[i].Digest) {
			name = l.Text("no whole digest")
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if more := len(names) - most; more > 0 {
		names = append(names[:most], l.Sprintf("%d more", more))
	}
	return strings.Join(names, l.Text(", "))
}
