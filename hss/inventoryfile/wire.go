package inventoryfile

import "time"

// WireImage is RegistryImagesInfo as the API sends it.
type WireImage struct {
	ID                int64              `json:"id"`
	Namespace         string             `json:"namespace"`
	ImageName         string             `json:"image_name"`
	ImageID           string             `json:"image_id,omitempty"`
	ImageDigest       string             `json:"image_digest,omitempty"`
	ImageVersion      string             `json:"image_version"`
	ImageType         string             `json:"image_type,omitempty"`
	RegistryID        string             `json:"registry_id,omitempty"`
	RegistryName      string             `json:"registry_name,omitempty"`
	RegistryType      string             `json:"registry_type,omitempty"`
	LatestVersion     bool               `json:"latest_version"`
	ScanStatus        string             `json:"scan_status,omitempty"`
	ScanFailedCode    string             `json:"scan_failed_code,omitempty"`
	ScanFailedDesc    string             `json:"scan_failed_desc,omitempty"`
	ImageSize         int64              `json:"image_size,omitempty"`
	LatestUpdateTime  int64              `json:"latest_update_time,omitempty"`
	LatestScanTime    int64              `json:"latest_scan_time,omitempty"`
	LatestSyncTime    int64              `json:"latest_sync_time,omitempty"`
	VulNum            *int               `json:"vul_num,omitempty"`
	UnsafeSettingNum  *int               `json:"unsafe_setting_num,omitempty"`
	MaliciousFileNum  *int               `json:"malicious_file_num,omitempty"`
	DomainName        string             `json:"domain_name,omitempty"`
	SharedStatus      string             `json:"shared_status,omitempty"`
	Scannable         bool               `json:"scannable"`
	IsMultipleArch    bool               `json:"is_multiple_arch"`
	InstanceName      string             `json:"instance_name,omitempty"`
	InstanceID        string             `json:"instance_id,omitempty"`
	InstanceURL       string             `json:"instance_url,omitempty"`
	SeverityLevel     string             `json:"severity_level,omitempty"`
	AssociationImages []WireArchitecture `json:"association_images,omitempty"`
}

// WireArchitecture is AssociateImagesInfo as the API sends it.
type WireArchitecture struct {
	ID               int64  `json:"id"`
	ImageID          string `json:"image_id,omitempty"`
	ImageName        string `json:"image_name"`
	ImageVersion     string `json:"image_version"`
	ImageType        string `json:"image_type,omitempty"`
	Namespace        string `json:"namespace"`
	ImageDigest      string `json:"image_digest,omitempty"`
	ScanStatus       string `json:"scan_status,omitempty"`
	VulNum           *int   `json:"vul_num,omitempty"`
	UnsafeSettingNum *int   `json:"unsafe_setting_num,omitempty"`
	MaliciousFileNum *int   `json:"malicious_file_num,omitempty"`
}

// Wire returns the row as the API sends it.
func (i *Image) Wire() WireImage {
	return WireImage{
		ID: i.ID, Namespace: i.Namespace, ImageName: i.ImageName, ImageID: i.ImageID,
		ImageDigest: i.ImageDigest, ImageVersion: i.ImageVersion, ImageType: i.ImageType,
		RegistryID: i.RegistryID, RegistryName: i.RegistryName, RegistryType: i.RegistryType,
		LatestVersion: i.LatestVersion != nil && *i.LatestVersion,
		ScanStatus:    i.ScanStatus, ScanFailedCode: i.ScanFailedCode, ScanFailedDesc: i.ScanFailedDesc,
		ImageSize: i.ImageSize, LatestUpdateTime: Milliseconds(i.LatestUpdateTime),
		LatestScanTime: Milliseconds(i.LatestScanTime), LatestSyncTime: Milliseconds(i.LatestSyncTime),
		VulNum: i.VulNum, UnsafeSettingNum: i.UnsafeSettingNum, MaliciousFileNum: i.MaliciousFileNum,
		DomainName: i.DomainName, SharedStatus: i.SharedStatus,
		Scannable: i.Scannable, IsMultipleArch: i.MultiArch,
		InstanceName: i.InstanceName, InstanceID: i.InstanceID, InstanceURL: i.InstanceURL,
		SeverityLevel: i.SeverityLevel, AssociationImages: wireArchitectures(i.AssociationImages),
	}
}

func wireArchitectures(list []Architecture) []WireArchitecture {
	out := make([]WireArchitecture, 0, len(list))
	for _, a := range list {
		out = append(out, WireArchitecture{
			ID: a.ID, ImageID: a.ImageID, ImageName: a.ImageName, ImageVersion: a.ImageVersion,
			ImageType: a.ImageType, Namespace: a.Namespace, ImageDigest: a.ImageDigest,
			ScanStatus: a.ScanStatus, VulNum: a.VulNum, UnsafeSettingNum: a.UnsafeSettingNum,
			MaliciousFileNum: a.MaliciousFileNum,
		})
	}
	return out
}

// Milliseconds returns t as the API sends it; 0 if it is zero.
func Milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// WireVulnerability is ImageVulInfo as the API sends it.
type WireVulnerability struct {
	VulID           string `json:"vul_id,omitempty"`
	RepairNecessity string `json:"repair_necessity,omitempty"`
	Description     string `json:"description,omitempty"`
	Position        string `json:"position,omitempty"`
	AppName         string `json:"app_name,omitempty"`
	AppPath         string `json:"app_path,omitempty"`
	Version         string `json:"version,omitempty"`
	Solution        string `json:"solution,omitempty"`
	URL             string `json:"url,omitempty"`
}

// Wire returns the row as the API sends it.
func (v *Vulnerability) Wire() WireVulnerability {
	return WireVulnerability{
		VulID: v.VulID, RepairNecessity: v.RepairNecessity, Description: v.Description, Position: v.Position,
		AppName: v.AppName, AppPath: v.AppPath, Version: v.Version, Solution: v.Solution, URL: v.URL,
	}
}
