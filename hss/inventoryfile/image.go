package inventoryfile

import (
	"cmp"
	"time"
)

// Image is one row of the inventory: RegistryImagesInfo of the API, and where
// the row belongs.
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
	// Vulnerabilities are listed whatever VulNum says. They are found by ImageID.
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

// VisibleTo reports whether requests of a project and an enterprise project see
// the row. An empty project is one whose ID is not known: it sees the rows of all.
func (i *Image) VisibleTo(project, enterpriseProject string) bool {
	if i.Hidden || i.ProjectID != "" && project != "" && i.ProjectID != project {
		return false
	}
	return enterpriseProject == "all_granted_eps" ||
		cmp.Or(enterpriseProject, defaultEnterpriseProject) == cmp.Or(i.EnterpriseProjectID, defaultEnterpriseProject)
}

// defaultEnterpriseProject is meant where none is named.
const defaultEnterpriseProject = "0"

// Vulnerability is one row of an image's vulnerabilities: ImageVulInfo of the
// API, and what its filters ask for. What is empty is not sent.
type Vulnerability struct {
	VulID string
	// RepairNecessity is immediate_repair, delay_repair or not_needed_repair:
	// high, medium and low.
	RepairNecessity string
	Description     string
	// Position is the layer of the image.
	Position string
	AppName  string
	// AppPath is of an application, not of a package of the system.
	AppPath  string
	Version  string
	Solution string
	URL      string
	// Type is linux_vul or app_vul; empty: app_vul if there is an AppPath.
	Type string
	// Handled says that somebody dealt with it; it is listed all the same.
	Handled bool
}

// ScanOutcome is what a scan finds once it was started and ends.
type ScanOutcome struct {
	// ScanStatus is success, failed, download_failed or image_oversized;
	// empty: success.
	ScanStatus     string
	ScanFailedCode string
	ScanFailedDesc string
	// SeverityLevel is that of a success; empty: Security.
	SeverityLevel string
	// The counts of a success; nil: 0.
	VulNum           *int
	UnsafeSettingNum *int
	MaliciousFileNum *int
}

// AssignIDs gives an ID to rows and architectures that have none.
func AssignIDs(images []Image) {
	var last int64
	for i := range images {
		last = max(last, images[i].ID)
		for _, a := range images[i].AssociationImages {
			last = max(last, a.ID)
		}
	}
	assign := func(id *int64) {
		if *id == 0 {
			last++
			*id = last
		}
	}
	for i := range images {
		assign(&images[i].ID)
		for j := range images[i].AssociationImages {
			assign(&images[i].AssociationImages[j].ID)
		}
	}
}
