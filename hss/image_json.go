package hss

import "encoding/json"

// wireScan is what an image and one of its architectures have in common.
type wireScan struct {
	ID              identifier `json:"id,omitempty"`
	Namespace       text       `json:"namespace,omitempty"`
	Name            text       `json:"image_name,omitempty"`
	ImageID         text       `json:"image_id,omitempty"`
	Digest          text       `json:"image_digest,omitempty"`
	Version         text       `json:"image_version,omitempty"`
	Type            text       `json:"image_type,omitempty"`
	ScanStatus      text       `json:"scan_status,omitempty"`
	Vulnerabilities count      `json:"vul_num,omitzero"`
	UnsafeSettings  count      `json:"unsafe_setting_num,omitzero"`
	MaliciousFiles  count      `json:"malicious_file_num,omitzero"`
}

// wireImage is RegistryImagesInfo as it goes over the wire.
type wireImage struct {
	wireScan
	RegistryID            text        `json:"registry_id,omitempty"`
	RegistryName          text        `json:"registry_name,omitempty"`
	RegistryType          text        `json:"registry_type,omitempty"`
	LatestVersion         flag        `json:"latest_version"`
	Scannable             flag        `json:"scannable"`
	MultiArch             flag        `json:"is_multiple_arch"`
	ScanFailedCode        text        `json:"scan_failed_code,omitempty"`
	ScanFailedDescription text        `json:"scan_failed_desc,omitempty"`
	Size                  byteSize    `json:"image_size"`
	LatestUpdateTime      millis      `json:"latest_update_time,omitzero"`
	LatestScanTime        millis      `json:"latest_scan_time,omitzero"`
	LatestSyncTime        millis      `json:"latest_sync_time,omitzero"`
	DomainName            text        `json:"domain_name,omitempty"`
	SharedStatus          text        `json:"shared_status,omitempty"`
	InstanceName          text        `json:"instance_name,omitempty"`
	InstanceID            text        `json:"instance_id,omitempty"`
	InstanceURL           text        `json:"instance_url,omitempty"`
	Severity              text        `json:"severity_level,omitempty"`
	Architectures         []*wireScan `json:"association_images,omitempty"`
}

// UnmarshalJSON reads a row of the API's list. It accepts numbers and booleans
// sent as strings, an id of either kind, a size with a unit, nulls, and fields
// it does not know. A count that is negative or no number is left nil.
func (i *Image) UnmarshalJSON(data []byte) error {
	var wire *wireImage
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	image, err := wire.image()
	if err != nil {
		return err
	}
	*i = image
	return nil
}

// MarshalJSON writes the row in the API's names and units. What is unknown is
// left out.
func (i Image) MarshalJSON() ([]byte, error) {
	if i.Unreadable != "" {
		return nil, errUnreadable
	}
	return json.Marshal(i.wire())
}

// UnmarshalJSON reads one element of association_images, as tolerantly as [Image].
func (a *AssociatedImage) UnmarshalJSON(data []byte) error {
	var wire *wireScan
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	if wire == nil {
		return errNullRow
	}
	*a = wire.associated()
	return nil
}

// MarshalJSON writes the element in the API's names.
func (a AssociatedImage) MarshalJSON() ([]byte, error) { return json.Marshal(a.wire()) }

