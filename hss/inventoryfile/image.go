package inventoryfile

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Image is one row of the inventory: RegistryImagesInfo of the API, and fields that only files and servers have. What is
// zero is not sent, but for the flags.
type Image struct {
	// ID is unique. Rows without one get it from [AssignIDs].
	ID int64 `json:"id"`
	// ProjectID is the project that sees the row; empty: every project.
	ProjectID string `json:"project_id,omitzero"`
	// EnterpriseProjectID is the enterprise project of the row; empty: "0", the default one.
	EnterpriseProjectID string `json:"enterprise_project_id,omitzero"`

	Namespace    string `json:"namespace"`
	ImageName    string `json:"image_name" required:""`
	ImageVersion string `json:"image_version"`
	ImageID      string `json:"image_id,omitzero"`
	ImageDigest  string `json:"image_digest,omitzero"`
	ImageType    string `json:"image_type,omitzero" oneof:"private_image shared_image instance_image harbor jfrog"`

	RegistryID    string `json:"registry_id,omitzero"`
	RegistryName  string `json:"registry_name,omitzero"`
	RegistryType  string `json:"registry_type,omitzero" oneof:"SwrPrivate SwrShared SwrEnterprise Harbor Jfrog Other"`
	LatestVersion bool   `json:"latest_version"`
	Scannable     bool   `json:"scannable"`
	MultiArch     bool   `json:"is_multiple_arch"`

	ScanStatus       string `json:"scan_status,omitzero" oneof:"unscan success scanning failed download_failed image_oversized waiting_for_scan"`
	ScanFailedCode   string `json:"scan_failed_code,omitzero"`
	ScanFailedDesc   string `json:"scan_failed_desc,omitzero"`
	SeverityLevel    string `json:"severity_level,omitzero" oneof:"Security Low Medium High"`
	VulNum           *int   `json:"vul_num,omitzero"`
	UnsafeSettingNum *int   `json:"unsafe_setting_num,omitzero"`
	MaliciousFileNum *int   `json:"malicious_file_num,omitzero"`
	ImageSize        int64  `json:"image_size,omitzero"`
	// The times have millisecond precision.
	LatestUpdateTime time.Time `json:"latest_update_time,omitzero"`
	LatestScanTime   time.Time `json:"latest_scan_time,omitzero"`
	LatestSyncTime   time.Time `json:"latest_sync_time,omitzero"`

	DomainName   string `json:"domain_name,omitzero"`
	SharedStatus string `json:"shared_status,omitzero" oneof:"expired effective"`
	InstanceID   string `json:"instance_id,omitzero"`
	InstanceName string `json:"instance_name,omitzero"`
	InstanceURL  string `json:"instance_url,omitzero"`

	AssociationImages []Architecture `json:"association_images,omitzero"`
	// Vulnerabilities are found by ImageID, whatever VulNum is.
	Vulnerabilities []Vulnerability `json:"vulnerabilities,omitzero"`

	// Hidden rows are unknown to HSS until their registry (RegistryID, RegistryType) is synchronized.
	Hidden bool `json:"hidden,omitzero"`
	// Outcome is the result of a scan; nil: no findings.
	Outcome *ScanOutcome `json:"scan_outcome,omitzero"`
}

// Architecture is one architecture of an image: AssociateImagesInfo of the API. It has no severity level.
type Architecture struct {
	ID               int64  `json:"id"`
	Namespace        string `json:"namespace"`
	ImageName        string `json:"image_name"`
	ImageVersion     string `json:"image_version"`
	ImageID          string `json:"image_id,omitzero"`
	ImageDigest      string `json:"image_digest,omitzero"`
	ImageType        string `json:"image_type,omitzero" oneof:"private_image shared_image instance_image harbor jfrog"`
	ScanStatus       string `json:"scan_status,omitzero" oneof:"unscan success scanning failed download_failed image_oversized waiting_for_scan"`
	VulNum           *int   `json:"vul_num,omitzero"`
	UnsafeSettingNum *int   `json:"unsafe_setting_num,omitzero"`
	MaliciousFileNum *int   `json:"malicious_file_num,omitzero"`
	// Vulnerabilities are found by ImageID.
	Vulnerabilities []Vulnerability `json:"vulnerabilities,omitzero"`
}

// Vulnerability is one row of an image's vulnerabilities: ImageVulInfo of the API.
type Vulnerability struct {
	VulID string `json:"vul_id,omitzero" required:""`
	// RepairNecessity is immediate_repair by default.
	RepairNecessity string `json:"repair_necessity,omitzero" oneof:"immediate_repair delay_repair not_needed_repair"`
	Description     string `json:"description,omitzero"`
	Position        string `json:"position,omitzero"`
	AppName         string `json:"app_name,omitzero"`
	AppPath         string `json:"app_path,omitzero"`
	Version         string `json:"version,omitzero"`
	Solution        string `json:"solution,omitzero"`
	URL             string `json:"url,omitzero"`
}

