package hss

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The fields that several places name.
const (
	fieldImageID       = "image_id"
	fieldDigest        = "image_digest"
	fieldMultiArch     = "is_multiple_arch"
	fieldArchitectures = "association_images"
)

// UnmarshalJSON reads a row of the API's list. It accepts numbers and booleans
// sent as strings, an id of either kind, nulls, and fields it does not know. A
// count that is negative or no number is left nil.
func (i *Image) UnmarshalJSON(data []byte) error { return unmarshal(data, i) }

func (i *Image) field(name string) value {
	switch name {
	case "id":
		return (*text)(&i.ID)
	case paramNamespace:
		return (*text)(&i.Namespace)
	case paramImageName:
		return (*text)(&i.Name)
	case paramImageVersion:
		return (*text)(&i.Version)
	case fieldImageID:
		return (*text)(&i.ImageID)
	case fieldDigest:
		return (*text)(&i.Digest)
	case paramImageType:
		return (*text)(&i.Type)
	case paramRegistryID:
		return (*text)(&i.RegistryID)
	case paramRegistryName:
		return (*text)(&i.RegistryName)
	case paramRegistryType:
		return (*text)(&i.RegistryType)
	case paramInstanceID:
		return (*text)(&i.InstanceID)
	case paramInstanceName:
		return (*text)(&i.InstanceName)
	case "instance_url":
		return (*text)(&i.InstanceURL)
	}
	return i.scanField(name)
}

// scanField is field for what HSS says of scans.
func (i *Image) scanField(name string) value {
	switch name {
	case fieldMultiArch:
		return (*flag)(&i.MultiArch)
	case "scan_failed_code":
		return (*prose)(&i.ScanFailedCode)
	case "scan_failed_desc":
		return (*prose)(&i.ScanFailedDescription)
	case "latest_update_time":
		return (*millis)(&i.LatestUpdateTime)
	case "latest_scan_time":
		return (*millis)(&i.LatestScanTime)
	case "latest_sync_time":
		return (*millis)(&i.LatestSyncTime)
	case paramSeverity:
		return (*text)(&i.Severity)
	case fieldArchitectures:
		return (*architectures)(&i.Architectures)
	}
	return resultField(name, &i.ScanStatus, &i.Vulnerabilities, &i.UnsafeSettings, &i.MaliciousFiles)
}

// resultField is field for what a row and each of its architectures say of their
// scan.
func resultField(name string, status *ScanStatus, vulnerabilities, unsafeSettings, maliciousFiles **int) value {
	switch name {
	case paramScanStatus:
		return (*text)(status)
	case "vul_num":
		return count{vulnerabilities}
	case "unsafe_setting_num":
		return count{unsafeSettings}
	case "malicious_file_num":
		return count{maliciousFiles}
	}
	return nil
}

func (a *AssociatedImage) field(name string) value {
	switch name {
	case "id":
		return (*text)(&a.ID)
	case fieldImageID:
		return (*text)(&a.ImageID)
	case fieldDigest:
		return (*text)(&a.Digest)
	}
	return resultField(name, &a.ScanStatus, &a.Vulnerabilities, &a.UnsafeSettings, &a.MaliciousFiles)
}

// architectures reads association_images. It is left nil if one of the digests
// can't be read: then it is not known which images the row has.
type architectures []AssociatedImage

func (a *architectures) read(d *decoder) error {
	var list []AssociatedImage
	var first *problem
	undigested := false
	err := d.array(func(n int) error {
		if n >= maxArchitectures {
			undigested = true
			return d.json.SkipValue()
		}
		list = append(list, AssociatedImage{})
		problems, err := d.object(&list[n])
		for _, p := range problems {
			if p.field == "id" || p.field == fieldImageID {
				continue
			}
			undigested = undigested || p.field == "" || p.field == fieldDigest
			first = cmp.Or(first, p.within(n))
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !undigested:
		*a = list
	case first == nil:
		return &problem{reason: fmt.Sprintf("has more than %d elements", maxArchitectures)}
	}
	if first != nil {
		return first
	}
	return nil
}

// readImage reads a row, or marks it if a field that verdicts need can't be
// read. Of also is a field that names the image, too.
func readImage(d *decoder, also []string) (Image, error) {
	var i Image
	problems, err := d.object(&i)
	if err != nil {
		return Image{}, err
	}
	problems = slices.DeleteFunc(problems, func(p *problem) bool { return !slices.Contains(also, p.field) && isOptional(p.field) })
	if len(problems) == 0 {
		return i, nil
	}
	why := clean(problems[0].Error())
	marked := Image{
		ID: i.ID, Namespace: i.Namespace, Name: i.Name, ImageID: i.ImageID, Digest: i.Digest, Version: i.Version, Type: i.Type,
		RegistryID: i.RegistryID, RegistryName: i.RegistryName, RegistryType: i.RegistryType,
		InstanceName: i.InstanceName, InstanceID: i.InstanceID, MultiArch: i.MultiArch || len(i.Architectures) > 0,
		Unreadable: why,
	}
	for _, p := range problems {
		switch {
		case slices.Contains(also, p.field), isName(p.field):
			return Image{Unreadable: why}, nil // half a name may be that of another image
		case p.field == fieldMultiArch, strings.HasPrefix(p.field, fieldArchitectures):
			marked.MultiArch = true
		}
	}
	for n := range i.Architectures {
		marked.Architectures = append(marked.Architectures, AssociatedImage{Digest: i.Architectures[n].Digest})
	}
	return marked, nil
}

// isName reports whether a field tells the images of one registry apart, or
// stands for the whole row.
func isName(field string) bool {
	switch field {
	case "", paramNamespace, paramImageName, paramImageVersion, fieldDigest, paramImageType, paramRegistryName, paramRegistryType:
		return true
	}
	return false
}

// isOptional reports whether verdicts can do without a field.
func isOptional(field string) bool {
	switch field {
	case "id", fieldImageID, paramRegistryID, paramInstanceID, paramInstanceName, "instance_url", "latest_sync_time", "scan_failed_code", "scan_failed_desc":
		return true
	}
	return false
}
