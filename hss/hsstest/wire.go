package hsstest

import "time"

// listBody is the answer to a request of a list.
type listBody[W any] struct {
	TotalNum int `json:"total_num"`
	DataList []W `json:"data_list"`
}

func (b *listBody[W]) rows() int { return len(b.DataList) }

// wireImage is RegistryImagesInfo as the API sends it.
type wireImage struct {
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
	AssociationImages []wireArchitecture `json:"association_images,omitempty"`
}

// wireArchitecture is AssociateImagesInfo as the API sends it.
type wireArchitecture struct {
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

// wire is the row as it is sent.
func (i *Image) wire() wireImage {
	return wireImage{
		ID: i.ID, Namespace: i.Namespace, ImageName: i.ImageName, ImageID: i.ImageID,
		ImageDigest: i.ImageDigest, ImageVersion: i.ImageVersion, ImageType: i.ImageType,
		RegistryID: i.RegistryID, RegistryName: i.RegistryName, RegistryType: i.RegistryType,
		LatestVersion: i.LatestVersion != nil && *i.LatestVersion,
		ScanStatus:    i.ScanStatus, ScanFailedCode: i.ScanFailedCode, ScanFailedDesc: i.ScanFailedDesc,
		ImageSize: i.ImageSize, LatestUpdateTime: milliseconds(i.LatestUpdateTime),
		LatestScanTime: milliseconds(i.LatestScanTime), LatestSyncTime: milliseconds(i.LatestSyncTime),
		VulNum: i.VulNum, UnsafeSettingNum: i.UnsafeSettingNum, MaliciousFileNum: i.MaliciousFileNum,
		DomainName: i.DomainName, SharedStatus: i.SharedStatus,
		Scannable: i.Scannable, IsMultipleArch: i.MultiArch,
		InstanceName: i.InstanceName, InstanceID: i.InstanceID, InstanceURL: i.InstanceURL,
		SeverityLevel: i.SeverityLevel, AssociationImages: wireArchitectures(i.AssociationImages),
	}
}

func wireArchitectures(list []Architecture) []wireArchitecture {
	out := make([]wireArchitecture, 0, len(list))
	for _, a := range list {
		out = append(out, wireArchitecture{
			ID: a.ID, ImageID: a.ImageID, ImageName: a.ImageName, ImageVersion: a.ImageVersion,
			ImageType: a.ImageType, Namespace: a.Namespace, ImageDigest: a.ImageDigest,
			ScanStatus: a.ScanStatus, VulNum: a.VulNum, UnsafeSettingNum: a.UnsafeSettingNum,
			MaliciousFileNum: a.MaliciousFileNum,
		})
	}
	return out
}

// milliseconds is t as the API sends it; 0 if there is none.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