// ScanOutcome is the result of a scan: by default success with Security and no findings.
type ScanOutcome struct {
	ScanStatus       string `json:"scan_status" oneof:"success failed download_failed image_oversized"`
	ScanFailedCode   string `json:"scan_failed_code"`
	ScanFailedDesc   string `json:"scan_failed_desc"`
	SeverityLevel    string `json:"severity_level" oneof:"Security Low Medium High"`
	VulNum           *int   `json:"vul_num"`
	UnsafeSettingNum *int   `json:"unsafe_setting_num"`
	MaliciousFileNum *int   `json:"malicious_file_num"`
}

// Registry is a registry that HSS knows: RegistryInfo of the API. ID and Type identify it in a synchronization.
type Registry struct {
	ID   string `json:"id" required:""`
	Name string `json:"registry_name,omitzero"`
	Type string `json:"registry_type" required:"" oneof:"SwrPrivate SwrShared SwrEnterprise Harbor Jfrog Other"`
	// Address is the host of its images, with an optional port.
	Address        string    `json:"registry_addr,omitzero"`
	LatestSyncTime time.Time `json:"latest_sync_time,omitzero"`
	// ProjectID is the project that sees it; empty: every project.
	ProjectID string `json:"project_id,omitzero"`
}

// complete fills in what a file leaves out.
func (i *Image) complete() {
	i.ImageType = cmp.Or(i.ImageType, "private_image")
	i.RegistryType = cmp.Or(i.RegistryType, map[string]string{
		"private_image": "SwrPrivate", "shared_image": "SwrShared", "instance_image": "SwrEnterprise", "harbor": "Harbor", "jfrog": "Jfrog",
	}[i.ImageType])
	i.RegistryName = cmp.Or(i.RegistryName, i.RegistryType)
	i.ScanStatus = cmp.Or(i.ScanStatus, "unscan")
	i.MultiArch = i.MultiArch || len(i.AssociationImages) > 0
	identify(&i.ImageID, &i.VulNum, i.ImageDigest, i.Vulnerabilities, i.Namespace, i.ImageName, i.ImageVersion)
	for n := range i.AssociationImages {
		a := &i.AssociationImages[n]
		a.Namespace, a.ImageName = cmp.Or(a.Namespace, i.Namespace), cmp.Or(a.ImageName, i.ImageName)
		a.ImageVersion, a.ImageType = cmp.Or(a.ImageVersion, i.ImageVersion), cmp.Or(a.ImageType, i.ImageType)
		a.ScanStatus = cmp.Or(a.ScanStatus, i.ScanStatus)
		identify(&a.ImageID, &a.VulNum, a.ImageDigest, a.Vulnerabilities, a.Namespace, a.ImageName, a.ImageVersion, fmt.Sprint(n))
	}
}

// identify fills in an image_id, which is the digest's hexadecimal part in HSS, and the number of vulnerabilities. An
// image with vulnerabilities and no digest gets an ID by its names, since its vulnerabilities are found by its ID.
func identify(id *string, count **int, digest string, found []Vulnerability, names ...string) {
	_, hexadecimal, _ := strings.Cut(digest, ":")
	*id = cmp.Or(*id, hexadecimal[:min(len(hexadecimal), 64)])
	if len(found) == 0 {
		return
	}
	if *id == "" {
		*id = fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(names, "\x00"))))
	}
	if *count == nil {
		*count = new(len(found))
	}
	for n := range found {
		found[n].RepairNecessity = cmp.Or(found[n].RepairNecessity, "immediate_repair")
	}
}

// VisibleTo reports whether requests of a project and an enterprise project see the row. An empty project sees the rows
// of all projects.
func (i *Image) VisibleTo(project, enterpriseProject string) bool {
	if i.Hidden || i.ProjectID != "" && project != "" && i.ProjectID != project {
		return false
	}
	return enterpriseProject == "all_granted_eps" || cmp.Or(enterpriseProject, "0") == cmp.Or(i.EnterpriseProjectID, "0")
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

// Listed returns the row without what HSS does not list.
func (i *Image) Listed() Image {
	row := *i
	row.ProjectID, row.EnterpriseProjectID, row.Vulnerabilities, row.Hidden, row.Outcome = "", "", nil, false, nil
	row.AssociationImages = slices.Clone(i.AssociationImages)
	for n := range row.AssociationImages {
		row.AssociationImages[n].Vulnerabilities = nil
	}
	return row
}

// Marshal returns v in JSON as HSS sends it: times are milliseconds since 1970.
func Marshal(v any) ([]byte, error) {
	return json.Marshal(v, json.WithMarshalers(json.MarshalToFunc(func(e *jsontext.Encoder, at time.Time) error {
		return e.WriteToken(jsontext.Int(at.UnixMilli()))
	})))
}
