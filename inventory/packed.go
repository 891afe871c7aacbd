package inventory

import (
	"fmt"
	"math"
	"time"
	"unique"

	"github.com/hssgate/hssgate/hss"
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
	// textFailedCode is why a scan failed, or the image's ID; see identity.
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
	identity                                                        identity
}

// identity says what is kept of an image's ID, which serves to ask for its
// vulnerabilities: nothing if it has none. Where the ID is the digest's
// hexadecimal part, the digest is kept already.
type identity uint8

const (
	idNone identity = iota
	idIsDigest
	idInText
)

// identify says what is to be kept of an ID.
func identify(id, digest string, vulnerabilities *int) identity {
	switch {
	case id == "" || vulnerabilities == nil || *vulnerabilities <= 0:
		return idNone
	case "sha256:"+id == digest:
		return idIsDigest
	}
	return idInText
}

// extra is what few records have.
type extra struct {
	architectures []architecture
	// last is the last completed result of a record that is being scanned again or
	// was updated since its scan.
	last *record
}

// architecture is a policy.Architecture: its ID, its image's ID if that is kept
// there, and then its digest in text.
type architecture struct {
	text        string
	id, imageID uint16 // where they end
	counts      counts
	identity    identity
	status      unique.Handle[v1alpha1.ScanStatus]
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
	return int32(min(*n, math.MaxInt32))
}

// pack reduces a row to what verdicts need. It fails if the row can't be read, or
// its texts are longer than any true row's.
func pack(row *hss.Image) (record, error) {
	if row.Unreadable != "" {
		return record{}, unreadable(row)
	}
	fields := [texts]string{
		textID: row.ID, textNamespace: row.Namespace, textName: row.Name, textVersion: row.Version, textDigest: row.Digest,
		textFailedCode: row.ScanFailedCode, textFailedDescription: row.ScanFailedDescription,
	}
	known := identify(row.ImageID, row.Digest, row.Vulnerabilities)
	switch {
	case known == idNone:
	case row.ScanFailedCode != "": // what such a scan found means nothing
		known = idNone
	case known == idInText:
		fields[textFailedCode] = row.ImageID
	}
	r := record{
		counts:    packCounts(row.Vulnerabilities, row.UnsafeSettings, row.MaliciousFiles),
		scannedAt: milliseconds(row.LatestScanTime), updatedAt: milliseconds(row.LatestUpdateTime),
		attributes: unique.Make(attributes{
			imageType: string(row.Type), registryType: string(row.RegistryType), registryName: row.RegistryName,
			instanceID: row.InstanceID, instanceName: row.InstanceName,
			status: v1alpha1.ScanStatus(row.ScanStatus), severity: v1alpha1.Severity(row.Severity), multiArch: row.MultiArch,
			identity: known,
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
	imageID, known := "", identify(a.ImageID, a.Digest, a.Vulnerabilities)
	if known == idInText {
		imageID = a.ImageID
	}
	if n := len(a.ID) + len(imageID) + len(a.Digest); n > maxText {
		return architecture{}, fmt.Errorf("HSS sent an architecture with %d bytes of text, at most %d are believed", n, maxText)
	}
	return architecture{
		text: a.ID + imageID + a.Digest, id: uint16(len(a.ID)), imageID: uint16(len(a.ID) + len(imageID)), //nolint:gosec // bounded just here
		counts: packCounts(a.Vulnerabilities, a.UnsafeSettings, a.MaliciousFiles), identity: known,
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
			r.ends[n] = uint16(length)
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

func (a *architecture) digest() string { return a.text[a.imageID:] }

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
