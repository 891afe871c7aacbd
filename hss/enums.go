package hss

import "cmp"

// ImageType tells what kind of registry an image lives in, by HSS's naming.
// Values that are not listed here are kept as sent.
type ImageType string

// The documented image types.
const (
	// ImageTypePrivate is an organisation's own image in SWR.
	ImageTypePrivate ImageType = "private_image"
	// ImageTypeShared is an image that another account shares in SWR.
	ImageTypeShared ImageType = "shared_image"
	// ImageTypeInstance is an image of an SWR Enterprise instance.
	ImageTypeInstance ImageType = "instance_image"
	// ImageTypeHarbor is an image of a Harbor registry.
	ImageTypeHarbor ImageType = "harbor"
	// ImageTypeJFrog is an image of a JFrog registry.
	ImageTypeJFrog ImageType = "jfrog"
	// ImageTypeCICD is an image that a pipeline had scanned. It is in no
	// registry, and so never in the list.
	ImageTypeCICD ImageType = "cicd"
)

// Known reports whether t is one of the documented image types.
func (t ImageType) Known() bool {
	switch t {
	case ImageTypePrivate, ImageTypeShared, ImageTypeInstance, ImageTypeHarbor, ImageTypeJFrog:
		return true
	}
	return false
}

// RegistryType is the type of a registry as HSS names it. Values that are not
// listed here are kept as sent.
type RegistryType string

// The documented registry types.
const (
	RegistryTypeSWRPrivate    RegistryType = "SwrPrivate"
	RegistryTypeSWRShared     RegistryType = "SwrShared"
	RegistryTypeSWREnterprise RegistryType = "SwrEnterprise"
	RegistryTypeHarbor        RegistryType = "Harbor"
	RegistryTypeJFrog         RegistryType = "Jfrog"
	RegistryTypeOther         RegistryType = "Other"
)

// Known reports whether t is one of the documented registry types.
func (t RegistryType) Known() bool {
	switch t {
	case RegistryTypeSWRPrivate, RegistryTypeSWRShared, RegistryTypeSWREnterprise,
		RegistryTypeHarbor, RegistryTypeJFrog, RegistryTypeOther:
		return true
	}
	return false
}

// Severity is the severity level that HSS gives a scanned image. Levels are
// ordered: Security < Low < Medium < High. Empty means that HSS gave none,
// which it does until an image has been scanned. Unknown values are kept.
type Severity string

// The documented severity levels, the mildest first.
const (
	// SeveritySecurity means that nothing was found.
	SeveritySecurity Severity = "Security"
	SeverityLow      Severity = "Low"
	SeverityMedium   Severity = "Medium"
	SeverityHigh     Severity = "High"
)

// rankUnknown is above every documented level: what is not known is not safe.
const rankUnknown = 5

// Rank places s in the order of the levels: 0 for none, 1 for Security to 4
// for High, and more than High for a value that is not documented.
func (s Severity) Rank() int {
	switch s {
	case "":
		return 0
	case SeveritySecurity:
		return 1
	case SeverityLow:
		return 2
	case SeverityMedium:
		return 3
	case SeverityHigh:
		return 4
	}
	return rankUnknown
}

// Compare returns -1, 0 or +1 as s is milder than, as severe as, or more
// severe than other by [Severity.Rank]. Two unknown values compare as equal.
func (s Severity) Compare(other Severity) int {
	return cmp.Compare(s.Rank(), other.Rank())
}

// Known reports whether s is one of the documented levels; the empty one is not.
func (s Severity) Known() bool {
	return s.Rank() > 0 && s.Rank() < rankUnknown
}

// ScanStatus is the state of an image's scan. Unknown values are kept.
type ScanStatus string

// The documented scan statuses.
const (
	// ScanStatusUnscan: the image was never scanned.
	ScanStatusUnscan ScanStatus = "unscan"
	// ScanStatusSuccess: the last scan was completed; its counts hold.
	ScanStatusSuccess ScanStatus = "success"
	// ScanStatusScanning: a scan is under way.
	ScanStatusScanning ScanStatus = "scanning"
	// ScanStatusFailed: the scan failed; ScanFailedCode tells why.
	ScanStatusFailed ScanStatus = "failed"
	// ScanStatusDownloadFailed: HSS could not pull the image.
	ScanStatusDownloadFailed ScanStatus = "download_failed"
	// ScanStatusImageOversized: the image is too large for HSS to scan.
	ScanStatusImageOversized ScanStatus = "image_oversized"
	// ScanStatusWaitingForScan: a scan is queued.
	ScanStatusWaitingForScan ScanStatus = "waiting_for_scan"
)

// Known reports whether s is one of the documented statuses.
func (s ScanStatus) Known() bool {
	return s.Completed() || s.Pending() || s.Failed()
}

// Completed reports whether the row holds the result of a completed scan. Only
// then do its counts and severity mean anything.
func (s ScanStatus) Completed() bool {
	return s == ScanStatusSuccess
}

// Pending reports whether the result is still to come: the image was never
// scanned, is queued, or is being scanned.
func (s ScanStatus) Pending() bool {
	return s == ScanStatusUnscan || s.Running()
}

// Running reports whether a scan is queued or under way. The image may have
// the result of an earlier scan.
func (s ScanStatus) Running() bool {
	return s == ScanStatusScanning || s == ScanStatusWaitingForScan
}

// Failed reports whether the last scan ended without a result.
func (s ScanStatus) Failed() bool {
	switch s {
	case ScanStatusFailed, ScanStatusDownloadFailed, ScanStatusImageOversized:
		return true
	}
	return false
}

// SortKey is what the rows are sorted by.
type SortKey string

// SortByLatestScanTime is the one documented sort key.
const SortByLatestScanTime SortKey = "latest_scan_time"

// SortDir is the direction of the sort.
type SortDir string

// The directions; the API's default is ascending.
const (
	SortAscending  SortDir = "asc"
	SortDescending SortDir = "desc"
)

// AllGrantedEnterpriseProjects asks for the images of every enterprise project
// that the caller may see. Without it the API shows the default one only.
const AllGrantedEnterpriseProjects = "all_granted_eps"
