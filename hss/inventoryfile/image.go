package inventoryfile

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/hssgate/hssgate/hss"
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
	// Vulnerabilities are found by ImageID, whatever VulNum is. So are the others.
	Vulnerabilities []Vulnerability `json:"vulnerabilities,omitzero"`
	Secrets         []Secret        `json:"secrets,omitzero"`
	MaliciousFiles  []MaliciousFile `json:"malicious_files,omitzero"`

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
	// Vulnerabilities are found by ImageID, as are the others.
	Vulnerabilities []Vulnerability `json:"vulnerabilities,omitzero"`
	Secrets         []Secret        `json:"secrets,omitzero"`
	MaliciousFiles  []MaliciousFile `json:"malicious_files,omitzero"`
}

// Vulnerability is one row of an image's vulnerabilities: ImageVulInfo of the API, and fields by which other calls list it.
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

	// Type is linux_vul by default.
	Type string `json:"type,omitzero" oneof:"linux_vul app_vul"`
	// Status is vul_status_unfix by default. An ignored vulnerability counts as handled.
	Status string `json:"status,omitzero" oneof:"vul_status_unfix vul_status_ignored"`
	// CVEs are those of the notice. By default an ID that begins with CVE- is the only one, without a score.
	CVEs []CVE `json:"cves,omitzero"`
}

// CVE is one CVE of a vulnerability: ImageVulCveInfo of the API.
type CVE struct {
	ID          string    `json:"cve_id,omitzero" required:""`
	CVSS        *float64  `json:"cvss_score,omitzero"`
	PublishedAt time.Time `json:"publish_time,omitzero"`
	Description string    `json:"description,omitzero"`
}

// Secret is a secret in an image: ImageSensitiveInfo of the API. Content is the secret, which hssgate never reads.
type Secret struct {
	ID             string    `json:"sensitive_info_id,omitzero"`
	Severity       string    `json:"severity,omitzero" oneof:"critical high medium low"`
	Name           string    `json:"name,omitzero"`
	Description    string    `json:"description,omitzero"`
	Position       string    `json:"position,omitzero"`
	FilePath       string    `json:"file_path,omitzero"`
	Content        string    `json:"content,omitzero"`
	LatestScanTime time.Time `json:"latest_scan_time,omitzero"`
	HandleStatus   string    `json:"handle_status,omitzero" oneof:"unhandled handled"`
	OperateAccept  string    `json:"operate_accept,omitzero" oneof:"ignore do_not_ignore"`
}

// MaliciousFile is a malicious file in an image: ImageMalwareInfo of the API.
type MaliciousFile struct {
	Name        string `json:"file_name,omitzero"`
	Path        string `json:"file_path,omitzero"`
	Size        *int   `json:"size,omitzero"`
	Description string `json:"description,omitzero"`
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

func (i *Image) complete() {
	i.ImageType = cmp.Or(i.ImageType, "private_image")
	i.RegistryType = cmp.Or(i.RegistryType, string(hss.ImageType(i.ImageType).RegistryType()))
	i.RegistryName = cmp.Or(i.RegistryName, i.RegistryType)
	i.ScanStatus = cmp.Or(i.ScanStatus, "unscan")
	i.MultiArch = i.MultiArch || len(i.AssociationImages) > 0
	own := i.own()
	own.identify()
	i.ImageID, i.VulNum, i.MaliciousFileNum = own.ImageID, own.VulNum, own.MaliciousFileNum
	for n := range i.AssociationImages {
		a := &i.AssociationImages[n]
		a.Namespace, a.ImageName = cmp.Or(a.Namespace, i.Namespace), cmp.Or(a.ImageName, i.ImageName)
		a.ImageVersion, a.ImageType = cmp.Or(a.ImageVersion, i.ImageVersion), cmp.Or(a.ImageType, i.ImageType)
		a.ScanStatus = cmp.Or(a.ScanStatus, i.ScanStatus)
		a.identify(fmt.Sprint(n))
	}
}

func (i *Image) own() Architecture {
	return Architecture{
		Namespace: i.Namespace, ImageName: i.ImageName, ImageVersion: i.ImageVersion, ImageID: i.ImageID, ImageDigest: i.ImageDigest,
		VulNum: i.VulNum, MaliciousFileNum: i.MaliciousFileNum,
		Vulnerabilities: i.Vulnerabilities, Secrets: i.Secrets, MaliciousFiles: i.MaliciousFiles,
	}
}

// identify fills in an image_id, which is the digest's hexadecimal part in HSS, and the numbers of what is listed. An image
// with findings and no digest gets an ID by its names, since they are found by its ID.
func (a *Architecture) identify(more ...string) {
	_, hexadecimal, _ := strings.Cut(a.ImageDigest, ":")
	a.ImageID = cmp.Or(a.ImageID, hexadecimal[:min(len(hexadecimal), 64)])
	if a.ImageID == "" && len(a.Vulnerabilities)+len(a.Secrets)+len(a.MaliciousFiles) > 0 {
		names := append([]string{a.Namespace, a.ImageName, a.ImageVersion}, more...)
		a.ImageID = fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(names, "\x00"))))
	}
	if listed := len(a.Vulnerabilities); listed > 0 && a.VulNum == nil {
		a.VulNum = &listed
	}
	if listed := len(a.MaliciousFiles); listed > 0 && a.MaliciousFileNum == nil {
		a.MaliciousFileNum = &listed
	}
	for n := range a.Vulnerabilities {
		a.Vulnerabilities[n].RepairNecessity = cmp.Or(a.Vulnerabilities[n].RepairNecessity, "immediate_repair")
	}
}

