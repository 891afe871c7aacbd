package inventoryfile

import (
	"cmp"
	"slices"
	"time"
)

// Image is one row of the inventory: RegistryImagesInfo of the API, and fields that only files and servers have.
type Image struct {
	// ID is unique. Rows without one get it from [AssignIDs].
	ID int64 `json:"id"`
	// ProjectID is the project that sees the row; empty: every project.
	ProjectID string `json:"project_id,omitempty"`
	// EnterpriseProjectID is the enterprise project of the row; empty: "0", the default one.
	EnterpriseProjectID string `json:"enterprise_project_id,omitempty"`

	Namespace    string `json:"namespace"`
	ImageName    string `json:"image_name"`
	ImageVersion string `json:"image_version"`
	ImageID      string `json:"image_id,omitempty"`
	ImageDigest  string `json:"image_digest,omitempty"`
	// ImageType is one of [ImageTypes].
	ImageType    string `json:"image_type,omitempty"`
	RegistryID   string `json:"registry_id,omitempty"`
	RegistryName string `json:"registry_name,omitempty"`
	// RegistryType is one of [RegistryTypes].
	RegistryType string `json:"registry_type,omitempty"`
	// LatestVersion marks the newest version of an image; optional.
	LatestVersion *bool `json:"latest_version,omitempty"`
	Scannable     bool  `json:"scannable"`
	MultiArch     bool  `json:"is_multiple_arch"`

	// ScanStatus is one of [ScanStatuses].
	ScanStatus     string `json:"scan_status,omitempty"`
	ScanFailedCode string `json:"scan_failed_code,omitempty"`
	ScanFailedDesc string `json:"scan_failed_desc,omitempty"`
	// SeverityLevel is one of [SeverityLevels], or empty: not sent.
	SeverityLevel string `json:"severity_level,omitempty"`
	// The counts are not sent if nil.
	VulNum           *int `json:"vul_num,omitempty"`
	UnsafeSettingNum *int `json:"unsafe_setting_num,omitempty"`
	MaliciousFileNum *int `json:"malicious_file_num,omitempty"`
	// ImageSize is in bytes; 0: not sent.
	ImageSize int64 `json:"image_size,omitempty"`
	// The times have millisecond precision; zero: not sent.
	LatestUpdateTime time.Time `json:"-"`
	LatestScanTime   time.Time `json:"-"`
	LatestSyncTime   time.Time `json:"-"`

	DomainName   string `json:"domain_name,omitempty"`
	SharedStatus string `json:"shared_status,omitempty"`
	InstanceID   string `json:"instance_id,omitempty"`
	InstanceName string `json:"instance_name,omitempty"`
	InstanceURL  string `json:"instance_url,omitempty"`

	AssociationImages []Architecture `json:"association_images,omitempty"`
	// Vulnerabilities are served whatever VulNum is. They are found by ImageID.
	Vulnerabilities []Vulnerability `json:"vulnerabilities,omitempty"`

	// Hidden rows are unknown to HSS until their registry (RegistryID, RegistryType) is synchronized.
	Hidden bool `json:"hidden,omitempty"`
	// Outcome is the result of a scan; nil: no findings.
	Outcome *ScanOutcome `json:"scan_outcome,omitempty"`
}

// Architecture is one architecture of an image: AssociateImagesInfo of the API. It has no severity level.
type Architecture struct {
	ID           int64  `json:"id"`
	Namespace    string `json:"namespace"`
	ImageName    string `json:"image_name"`
	ImageVersion string `json:"image_version"`
	ImageID      string `json:"image_id,omitempty"`
	ImageDigest  string `json:"image_digest,omitempty"`
	ImageType    string `json:"image_type,omitempty"`
	ScanStatus   string `json:"scan_status,omitempty"`
	// The counts are not sent if nil.
	VulNum           *int `json:"vul_num,omitempty"`
	UnsafeSettingNum *int `json:"unsafe_setting_num,omitempty"`
	MaliciousFileNum *int `json:"malicious_file_num,omitempty"`
	// Vulnerabilities are found by ImageID.
	Vulnerabilities []Vulnerability `json:"vulnerabilities,omitempty"`
}

