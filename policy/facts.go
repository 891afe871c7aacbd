package policy

import (
	"time"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Image is the reference that a verdict is about, in its normalised parts.
type Image struct {
	// Reference is the whole reference, such as
	// "swr.cn-north-4.myhuaweicloud.com/prod/app:1.4@sha256:…".
	Reference string
	// Host is the registry's host, with its port if it is not 443.
	Host string
	// Path is the repository below the host, such as "prod/app".
	Path string
	// Tag is empty if the reference names only a digest.
	Tag string
	// Digest is empty if the reference names only a tag.
	Digest string
}

// State tells whether HSS's word on an image could be had.
type State int

// The states. The zero value is none of them and is judged as unavailable.
const (
	// StateFound: Records holds what HSS knows, at least one record.
	StateFound State = iota + 1
	// StateNotFound: HSS answered, and has no record that fits.
	StateNotFound
	// StateUnavailable: HSS could not be asked and nothing recent enough is known.
	StateUnavailable
)

// Cause says whose trouble it is that no scan result is available.
type Cause int

const (
	// CauseOutage means that HSS does not answer, or the network before it. The policy's
	// when.unavailable decides. It is the zero value.
	CauseOutage Cause = iota
	// CauseConfiguration means hssgate's own configuration, such as its credentials,
	// their rights or the project, or a defect of hssgate. It violates the policy.
	CauseConfiguration
	// CauseOverload means hssgate's own limits, such as a full queue. It violates the
	// policy.
	CauseOverload
	// CauseSize means that the object names more images than are looked up. It
	// violates the policy.
	CauseSize
)

// Facts are what a verdict needs to know of one image at one moment.
type Facts struct {
	Image Image
	State State
	// Reason says in one line why State is not found or unavailable, such as
	// "no configured registry claims host evil.example.com".
	Reason string
	// Cause is the cause of StateUnavailable.
	Cause Cause
	// Records are the rows that fit the reference exactly. Each must pass. If State
	// is unavailable, they are those that could be read, and not all.
	Records []Record
	// AsOf is when HSS said so.
	AsOf time.Time
	// Stale says that HSS could not be asked again when it should have been;
	// StaleReason says why.
	Stale       bool
	StaleReason string
}

// Unlisted says why the vulnerabilities of the image aren't known one by one;
// empty: they are, or nobody asked for them.
func (f *Facts) Unlisted() string {
	for i := range f.Records {
		for _, s := range f.Records[i].scans() {
			if s.Unlisted != "" {
				return clean(s.Unlisted)
			}
		}
	}
	return ""
}

// Record is one row of HSS's list, reduced to what verdicts need.
type Record struct {
	ID string
	// ImageID is what HSS calls the image's content, by which it tells the
	// vulnerabilities; empty if it isn't known, or there are none.
	ImageID string
	// ImageType is private_image, shared_image, instance_image, harbor or jfrog.
	ImageType string
	// RegistryType is SwrPrivate, SwrShared, SwrEnterprise, Harbor, Jfrog or Other.
	RegistryType string
	RegistryName string
	InstanceID   string
	InstanceName string
	Namespace    string
	Name         string
	Version      string
	Digest       string
	// Scan is the state and result of the row's scan.
	Scan Scan
	// Severity is empty if HSS names none, and may be a value unknown to us.
	Severity v1alpha1.Severity
	// ScannedAt is the time of the latest scan; zero: never scanned.
	ScannedAt time.Time
	// UpdatedAt is when the image was last pushed; zero: unknown.
	UpdatedAt time.Time
	// MultiArch says that the row stands for several architectures.
	MultiArch bool
	// Architectures are the architectures that the reference may run as. If
	// the reference's digest is that of one architecture, it is the only one
	// here and PinnedArchitecture is true: then only its Scan counts, not the row's.
	Architectures      []Architecture
	PinnedArchitecture bool
	// LastCompleted is the last row with a completed scan that was seen for the
	// same image and digest, kept while Scan.Status says that it is being
	// scanned again, or UpdatedAt that it was updated since; nil if none was seen.
	LastCompleted *Record
}

// Scan is the state of a scan and, if it succeeded, what was found. The counts
// of a scan that did not succeed mean nothing.
type Scan struct {
	// Status may be a value unknown to us.
	Status v1alpha1.ScanStatus
	// FailedCode and FailedDescription are HSS's reason for a failed scan.
	FailedCode        string
	FailedDescription string
	// The counts are nil if HSS sent none, which is not the same as 0.
	Vulnerabilities *int
	UnsafeSettings  *int
	MaliciousFiles  *int
	// Found are the vulnerabilities that Vulnerabilities counts, one by one, as
	// far as HSS lists them: what is counted and not listed counts. It is nil
	// unless the whole list is known; then the count alone decides.
	Found []Vulnerability
	// Unlisted says in one line why Found is nil though HSS was to be asked;
	// empty: it was not.
	Unlisted string
}

// Architecture is one architecture of a multi-architecture image. HSS gives
// it no severity and no times of its own: the row's apply.
type Architecture struct {
	ID string
	// ImageID is that of the architecture, as a Record has one.
	ImageID string
	Digest  string
	Scan    Scan
}
