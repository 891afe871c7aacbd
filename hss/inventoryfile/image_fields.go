package inventoryfile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxImageSize is the API's limit, in bytes.
const maxImageSize = 2_147_483_547

// imageRow is a row with the flags that it may leave out.
type imageRow struct {
	Image
	scannable, multiArch *bool
}

// imageFields are the fields of a row: the API's, and where the row belongs.
func imageFields(start time.Time) map[string]setter[imageRow] {
	fields := map[string]setter[imageRow]{
		"id":                    integer(1, math.MaxInt64, func(i *imageRow, n int64) { i.ID = n }),
		"project_id":            text(1, 64, func(i *imageRow) *string { return &i.ProjectID }),
		"enterprise_project_id": text(1, 256, func(i *imageRow) *string { return &i.EnterpriseProjectID }),
		"latest_version":        flag(func(i *imageRow, b bool) { i.LatestVersion = &b }),
		"scannable":             flag(func(i *imageRow, b bool) { i.scannable = &b }),
		"is_multiple_arch":      flag(func(i *imageRow, b bool) { i.multiArch = &b }),
		"image_size":            integer(0, maxImageSize, func(i *imageRow, n int64) { i.ImageSize = n }),
		"association_images": func(i *imageRow, raw json.RawMessage) (err error) {
			i.AssociationImages, err = decodeList("association_images", raw, architectureFields(), finishNothing)
			return err
		},
		"hidden": flag(func(i *imageRow, b bool) { i.Hidden = b }),
		"scan_outcome": func(i *imageRow, raw json.RawMessage) error {
			i.Outcome = &ScanOutcome{}
			if err := decodeObject("scan_outcome", raw, outcomeFields(), i.Outcome); err != nil {
				return &nestedError{[]error{err}}
			}
			return nil
		},
		"vulnerabilities": vulnerabilityList(func(i *imageRow) *[]Vulnerability { return &i.Vulnerabilities }),
	}
	maps.Copy(fields, imageTextFields())
	maps.Copy(fields, imageScanFields(start))
	return fields
}

func imageTextFields() map[string]setter[imageRow] {
	return map[string]setter[imageRow]{
		fieldNamespace:  text(0, 64, func(i *imageRow) *string { return &i.Namespace }),
		fieldImageName:  text(1, 128, func(i *imageRow) *string { return &i.ImageName }),
		"image_version": text(0, 64, func(i *imageRow) *string { return &i.ImageVersion }),
		"image_id":      text(0, 64, func(i *imageRow) *string { return &i.ImageID }),
		"image_digest":  text(0, 128, func(i *imageRow) *string { return &i.ImageDigest }),
		"image_type":    choice(ImageTypes(), func(i *imageRow) *string { return &i.ImageType }),
		"registry_id":   text(1, 64, func(i *imageRow) *string { return &i.RegistryID }),
		"registry_name": text(1, 128, func(i *imageRow) *string { return &i.RegistryName }),
		"registry_type": choice(RegistryTypes(), func(i *imageRow) *string { return &i.RegistryType }),
		"domain_name":   text(0, 128, func(i *imageRow) *string { return &i.DomainName }),
		"shared_status": choice(sharedStatuses(), func(i *imageRow) *string { return &i.SharedStatus }),
		"instance_id":   text(0, 64, func(i *imageRow) *string { return &i.InstanceID }),
		"instance_name": text(0, 128, func(i *imageRow) *string { return &i.InstanceName }),
		"instance_url":  text(0, 256, func(i *imageRow) *string { return &i.InstanceURL }),
	}
}

func imageScanFields(start time.Time) map[string]setter[imageRow] {
	return map[string]setter[imageRow]{
		"scan_status":        choice(ScanStatuses(), func(i *imageRow) *string { return &i.ScanStatus }),
		"scan_failed_code":   choice(scanFailedCodes(), func(i *imageRow) *string { return &i.ScanFailedCode }),
		"scan_failed_desc":   text(0, 1024, func(i *imageRow) *string { return &i.ScanFailedDesc }),
		"severity_level":     choice(SeverityLevels(), func(i *imageRow) *string { return &i.SeverityLevel }),
		"vul_num":            count(func(i *imageRow) **int { return &i.VulNum }),
		"unsafe_setting_num": count(func(i *imageRow) **int { return &i.UnsafeSettingNum }),
		"malicious_file_num": count(func(i *imageRow) **int { return &i.MaliciousFileNum }),
		"latest_update_time": instant(start, func(i *imageRow) *time.Time { return &i.LatestUpdateTime }),
		"latest_scan_time":   instant(start, func(i *imageRow) *time.Time { return &i.LatestScanTime }),
		"latest_sync_time":   instant(start, func(i *imageRow) *time.Time { return &i.LatestSyncTime }),
	}
}

func architectureFields() map[string]setter[Architecture] {
	return map[string]setter[Architecture]{
		"id":                 integer(1, math.MaxInt64, func(a *Architecture, n int64) { a.ID = n }),
		fieldNamespace:       text(0, 64, func(a *Architecture) *string { return &a.Namespace }),
		fieldImageName:       text(1, 128, func(a *Architecture) *string { return &a.ImageName }),
		"image_version":      text(0, 64, func(a *Architecture) *string { return &a.ImageVersion }),
		"image_id":           text(0, 64, func(a *Architecture) *string { return &a.ImageID }),
		"image_digest":       text(0, 128, func(a *Architecture) *string { return &a.ImageDigest }),
		"image_type":         choice(ImageTypes(), func(a *Architecture) *string { return &a.ImageType }),
		"scan_status":        choice(ScanStatuses(), func(a *Architecture) *string { return &a.ScanStatus }),
		"vul_num":            count(func(a *Architecture) **int { return &a.VulNum }),
		"unsafe_setting_num": count(func(a *Architecture) **int { return &a.UnsafeSettingNum }),
		"malicious_file_num": count(func(a *Architecture) **int { return &a.MaliciousFileNum }),
		"vulnerabilities":    vulnerabilityList(func(a *Architecture) *[]Vulnerability { return &a.Vulnerabilities }),
	}
}

