package inventoryfile

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ImageTypes returns the documented image types.
func ImageTypes() []string {
	return []string{"private_image", "shared_image", "instance_image", "harbor", "jfrog"}
}

// RegistryTypes returns the documented registry types: those of [ImageTypes] in their order, and Other.
func RegistryTypes() []string {
	return []string{"SwrPrivate", "SwrShared", "SwrEnterprise", "Harbor", "Jfrog", "Other"}
}

// ScanStatuses returns the documented scan statuses.
func ScanStatuses() []string {
	return []string{"unscan", "success", "scanning", "failed", "download_failed", "image_oversized", "waiting_for_scan"}
}

// SeverityLevels returns the documented severity levels.
func SeverityLevels() []string { return []string{"Security", "Low", "Medium", "High"} }

// RepairNecessities returns the documented values of repair_necessity.
func RepairNecessities() []string {
	return []string{"immediate_repair", "delay_repair", "not_needed_repair"}
}

// RegistryStatuses returns the documented statuses of a registry.
func RegistryStatuses() []string { return []string{"success", "fail", "accessing"} }

// VulnerabilityTypes returns the documented types of vulnerabilities.
func VulnerabilityTypes() []string { return []string{"linux_vul", "app_vul"} }

// Endpoints returns the endpoints that a fault can be limited to.
func Endpoints() []string {
	return []string{"images", "vulnerabilities", "scan", "sync", "registries", "projects"}
}

// FaultKinds returns the kinds of faults; see [Fault].
func FaultKinds() []string {
	return []string{"cut", "empty", "error", "garbage", "hang", "html", "huge", "no_data_list", "reset", "slow", "status", "throttle"}
}

// problems collects what is wrong with a row.
type problems []error

// oneOf requires a field to be empty or one of the allowed values.
func (p *problems) oneOf(field, value string, allowed []string) {
	if value != "" && !slices.Contains(allowed, value) {
		*p = append(*p, fmt.Errorf("field %q is %.80q, allowed: %s", field, value, strings.Join(allowed, ", ")))
	}
}

func (p *problems) required(field, value string) {
	if value == "" {
		*p = append(*p, fmt.Errorf("field %q is missing", field))
	}
}

func (p *problems) within(field string, value *int, low, high int) {
	if value != nil && (*value < low || *value > high) {
		*p = append(*p, fmt.Errorf("field %q is %d, allowed: a whole number from %d to %d", field, *value, low, high))
	}
}

func (p *problems) counts(vul, unsafe, malicious *int) {
	const most = 1<<31 - 1
	p.within("vul_num", vul, 0, most)
	p.within("unsafe_setting_num", unsafe, 0, most)
	p.within("malicious_file_num", malicious, 0, most)
}

func (p *problems) vulnerabilities(list []Vulnerability) {
	for i := range list {
		v := &list[i]
		p.required("vulnerabilities.vul_id", v.VulID)
		p.oneOf("repair_necessity", v.RepairNecessity, RepairNecessities())
		p.oneOf("type", v.Type, VulnerabilityTypes())
		v.RepairNecessity = cmp.Or(v.RepairNecessity, "immediate_repair")
	}
}

// image checks a row and fills in the defaults.
func (r *imageRow) image(start time.Time) (Image, error) {
	i := r.Image
	var p problems
	p.required("image_name", i.ImageName)
	p.oneOf("image_type", i.ImageType, ImageTypes())
	p.oneOf("registry_type", i.RegistryType, RegistryTypes())
	p.oneOf("scan_status", i.ScanStatus, ScanStatuses())
	p.oneOf("severity_level", i.SeverityLevel, SeverityLevels())
	p.oneOf("shared_status", i.SharedStatus, []string{"expired", "effective"})
	p.counts(i.VulNum, i.UnsafeSettingNum, i.MaliciousFileNum)
	p.vulnerabilities(i.Vulnerabilities)
	if o := i.Outcome; o != nil {
		p.oneOf("scan_outcome.scan_status", o.ScanStatus, []string{"success", "failed", "download_failed", "image_oversized"})
		p.oneOf("scan_outcome.severity_level", o.SeverityLevel, SeverityLevels())
		p.counts(o.VulNum, o.UnsafeSettingNum, o.MaliciousFileNum)
	}
	if i.ID < 0 {
		p = append(p, fmt.Errorf(`field "id" is %d, allowed: a whole number from 1`, i.ID))
	}
	var errs [3]error
	i.LatestUpdateTime, errs[0] = parseTime("latest_update_time", r.LatestUpdateTime, start)
	i.LatestScanTime, errs[1] = parseTime("latest_scan_time", r.LatestScanTime, start)
	i.LatestSyncTime, errs[2] = parseTime("latest_sync_time", r.LatestSyncTime, start)
	p = append(p, errs[:]...)

	i.ScanStatus = cmp.Or(i.ScanStatus, "unscan")
	i.ImageType = cmp.Or(i.ImageType, ImageTypes()[0])
	at := slices.Index(ImageTypes(), i.ImageType)
	i.RegistryType = cmp.Or(i.RegistryType, RegistryTypes()[max(at, 0)])
	i.RegistryName = cmp.Or(i.RegistryName, i.RegistryType)
	i.ImageID, i.VulNum = identify(i.ImageID, i.ImageDigest, i.VulNum, i.Vulnerabilities, i.Namespace, i.ImageName, i.ImageVersion)
	i.Scannable = r.Scannable == nil || *r.Scannable
	i.MultiArch = len(i.AssociationImages) > 0
	if r.MultiArch != nil {
		i.MultiArch = *r.MultiArch
	}
	for n := range i.AssociationImages {
		i.AssociationImages[n].complete(&p, &i, strconv.Itoa(n))
	}
	return i, errors.Join(p...)
}