// VisibleTo reports whether requests of a project, if it is not empty, and of an enterprise project see the row.
func (i *Image) VisibleTo(project, enterpriseProject string) bool {
	if i.Hidden || i.ProjectID != "" && project != "" && i.ProjectID != project {
		return false
	}
	return enterpriseProject == "all_granted_eps" || cmp.Or(enterpriseProject, "0") == cmp.Or(i.EnterpriseProjectID, "0")
}

// Parts yields the row without its architectures, and its architectures: what HSS lists findings of.
func (i *Image) Parts() iter.Seq[*Architecture] {
	return func(yield func(*Architecture) bool) {
		if !yield(new(i.own())) {
			return
		}
		for n := range i.AssociationImages {
			if !yield(&i.AssociationImages[n]) {
				return
			}
		}
	}
}

// Part returns the part of the row with an image ID and names; nil: there is none.
func (i *Image) Part(imageID, namespace, name, version string) *Architecture {
	want := [...]string{imageID, namespace, name, version}
	for a := range i.Parts() {
		if want == [...]string{a.ImageID, a.Namespace, a.ImageName, a.ImageVersion} {
			return a
		}
	}
	return nil
}

// AllCVEs returns the CVEs of the vulnerability.
func (v *Vulnerability) AllCVEs() []CVE {
	if len(v.CVEs) == 0 && strings.HasPrefix(v.VulID, "CVE-") {
		return []CVE{{ID: v.VulID}}
	}
	return v.CVEs
}

// CVEsOf returns the CVEs of a vulnerability: those that the first row has which names some.
func CVEsOf(images []Image, vulID string) (unnamed []CVE) {
	for n := range images {
		for a := range images[n].Parts() {
			for i := range a.Vulnerabilities {
				v := &a.Vulnerabilities[i]
				if v.VulID == vulID && len(v.CVEs) > 0 {
					return v.CVEs
				}
				if v.VulID == vulID {
					unnamed = v.AllCVEs()
				}
			}
		}
	}
	return unnamed
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
	row.ProjectID, row.EnterpriseProjectID, row.Hidden, row.Outcome = "", "", false, nil
	row.Vulnerabilities, row.Secrets, row.MaliciousFiles = nil, nil, nil
	row.AssociationImages = slices.Clone(i.AssociationImages)
	for n := range row.AssociationImages {
		a := &row.AssociationImages[n]
		a.Vulnerabilities, a.Secrets, a.MaliciousFiles = nil, nil, nil
	}
	return row
}

// Listed returns the row as HSS lists it for an image.
func (v *Vulnerability) Listed() Vulnerability {
	row := *v
	row.Type, row.Status, row.CVEs = "", "", nil
	return row
}

// Marshal returns v in JSON as HSS sends it: times are milliseconds since 1970.
func Marshal(v any) ([]byte, error) {
	return json.Marshal(v, json.WithMarshalers(json.MarshalToFunc(func(e *jsontext.Encoder, at time.Time) error {
		return e.WriteToken(jsontext.Int(at.UnixMilli()))
	})))
}
