package policy

import (
	"context"
	"time"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Image is a reference in its normalised parts.
type Image = image.Reference

// State is whether a scan result is available from HSS.
type State int

// The states. The zero value is none of them, and is evaluated as unavailable.
const (
	// StateFound: Records holds what HSS knows, at least one record.
	StateFound State = iota + 1
	// StateNotFound: HSS answered, and has no record that fits.
	StateNotFound
	// StateUnavailable: HSS is unreachable and no result is recent enough.
	StateUnavailable
)

// Cause is why no scan result is available.
type Cause int

const (
	// CauseOutage means that HSS, or the network before it, does not answer. The
	// policy's when.unavailable decides. It is the zero value.
	CauseOutage Cause = iota
	// CauseConfiguration means hssgate's own configuration, such as its credentials
	// or the project, or a defect of hssgate. It violates the policy.
	CauseConfiguration
	// CauseOverload means hssgate's own limits, such as a full queue. It violates
	// the policy.
	CauseOverload
	// CauseSize means that the object names more images than are looked up. It
	// violates the policy.
	CauseSize
)

// Facts are what is known of one image at one moment.
type Facts struct {
	Image Image
	State State
	// Reason is one line why State is not found or unavailable, such as
	// "no configured registry claims host evil.example.com".
	Reason string
	// Cause is the cause of StateUnavailable.
	Cause Cause
	// Records are the rows that fit the reference exactly. Each must pass. If State
	// is unavailable, they are those that could be read, and not all.
	Records []Record
	// Affected are indexes of vulnerabilities that policies forbid, as far as they are
	// known; optional.
	Affected []*Affected
	// AsOf is when HSS answered.
	AsOf time.Time
	// Stale reports that the result is past its TTL and could not be refreshed;
	// StaleReason says why.
	Stale       bool
	StaleReason string
}

// Unlisted returns why the vulnerabilities of the image are not known one by one;
// empty if they are, or were not needed.
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

// Record is one row of HSS's list, reduced to what evaluation needs.
type Record struct {
	ID string
	// ImageID is HSS's identifier of the image's content, which its lists of details
	// need; empty if it is unknown.
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
	// Scan is the row's own scan.
	Scan Scan
	// Severity is empty if HSS reports none, and may be an unknown value.
	Severity v1alpha1.Severity
	// ScannedAt is the time of the latest scan; zero: never scanned.
	ScannedAt time.Time
	// UpdatedAt is HSS's latest_update_time; zero: unknown.
	UpdatedAt time.Time
	// MultiArch reports whether the row stands for several architectures.
	MultiArch bool
	// Architectures are those that the reference may run as. If the reference's
	// digest is that of one architecture, it is the only one here and
	// PinnedArchitecture is true: then only its Scan counts, not the row's.
	Architectures      []Architecture
	PinnedArchitecture bool
	// LastCompleted is the last row with a completed scan of the same image and
	// digest, while Scan is in progress or UpdatedAt is later than ScannedAt;
	// nil: unknown.
	LastCompleted *Record
}

// Architecture is one architecture of a multi-architecture image. The row's
// severity and times apply to it.
type Architecture struct {
	ID string
	// ImageID is that of the architecture, as a Record has one.
	ImageID string
	Digest  string
	Scan    Scan
}

// Scan is the state of a scan and, if it succeeded, what was found. The counts
// of a scan that did not succeed mean nothing.
type Scan struct {
	// Status may be an unknown value.
	Status v1alpha1.ScanStatus
	// FailedCode and FailedDescription are HSS's reason for a failed scan.
	FailedCode        string
	FailedDescription string
	// The counts are nil if HSS sent none, which is not the same as 0.
	Vulnerabilities *int
	UnsafeSettings  *int
	MaliciousFiles  *int
	// Found are the vulnerabilities that Vulnerabilities counts, as far as HSS lists
	// them. It is nil unless the whole list is known; then the count alone decides.
	Found []Vulnerability
	// Unlisted is one line why Found is nil although it was needed.
	Unlisted string
	// Listed are other details; nil: they were not looked up.
	Listed *Listed
}

// scans returns the record's own scan and those of its architectures.
func (r *Record) scans() []*Scan {
	scans := []*Scan{&r.Scan}
	for i := range r.Architectures {
		scans = append(scans, &r.Architectures[i].Scan)
	}
	return scans
}

// stage is how far a scan has come.
type stage int

const (
	// stageUnknown: a status that HSS's documentation does not name.
	stageUnknown stage = iota
	// stagePending: a scan is to come or in progress.
	stagePending
	// stageFailed: the scan ended without a result.
	stageFailed
	// stageDone: the scan ended with a result.
	stageDone
)

func stageOf(s v1alpha1.ScanStatus) stage {
	switch s {
	case v1alpha1.ScanStatusUnscan, v1alpha1.ScanStatusScanning, v1alpha1.ScanStatusWaitingForScan:
		return stagePending
	case v1alpha1.ScanStatusFailed, v1alpha1.ScanStatusDownloadFailed, v1alpha1.ScanStatusImageOversized:
		return stageFailed
	case v1alpha1.ScanStatusSuccess:
		return stageDone
	}
	return stageUnknown
}

// pendingText describes a scan that is not completed.
func pendingText(s v1alpha1.ScanStatus) string {
	switch s {
	case v1alpha1.ScanStatusScanning:
		return "being scanned, and no completed scan is known"
	case v1alpha1.ScanStatusWaitingForScan:
		return "waiting to be scanned, and no completed scan is known"
	}
	return "never scanned"
}

type namespaceKey struct{}

// WithNamespace returns a context for look-ups on behalf of a namespace:
// namespaces share the calls to HSS fairly.
func WithNamespace(ctx context.Context, namespace string) context.Context {
	return context.WithValue(ctx, namespaceKey{}, namespace)
}

// NamespaceOf returns the namespace of a look-up; empty: none.
func NamespaceOf(ctx context.Context) string {
	namespace, _ := ctx.Value(namespaceKey{}).(string)
	return namespace
}