// complete checks an architecture and fills in the defaults, most of which are the row's.
func (a *Architecture) complete(p *problems, row *Image, number string) {
	p.oneOf("association_images.image_type", a.ImageType, ImageTypes())
	p.oneOf("association_images.scan_status", a.ScanStatus, ScanStatuses())
	p.counts(a.VulNum, a.UnsafeSettingNum, a.MaliciousFileNum)
	p.vulnerabilities(a.Vulnerabilities)
	a.Namespace = cmp.Or(a.Namespace, row.Namespace)
	a.ImageName = cmp.Or(a.ImageName, row.ImageName)
	a.ImageVersion = cmp.Or(a.ImageVersion, row.ImageVersion)
	a.ImageType = cmp.Or(a.ImageType, row.ImageType)
	a.ScanStatus = cmp.Or(a.ScanStatus, row.ScanStatus)
	a.ImageID, a.VulNum = identify(a.ImageID, a.ImageDigest, a.VulNum, a.Vulnerabilities, a.Namespace, a.ImageName, a.ImageVersion, number)
}

// identify returns the defaults of image_id, which is the digest's hexadecimal part in HSS, and of vul_num. An image with
// vulnerabilities and no digest gets an ID by its names, since its vulnerabilities are found by their image's ID.
func identify(id, digest string, count *int, found []Vulnerability, names ...string) (string, *int) {
	_, hexadecimal, _ := strings.Cut(digest, ":")
	id = cmp.Or(id, hexadecimal[:min(len(hexadecimal), 64)])
	if len(found) == 0 {
		return id, count
	}
	if id == "" {
		id = fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(names, "\x00"))))
	}
	if count == nil {
		count = new(len(found))
	}
	return id, count
}

func (r *registryRow) registry(start time.Time) (Registry, error) {
	registry := r.Registry
	var p problems
	p.required("id", registry.ID)
	p.required("registry_type", registry.Type)
	p.oneOf("registry_type", registry.Type, RegistryTypes())
	p.oneOf("status", registry.Status, RegistryStatuses())
	p.oneOf("protocol", registry.Protocol, []string{"http", "https"})
	at, err := parseTime("latest_sync_time", r.LatestSyncTime, start)
	registry.LatestSyncTime = at
	registry.Name = cmp.Or(registry.Name, registry.Type)
	registry.Protocol = cmp.Or(registry.Protocol, "https")
	return registry, errors.Join(append(p, err)...)
}

func (c *Credential) credential() (Credential, error) {
	var p problems
	p.required("access_key", c.AccessKey)
	p.required("secret_key", c.SecretKey)
	return *c, errors.Join(p...)
}

func (i *IAMProject) project() (IAMProject, error) {
	var p problems
	p.required("id", i.ID)
	p.required("name", i.Name)
	return *i, errors.Join(p...)
}

func (r *faultRow) fault() (Fault, error) {
	f := r.Fault
	var p problems
	p.required("kind", f.Kind)
	p.oneOf("kind", f.Kind, FaultKinds())
	p.oneOf("endpoint", f.Endpoint, Endpoints())
	if f.Status != 0 {
		p.within("status", &f.Status, 200, 599)
	}
	if r.Pause != "" {
		var err error
		if f.Pause, err = time.ParseDuration(r.Pause); err != nil || f.Pause < 0 {
			p = append(p, fmt.Errorf(`field "pause" is %.80q, allowed: a duration such as 100ms`, r.Pause))
		}
	}
	return f, errors.Join(p...)
}
