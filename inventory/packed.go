package inventory

import (
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"time"
	"unique"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// record is a policy.Record in a fraction of its memory: the texts that differ
// from row to row stand in one string, those that rows share are stored once
// for all, and numbers take no pointers. It never changes once it is made.
type record struct {
	text       string
	ends       [texts - 1]uint16
	counts     counts
	attributes unique.Handle[attributes]
	// scannedAt and updatedAt are milliseconds since the epoch; 0: none.
	scannedAt, updatedAt int64
	extra                *extra
}

// The texts of a record, in their order.
const (
	textID = iota
	textNamespace
	textName
	textVersion
	textDigest
	textFailedCode
	textFailedDescription
	texts
)

// maxText bounds the texts of one row together, in bytes.
const maxText = math.MaxUint16

// attributes are what many rows have in common.
type attributes struct {
	imageType, registryType, registryName, instanceID, instanceName string
	status                                                          v1alpha1.ScanStatus
	severity                                                        v1alpha1.Severity
	multiArch                                                       bool
}

// extra is what few records have.
type extra struct {
	architectures []architecture
	// last is the last completed result of a record that is being scanned again.
	last *record
}

// architecture is a policy.Architecture: its ID and then its digest in text.
type architecture struct {
	text   string
	id     uint16
	counts counts
	status unique.Handle[v1alpha1.ScanStatus]
}

// counts are the numbers of vulnerabilities, unsafe settings and malicious
// files; unknown stands for what HSS did not send.
type counts [3]int32

const unknown = -1

func packCounts(vulnerabilities, unsafeSettings, maliciousFiles *int) counts {
	return counts{packCount(vulnerabilities), packCount(unsafeSettings), packCount(maliciousFiles)}
}

// packCount keeps what HSS documents, 0 to 2147483647; more than that is that.
func packCount(n *int) int32 {
	if n == nil || *n < 0 {
		return unknown
	}
	return int32(min(*n, math.MaxInt32)) //nolint:gosec // bounded just here
}

// pack reduces a row to what verdicts need. It fails if the row's texts are
// longer than any true row's.
func pack(row *hss.Image) (record, error) {
	fields := [texts]string{
		textID: row.ID, textNamespace: row.Namespace, textName: row.Name, textVersion: row.Version, textDigest: row.Digest,
		textFailedCode: row.ScanFailedCode, textFailedDescription: row.ScanFailedDescription,
	}
	r := record{
		counts:    packCounts(row.Vulnerabilities, row.UnsafeSettings, row.MaliciousFiles),
		scannedAt: milliseconds(row.LatestScanTime), updatedAt: milliseconds(row.LatestUpdateTime),
		attributes: unique.Make(attributes{
			imageType: string(row.Type), registryType: string(row.RegistryType), registryName: row.RegistryName,
			instanceID: row.InstanceID, instanceName: row.InstanceName,
			status: v1alpha1.ScanStatus(row.ScanStatus), severity: v1alpha1.Severity(row.Severity), multiArch: row.MultiArch,
		}),
	}
	if err := r.setTexts(&fields); err != nil {
		return record{}, err
	}
	if len(row.Architectures) == 0 {
		return r, nil
	}
	r.extra = &extra{architectures: make([]architecture, 0, len(row.Architectures))}
	for i := range row.Architectures {
		a, err := packArchitecture(&row.Architectures[i])
		if err != nil {
			return record{}, err
		}
		r.extra.architectures = append(r.extra.architectures, a)
	}
	return r, nil
}

func packArchitecture(a *hss.AssociatedImage) (architecture, error) {
	if n := len(a.ID) + len(a.Digest); n > maxText {
		return architecture{}, fmt.Errorf("HSS sent an architecture with %d bytes of text, at most %d are believed", n, maxText)
	}
	return architecture{
		text: a.ID + a.Digest, id: uint16(len(a.ID)), //nolint:gosec // bounded just here
		counts: packCounts(a.Vulnerabilities, a.UnsafeSettings, a.MaliciousFiles),
		status: unique.Make(v1alpha1.ScanStatus(a.ScanStatus)),
	}, nil
}

func (r *record) setTexts(fields *[texts]string) error {
	length := 0
	for n, field := range fields {
		if length += len(field); length > maxText {
			return fmt.Errorf("HSS sent a row with more than %d bytes of text", maxText)
		}
		if n < len(r.ends) {
			r.ends[n] = uint16(length) //nolint:gosec // bounded just here
		}
	}
	text := make([]byte, 0, length)
	for _, field := range fields {
		text = append(text, field...)
	}
	r.text = string(text)
	return nil
}

func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// field returns one of the texts.
func (r *record) field(n int) string {
	var start uint16
	if n > 0 {
		start = r.ends[n-1]
	}
	if n == len(r.ends) {
		return r.text[start:]
	}
	return r.text[start:r.ends[n]]
}

func (r *record) digest() string { return r.field(textDigest) }

func (r *record) architectures() []architecture {
	if r.extra == nil {
		return nil
	}
	return r.extra.architectures
}

func (r *record) last() *record {
	if r.extra == nil {
		return nil
	}
	return r.extra.last
}

// withLast returns the record with its last completed result.
func (r *record) withLast(last *record) record {
	changed := *r
	changed.extra = nil
	if last != nil || len(r.architectures()) > 0 {
		changed.extra = &extra{architectures: r.architectures(), last: last}
	}
	return changed
}

func (a *architecture) digest() string { return a.text[a.id:] }

// unpack writes the record into p, and its counts into n.
func (r *record) unpack(p *policy.Record, n *[3]int) {
	a := r.attributes.Value()
	*p = policy.Record{
		ID: r.field(textID), ImageType: a.imageType, RegistryType: a.registryType, RegistryName: a.registryName,
		InstanceID: a.instanceID, InstanceName: a.instanceName,
		Namespace: r.field(textNamespace), Name: r.field(textName), Version: r.field(textVersion), Digest: r.digest(),
		Scan: policy.Scan{
			Status: a.status, FailedCode: r.field(textFailedCode), FailedDescription: r.field(textFailedDescription),
		},
		Severity: a.severity, ScannedAt: timeOf(r.scannedAt), UpdatedAt: timeOf(r.updatedAt), MultiArch: a.multiArch,
	}
	r.counts.unpack(&p.Scan, n)
	if r.extra != nil {
		r.extra.unpack(p)
	}
}

func (e *extra) unpack(p *policy.Record) {
	if len(e.architectures) > 0 {
		p.Architectures = make([]policy.Architecture, len(e.architectures))
	}
	for i := range e.architectures {
		a, to := &e.architectures[i], &p.Architectures[i]
		*to = policy.Architecture{ID: a.text[:a.id], Digest: a.digest(), Scan: policy.Scan{Status: a.status.Value()}}
		a.counts.unpack(&to.Scan, new([3]int))
	}
	if e.last != nil {
		p.LastCompleted = &policy.Record{}
		e.last.unpack(p.LastCompleted, new([3]int))
	}
}

// unpack writes the counts into n, and has s point there.
func (c counts) unpack(s *policy.Scan, n *[3]int) {
	for i, to := range [...]**int{&s.Vulnerabilities, &s.UnsafeSettings, &s.MaliciousFiles} {
		if c[i] == unknown {
			continue
		}
		n[i] = int(c[i])
		*to = &n[i]
	}
}

// isSame tells whether two records say the same, but for their last completed
// results, which are ours to keep.
func (r *record) isSame(o *record) bool {
	return r.text == o.text && r.ends == o.ends && r.counts == o.counts && r.attributes == o.attributes &&
		r.scannedAt == o.scannedAt && r.updatedAt == o.updatedAt && slices.Equal(r.architectures(), o.architectures())
}

// isSameRow tells whether two records are of one row of HSS's list with one
// digest, which may have changed otherwise.
func (r *record) isSameRow(o *record) bool {
	return r.field(textID) == o.field(textID) && r.digest() == o.digest() &&
		r.attributes.Value().imageType == o.attributes.Value().imageType
}

// content is a number that differs if isSame would.
func (r *record) content(seed maphash.Seed) uint64 {
	type plain struct {
		text                 string
		ends                 [texts - 1]uint16
		counts               counts
		attributes           unique.Handle[attributes]
		scannedAt, updatedAt int64
	}
	h := maphash.Comparable(seed, plain{r.text, r.ends, r.counts, r.attributes, r.scannedAt, r.updatedAt})
	for _, a := range r.architectures() {
		h = h*31 + maphash.Comparable(seed, a)
	}
	return h
}

// bytes is about how much memory the record refers to.
func (r *record) bytes() int {
	n := len(r.text)
	for _, a := range r.architectures() {
		n += architectureBytes + len(a.text)
	}
	if last := r.last(); last != nil {
		n += recordBytes + len(last.text)
	}
	return n
}

// The sizes of the types above, with what the allocator adds.
const (
	recordBytes       = 80
	architectureBytes = 64
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

// keepCompleted gives records that are being scanned again the last result
// that was seen of the same row with the same digest. Another digest is
// another image, and a digest that is none proves nothing.
func keepCompleted(records, previous []record) {
	for i := range records {
		r := &records[i]
		if !r.isRunning() || !isDigest(r.digest()) {
			continue
		}
		if at := slices.IndexFunc(previous, func(p record) bool { return p.isSameRow(r) }); at >= 0 {
			*r = r.withLast(previous[at].completed())
		}
	}
}

// completed returns a record's last completed result: itself, or what it kept.
func (r *record) completed() *record {
	switch {
	case r.isCompleted():
		last := r.withLast(nil)
		return &last
	case r.isRunning():
		return r.last()
	default:
		return nil
	}
}