// Vulnerability is one row of an image's vulnerabilities: ImageVulInfo of the API, and the values of its filters.
type Vulnerability struct {
	VulID string `json:"vul_id,omitempty"`
	// RepairNecessity is one of [RepairNecessities].
	RepairNecessity string `json:"repair_necessity,omitempty"`
	Description     string `json:"description,omitempty"`
	Position        string `json:"position,omitempty"`
	AppName         string `json:"app_name,omitempty"`
	AppPath         string `json:"app_path,omitempty"`
	Version         string `json:"version,omitempty"`
	Solution        string `json:"solution,omitempty"`
	URL             string `json:"url,omitempty"`
	// Type is one of [VulnerabilityTypes]; empty: app_vul with an AppPath, linux_vul without.
	Type    string `json:"type,omitempty"`
	Handled bool   `json:"handled,omitempty"`
}

// ScanOutcome is the result of a scan.
type ScanOutcome struct {
	// ScanStatus is success, failed, download_failed or image_oversized; empty: success.
	ScanStatus     string `json:"scan_status"`
	ScanFailedCode string `json:"scan_failed_code"`
	ScanFailedDesc string `json:"scan_failed_desc"`
	// SeverityLevel is that of a success; empty: Security.
	SeverityLevel string `json:"severity_level"`
	// The counts of a success; nil: 0.
	VulNum           *int `json:"vul_num"`
	UnsafeSettingNum *int `json:"unsafe_setting_num"`
	MaliciousFileNum *int `json:"malicious_file_num"`
}

const defaultEnterpriseProject = "0"

// VisibleTo reports whether requests of a project and an enterprise project see the row. An empty project sees the rows
// of all projects.
func (i *Image) VisibleTo(project, enterpriseProject string) bool {
	if i.Hidden || i.ProjectID != "" && project != "" && i.ProjectID != project {
		return false
	}
	return enterpriseProject == "all_granted_eps" ||
		cmp.Or(enterpriseProject, defaultEnterpriseProject) == cmp.Or(i.EnterpriseProjectID, defaultEnterpriseProject)
}

// VulnerabilitiesOf returns the vulnerabilities of the row, or of its architecture, with an image ID and names, and
// whether there is one.
func (i *Image) VulnerabilitiesOf(imageID, namespace, name, version string) ([]Vulnerability, bool) {
	want := [...]string{imageID, namespace, name, version}
	if want == [...]string{i.ImageID, i.Namespace, i.ImageName, i.ImageVersion} {
		return i.Vulnerabilities, true
	}
	for n := range i.AssociationImages {
		a := &i.AssociationImages[n]
		if want == [...]string{a.ImageID, a.Namespace, a.ImageName, a.ImageVersion} {
			return a.Vulnerabilities, true
		}
	}
	return nil, false
}

// AssignIDs gives an ID to rows and architectures without one.
func AssignIDs(images []Image) {
	var ids []*int64
	for i := range images {
		ids = append(ids, &images[i].ID)
		for j := range images[i].AssociationImages {
			ids = append(ids, &images[i].AssociationImages[j].ID)
		}
	}
	var last int64
	for _, id := range ids {
		last = max(last, *id)
	}
	for _, id := range ids {
		if *id == 0 {
			last++
			*id = last
		}
	}
}

// WireImage is RegistryImagesInfo as the API sends it.
type WireImage struct {
	Image

	LatestVersion    bool  `json:"latest_version"`
	LatestUpdateTime int64 `json:"latest_update_time,omitempty"`
	LatestScanTime   int64 `json:"latest_scan_time,omitempty"`
	LatestSyncTime   int64 `json:"latest_sync_time,omitempty"`
}

// Wire returns the row as the API sends it.
func (i *Image) Wire() WireImage {
	row := *i
	row.ProjectID, row.EnterpriseProjectID, row.Vulnerabilities, row.Hidden, row.Outcome = "", "", nil, false, nil
	row.AssociationImages = slices.Clone(i.AssociationImages)
	for n := range row.AssociationImages {
		row.AssociationImages[n].Vulnerabilities = nil
	}
	return WireImage{
		Image: row, LatestVersion: i.LatestVersion != nil && *i.LatestVersion,
		LatestUpdateTime: Milliseconds(i.LatestUpdateTime), LatestScanTime: Milliseconds(i.LatestScanTime),
		LatestSyncTime: Milliseconds(i.LatestSyncTime),
	}
}

// Wire returns the row as the API sends it.
func (v *Vulnerability) Wire() Vulnerability {
	row := *v
	row.Type, row.Handled = "", false
	return row
}

// Milliseconds returns t as the API sends it; 0 if it is zero.
func Milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
