package hss

import "time"

// ListRequest holds the query of ListRegistryImages. Zero values are not sent.
type ListRequest struct {
	// EnterpriseProjectID: 1–256 characters; AllGrantedEnterpriseProjects
	// for every one. Empty means the default enterprise project only.
	EnterpriseProjectID string
	// Namespace is the organisation, 1–128 characters.
	Namespace string
	// ImageName has 1–128 characters, ImageVersion 1–64, RegistryName 1–128.
	ImageName    string
	ImageVersion string
	RegistryName string
	ImageType    ImageType
	// Offset is 0–2,000,000 rows.
	Offset int
	// Limit is 1–200 rows; 0 leaves it to the API, whose default is 10.
	Limit int
	// SortKey is SortByLatestScanTime or empty; SortDir is SortAscending,
	// SortDescending or empty.
	SortKey SortKey
	SortDir SortDir
	// LatestVersion asks only for the newest version of each image.
	LatestVersion *bool
	// ImageSize is in bytes, 0–2,147,483,547.
	ImageSize  *int64
	ScanStatus ScanStatus
	// The time ranges are inclusive and of millisecond precision.
	StartLatestUpdateTime time.Time
	EndLatestUpdateTime   time.Time
	StartLatestScanTime   time.Time
	EndLatestScanTime     time.Time
	StartLatestSyncTime   time.Time
	EndLatestSyncTime     time.Time
	HasMaliciousFile      *bool
	HasUnsafeSetting      *bool
	HasVulnerability      *bool
	Risky                 *bool
	MultiArch             *bool
	// InstanceID and InstanceName, 0–128 characters, are of SWR Enterprise.
	InstanceID   string
	InstanceName string
	Severity     Severity
}
