package hsstest

import "time"

// Image is one row of the inventory: RegistryImagesInfo of the API, and where
// the row belongs. The server serves it as it is: nothing is checked or
// defaulted except where a field says so, since real rows lack fields too.
type Image struct {
	// ID is unique; 0 lets the server assign one.
	ID int64
	// ProjectID is the project that sees the row; empty: every project.
	ProjectID string
	// EnterpriseProjectID is the enterprise project that the row belongs to;
	// empty: "0", the default one.
	EnterpriseProjectID string

	Namespace    string
	ImageName    string
	ImageVersion string
	ImageID      string
	ImageDigest  string
	// ImageType is private_image, shared_image, instance_image, harbor or jfrog.
	ImageType    string
	RegistryID   string
	RegistryName string
	// RegistryType is SwrPrivate, SwrShared, SwrEnterprise, Harbor, Jfrog or Other.
	RegistryType string
	// LatestVersion says whether this is the image's newest version. Nil: the
	// one of its versions that was updated last.
	LatestVersion *bool
	Scannable     bool
	MultiArch     bool

	// ScanStatus is unscan, success, scanning, failed, download_failed,
	// image_oversized or waiting_for_scan.
	ScanStatus     string
	ScanFailedCode string
	ScanFailedDesc string
	// SeverityLevel is Security, Low, Medium or High; empty: not sent.
	SeverityLevel string
	// The counts are not sent if nil.
	VulNum           *int
	UnsafeSettingNum *int
	MaliciousFileNum *int
	// ImageSize is in bytes; 0: not sent.
	ImageSize int64
	// The times have millisecond precision; zero: not sent.
	LatestUpdateTime time.Time
	LatestScanTime   time.Time
	LatestSyncTime   time.Time

	DomainName string
	// SharedStatus is expired or effective.
	SharedStatus string
	InstanceID   string
	InstanceName string
	InstanceURL  string

	AssociationImages []Architecture
	// Vulnerabilities are served by EndpointVulnerabilities, whatever VulNum
	// says. They are found by ImageID.
	Vulnerabilities []Vulnerability

	// Hidden says that HSS has not learnt of the image yet: no request finds
	// it before a synchronisation of its registry (RegistryID, RegistryType).
	Hidden bool
	// Outcome is what a scan finds that is started; nil: nothing bad.
	Outcome *ScanOutcome
}

// Architecture is one architecture of a multi-architecture image:
// AssociateImagesInfo of the API. It has no severity level.
type Architecture struct {
	// ID 0 lets the server assign one.
	ID           int64
	Namespace    string
	ImageName    string
	ImageVersion string
	ImageID      string
	ImageDigest  string
	ImageType    string
	ScanStatus   string
	// The counts are not sent if nil.
	VulNum           *int
	UnsafeSettingNum *int
	MaliciousFileNum *int
	// Vulnerabilities are found by ImageID.
	Vulnerabilities []Vulnerability
}

// Count is a count for [Image] and [Architecture], whose counts may be missing.
func Count(n int) *int { return new(n) }

// enterpriseProject is the enterprise project that the row belongs to.
func (i *Image) enterpriseProject() string {
	if i.EnterpriseProjectID == "" {
		return defaultEnterpriseProject
	}
	return i.EnterpriseProjectID
}

// any tells whether the counts of the row or of one of its architectures pass.
func (i *Image) any(count func(vul, unsafe, malicious *int) bool) bool {
	if count(i.VulNum, i.UnsafeSettingNum, i.MaliciousFileNum) {
		return true
	}
	for _, a := range i.AssociationImages {
		if count(a.VulNum, a.UnsafeSettingNum, a.MaliciousFileNum) {
			return true
		}
	}
	return false
}

func positive(n *int) bool { return n != nil && *n > 0 }

func (i *Image) hasVul() bool {
	return i.any(func(vul, _, _ *int) bool { return positive(vul) })
}

func (i *Image) hasUnsafeSetting() bool {
	return i.any(func(_, unsafe, _ *int) bool { return positive(unsafe) })
}

func (i *Image) hasMaliciousFile() bool {
	return i.any(func(_, _, malicious *int) bool { return positive(malicious) })
}

func (i *Image) risky() bool {
	return i.hasVul() || i.hasUnsafeSetting() || i.hasMaliciousFile()
}