func outcomeFields() map[string]setter[ScanOutcome] {
	return map[string]setter[ScanOutcome]{
		"scan_status":        choice(scanOutcomes(), func(o *ScanOutcome) *string { return &o.ScanStatus }),
		"scan_failed_code":   choice(scanFailedCodes(), func(o *ScanOutcome) *string { return &o.ScanFailedCode }),
		"scan_failed_desc":   text(0, 1024, func(o *ScanOutcome) *string { return &o.ScanFailedDesc }),
		"severity_level":     choice(SeverityLevels(), func(o *ScanOutcome) *string { return &o.SeverityLevel }),
		"vul_num":            count(func(o *ScanOutcome) **int { return &o.VulNum }),
		"unsafe_setting_num": count(func(o *ScanOutcome) **int { return &o.UnsafeSettingNum }),
		"malicious_file_num": count(func(o *ScanOutcome) **int { return &o.MaliciousFileNum }),
	}
}

func finishNothing(*Architecture) error { return nil }

// finishImage fills in the defaults of a row.
func finishImage(i *imageRow) error {
	if i.ImageName == "" {
		return errors.New(`field "image_name" is missing, allowed: a text of 1 to 128 characters`)
	}
	setDefault(&i.ScanStatus, "unscan")
	setDefault(&i.ImageType, "private_image")
	setDefault(&i.RegistryType, registryTypeOf(i.ImageType))
	setDefault(&i.RegistryName, i.RegistryType)
	setDefault(&i.ImageID, idOfDigest(i.ImageDigest))
	setCount(&i.VulNum, i.Vulnerabilities)
	if len(i.Vulnerabilities) > 0 {
		setDefault(&i.ImageID, idOfName(i.Namespace, i.ImageName, i.ImageVersion))
	}
	i.Scannable = i.scannable == nil || *i.scannable
	i.MultiArch = len(i.AssociationImages) > 0
	if i.multiArch != nil {
		i.MultiArch = *i.multiArch
	}
	for n := range i.AssociationImages {
		a := &i.AssociationImages[n]
		setDefault(&a.Namespace, i.Namespace)
		setDefault(&a.ImageName, i.ImageName)
		setDefault(&a.ImageVersion, i.ImageVersion)
		setDefault(&a.ImageType, i.ImageType)
		setDefault(&a.ScanStatus, i.ScanStatus)
		setDefault(&a.ImageID, idOfDigest(a.ImageDigest))
		setCount(&a.VulNum, a.Vulnerabilities)
		if len(a.Vulnerabilities) > 0 {
			setDefault(&a.ImageID, idOfName(a.Namespace, a.ImageName, a.ImageVersion, strconv.Itoa(n)))
		}
	}
	return nil
}

// setCount counts vulnerabilities that are given for a row without a count.
func setCount(count **int, vulnerabilities []Vulnerability) {
	if *count == nil && len(vulnerabilities) > 0 {
		*count = new(len(vulnerabilities))
	}
}

func setDefault(value *string, fallback string) {
	if *value == "" {
		*value = fallback
	}
}

// idOfName makes up an ID for an image that has vulnerabilities to ask for and no
// digest.
func idOfName(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

// idOfDigest is a digest's hexadecimal part, which is what HSS shows as image_id.
func idOfDigest(digest string) string {
	_, id, _ := strings.Cut(digest, ":")
	return id[:min(len(id), 64)]
}

// vulnerabilityFields are the fields of a vulnerability in an inventory file.
func vulnerabilityFields() map[string]setter[Vulnerability] {
	type row = Vulnerability
	return map[string]setter[row]{
		"vul_id":           text(1, 128, func(v *row) *string { return &v.VulID }),
		"repair_necessity": choice(RepairNecessities(), func(v *row) *string { return &v.RepairNecessity }),
		"description":      text(0, 1024, func(v *row) *string { return &v.Description }),
		"position":         text(0, 128, func(v *row) *string { return &v.Position }),
		"app_name":         text(0, 128, func(v *row) *string { return &v.AppName }),
		"app_path":         text(0, 512, func(v *row) *string { return &v.AppPath }),
		"version":          text(0, 128, func(v *row) *string { return &v.Version }),
		"solution":         text(0, 256, func(v *row) *string { return &v.Solution }),
		"url":              text(0, 256, func(v *row) *string { return &v.URL }),
		"type":             choice(VulnerabilityTypes(), func(v *row) *string { return &v.Type }),
		"handled":          flag(func(v *row, b bool) { v.Handled = b }),
	}
}

// finishVulnerability fills in the default of a vulnerability.
func finishVulnerability(v *Vulnerability) error {
	if v.VulID == "" {
		return errors.New(`field "vul_id" is missing, allowed: a text of 1 to 128 characters`)
	}
	setDefault(&v.RepairNecessity, "immediate_repair")
	return nil
}

// vulnerabilityList reads the vulnerabilities of a row or an architecture.
func vulnerabilityList[T any](get func(*T) *[]Vulnerability) setter[T] {
	return func(into *T, raw json.RawMessage) (err error) {
		*get(into), err = decodeList("vulnerabilities", raw, vulnerabilityFields(), finishVulnerability)
		return err
	}
}