// image converts a row that was read.
func (w *wireImage) image() (Image, error) {
	if w == nil {
		return Image{}, errNullRow
	}
	architectures, err := associatedImages(w.Architectures)
	return Image{
		ID: string(w.ID), Namespace: string(w.Namespace), Name: string(w.Name),
		ImageID: string(w.ImageID), Digest: string(w.Digest), Version: string(w.Version),
		Type: ImageType(w.Type), ScanStatus: ScanStatus(w.ScanStatus),
		Vulnerabilities: w.Vulnerabilities.n, UnsafeSettings: w.UnsafeSettings.n, MaliciousFiles: w.MaliciousFiles.n,
		RegistryID: string(w.RegistryID), RegistryName: string(w.RegistryName), RegistryType: RegistryType(w.RegistryType),
		LatestVersion: bool(w.LatestVersion), Scannable: bool(w.Scannable), MultiArch: bool(w.MultiArch),
		ScanFailedCode: string(w.ScanFailedCode), ScanFailedDescription: string(w.ScanFailedDescription),
		Size:             int64(w.Size),
		LatestUpdateTime: w.LatestUpdateTime.at, LatestScanTime: w.LatestScanTime.at, LatestSyncTime: w.LatestSyncTime.at,
		DomainName: string(w.DomainName), SharedStatus: string(w.SharedStatus),
		InstanceName: string(w.InstanceName), InstanceID: string(w.InstanceID), InstanceURL: string(w.InstanceURL),
		Severity: Severity(w.Severity), Architectures: architectures,
	}, err
}

// wire converts a row that is to be written.
func (i Image) wire() *wireImage {
	architectures := make([]*wireScan, 0, len(i.Architectures))
	for _, a := range i.Architectures {
		architectures = append(architectures, a.wire())
	}
	return &wireImage{
		wireScan: wireScan{
			ID: identifier(i.ID), Namespace: text(i.Namespace), Name: text(i.Name),
			ImageID: text(i.ImageID), Digest: text(i.Digest), Version: text(i.Version),
			Type: text(i.Type), ScanStatus: text(i.ScanStatus),
			Vulnerabilities: count{i.Vulnerabilities}, UnsafeSettings: count{i.UnsafeSettings}, MaliciousFiles: count{i.MaliciousFiles},
		},
		RegistryID: text(i.RegistryID), RegistryName: text(i.RegistryName), RegistryType: text(i.RegistryType),
		LatestVersion: flag(i.LatestVersion), Scannable: flag(i.Scannable), MultiArch: flag(i.MultiArch),
		ScanFailedCode: text(i.ScanFailedCode), ScanFailedDescription: text(i.ScanFailedDescription),
		Size:             byteSize(i.Size),
		LatestUpdateTime: millis{i.LatestUpdateTime}, LatestScanTime: millis{i.LatestScanTime}, LatestSyncTime: millis{i.LatestSyncTime},
		DomainName: text(i.DomainName), SharedStatus: text(i.SharedStatus),
		InstanceName: text(i.InstanceName), InstanceID: text(i.InstanceID), InstanceURL: text(i.InstanceURL),
		Severity: text(i.Severity), Architectures: architectures,
	}
}

// associatedImages converts the architectures of a row; none of them may be null.
func associatedImages(wire []*wireScan) ([]AssociatedImage, error) {
	if len(wire) == 0 {
		return nil, nil
	}
	images := make([]AssociatedImage, 0, len(wire))
	for _, w := range wire {
		if w == nil {
			return nil, errNullRow
		}
		images = append(images, w.associated())
	}
	return images, nil
}

// associated converts one architecture that was read.
func (w *wireScan) associated() AssociatedImage {
	return AssociatedImage{
		ID: string(w.ID), ImageID: string(w.ImageID), Name: string(w.Name), Version: string(w.Version),
		Type: ImageType(w.Type), Namespace: string(w.Namespace), Digest: string(w.Digest),
		ScanStatus:      ScanStatus(w.ScanStatus),
		Vulnerabilities: w.Vulnerabilities.n, UnsafeSettings: w.UnsafeSettings.n, MaliciousFiles: w.MaliciousFiles.n,
	}
}

// wire converts one architecture that is to be written.
func (a AssociatedImage) wire() *wireScan {
	return &wireScan{
		ID: identifier(a.ID), ImageID: text(a.ImageID), Name: text(a.Name), Version: text(a.Version),
		Type: text(a.Type), Namespace: text(a.Namespace), Digest: text(a.Digest),
		ScanStatus:      text(a.ScanStatus),
		Vulnerabilities: count{a.Vulnerabilities}, UnsafeSettings: count{a.UnsafeSettings}, MaliciousFiles: count{a.MaliciousFiles},
	}
}
