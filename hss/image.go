package hss

import "time"

// Image is one row of the list, with the fields of the API's RegistryImagesInfo
// that a verdict or a request for a scan needs.
//
// Counts and times are pointers or zero times where the API may leave them
// out: "not sent" is not the same as 0.
type Image struct {
	// ID is an int64 by the reference, and a string in its own example.
	ID           string
	Namespace    string
	Name         string
	ImageID      string
	Digest       string
	Version      string
	Type         ImageType
	RegistryID   string
	RegistryName string
	RegistryType RegistryType
	MultiArch    bool
	ScanStatus   ScanStatus
	// ScanFailedCode is one of the documented codes, such as
	// authentication_failed; ScanFailedDescription says it in words.
	ScanFailedCode        string
	ScanFailedDescription string
	// LatestUpdateTime is when the image was last pushed, LatestScanTime when
	// it was last scanned, LatestSyncTime when HSS last learnt of it. Zero: none.
	LatestUpdateTime time.Time
	LatestScanTime   time.Time
	LatestSyncTime   time.Time
	Vulnerabilities  *int
	UnsafeSettings   *int
	MaliciousFiles   *int
	// InstanceName, InstanceID and InstanceURL are of SWR Enterprise.
	InstanceName string
	InstanceID   string
	InstanceURL  string
	// Severity is empty until the image has been scanned.
	Severity Severity
	// Architectures holds one entry for each architecture of a
	// multi-architecture image (association_images).
	Architectures []AssociatedImage
	// Unreadable says in one line why the row can't be read, such as
	// `latest_scan_time is "-"`; empty: it was read. Such a row holds only
	// what names the image, and nothing may be concluded of that image, also not
	// that HSS doesn't know it. An [Image.Anonymous] one may be of any image.
	Unreadable string
}

// AssociatedImage is one architecture of a multi-architecture image:
// AssociateImagesInfo of the API. It has no severity level of its own.
type AssociatedImage struct {
	ID              string
	ImageID         string
	Digest          string
	ScanStatus      ScanStatus
	Vulnerabilities *int
	UnsafeSettings  *int
	MaliciousFiles  *int
}
