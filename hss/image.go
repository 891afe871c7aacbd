package hss

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ImageType is the kind of registry that an image is in. Values that are not listed here are kept as sent.
type ImageType string

// The documented image types.
const (
	// ImageTypePrivate is an organisation's own image in SWR.
	ImageTypePrivate ImageType = "private_image"
	// ImageTypeShared is an image that another account shares in SWR.
	ImageTypeShared ImageType = "shared_image"
	// ImageTypeInstance is an image of an SWR Enterprise instance.
	ImageTypeInstance ImageType = "instance_image"
	ImageTypeHarbor   ImageType = "harbor"
	ImageTypeJFrog    ImageType = "jfrog"
)

// Severity is the severity level that HSS gives a scanned image. Empty means that HSS gave none, which it does until an
// image has been scanned. Unknown values are kept.
type Severity string

// The documented severity levels, the mildest first.
const (
	// SeveritySecurity means that nothing was found.
	SeveritySecurity Severity = "Security"
	SeverityLow      Severity = "Low"
	SeverityMedium   Severity = "Medium"
	SeverityHigh     Severity = "High"
	// SeverityCritical is of an ImageVulnerability only.
	SeverityCritical Severity = "Critical"
)

// ScanStatus is the state of an image's scan. Unknown values are kept.
type ScanStatus string

// The documented scan statuses.
const (
	// ScanStatusUnscan: the image was never scanned.
	ScanStatusUnscan ScanStatus = "unscan"
	// ScanStatusSuccess: the last scan was completed; its counts hold.
	ScanStatusSuccess  ScanStatus = "success"
	ScanStatusScanning ScanStatus = "scanning"
	ScanStatusFailed   ScanStatus = "failed"
	// ScanStatusDownloadFailed: HSS could not pull the image.
	ScanStatusDownloadFailed ScanStatus = "download_failed"
	// ScanStatusImageOversized: the image is too large for HSS to scan.
	ScanStatusImageOversized ScanStatus = "image_oversized"
	ScanStatusWaitingForScan ScanStatus = "waiting_for_scan"
)

// Completed reports whether the row holds the result of a completed scan. Only then do its counts and severity mean
// anything.
func (s ScanStatus) Completed() bool { return s == ScanStatusSuccess }

// Failed reports whether the last scan ended without a result.
func (s ScanStatus) Failed() bool {
	return s == ScanStatusFailed || s == ScanStatusDownloadFailed || s == ScanStatusImageOversized
}

// Pending reports whether the result is still to come: the image was never scanned, is queued, or is being scanned.
func (s ScanStatus) Pending() bool { return s == ScanStatusUnscan || s.Running() }

// Running reports whether a scan is queued or running. The image may have the result of an earlier scan.
func (s ScanStatus) Running() bool {
	return s == ScanStatusScanning || s == ScanStatusWaitingForScan
}

// Image is one row of the list, with the fields of the API's RegistryImagesInfo that a verdict or a request for a scan
// needs.
//
// Counts and times are nil or zero where the API leaves them out: "not sent" is not the same as 0.
type Image struct {
	// ID is an int64 by the reference, and a string in its own example.
	ID           string
	Namespace    string
	Name         string
	ImageID      string
	Digest       string
	Version      string
	Type         ImageType
	RegistryID   string
	RegistryName string
	RegistryType RegistryType
	MultiArch    bool
	ScanStatus   ScanStatus
	// ScanFailedCode is one of the documented codes, such as authentication_failed.
	ScanFailedCode        string
	ScanFailedDescription string
	// LatestUpdateTime is when the image was last pushed, LatestScanTime when it was last scanned, LatestSyncTime when
	// HSS last synchronised it. Zero: none.
	LatestUpdateTime time.Time
	LatestScanTime   time.Time
	LatestSyncTime   time.Time
	Vulnerabilities  *int
	UnsafeSettings   *int
	MaliciousFiles   *int
	// InstanceName, InstanceID and InstanceURL are of SWR Enterprise.
	InstanceName string
	InstanceID   string
	InstanceURL  string
	// Severity is empty until the image has been scanned.
	Severity Severity
	// Architectures holds one entry for each architecture of a multi-architecture image (association_images).
	Architectures []AssociatedImage
	// Unreadable describes in one line why the row cannot be read, such as `latest_scan_time is "-"`; empty: it was
	// read. Such a row has no result, and nothing may be concluded of its image, also not that HSS does not know it.
	Unreadable string
}

// Anonymous reports whether the row cannot be read and does not show which image it is of: it may be of any.
func (i *Image) Anonymous() bool { return i.Unreadable != "" && i.Name == "" }

// AssociatedImage is one architecture of a multi-architecture image: AssociateImagesInfo of the API. It has no severity
// level of its own.
type AssociatedImage struct {
	ID              string
	ImageID         string
	Digest          string
	ScanStatus      ScanStatus
	Vulnerabilities *int
	UnsafeSettings  *int
	MaliciousFiles  *int
}

// ListRequest holds the parameters of ListRegistryImages that hssgate needs. Zero values are not sent.
type ListRequest struct {
	// EnterpriseProjectID may be AllGrantedEnterpriseProjects, for every one. Empty: the default one only.
	EnterpriseProjectID string `query:"enterprise_project_id" chars:"-256"`
	// Namespace is the organisation.
	Namespace    string    `query:"namespace" chars:"-128"`
	ImageName    string    `query:"image_name" chars:"-128"`
	ImageVersion string    `query:"image_version" chars:"-64"`
	RegistryName string    `query:"registry_name" chars:"-128"`
	ImageType    ImageType `query:"image_type" chars:"-32"`
	// ScanStatus may be unscan, success, scanning, failed or waiting_for_scan.
	ScanStatus ScanStatus `query:"scan_status" chars:"-32"`
	// Offset is 0–2,000,000 rows.
	Offset int `query:"offset"`
	// Limit is 1–200 rows; 0 leaves it to the API, whose default is 10.
	Limit int `query:"limit"`
	// SortKey is SortByLatestScanTime or empty; SortDir is SortDescending, asc or empty.
	SortKey string `query:"sort_key" chars:"-32"`
	SortDir string `query:"sort_dir" chars:"-32"`
	// Only rows from these times on are listed, in milliseconds.
	StartLatestUpdateTime time.Time `query:"start_latest_update_time"`
	StartLatestScanTime   time.Time `query:"start_latest_scan_time"`
	StartLatestSyncTime   time.Time `query:"start_latest_sync_time"`
}

// Values of SortKey and SortDir.
const (
	SortByLatestScanTime = "latest_scan_time"
	SortDescending       = "desc"
)

// Query returns the parameters that are set. The error is an *InvalidRequestError that names every text which is longer
// than the API documents.
func (r ListRequest) Query() (url.Values, error) { return parameters("list", r) }

// AllGrantedEnterpriseProjects selects the images of every enterprise project that the account may see. Without it the
// API shows the default one only.
const AllGrantedEnterpriseProjects = "all_granted_eps"

// ListResponse is one page of the list.
type ListResponse struct {
	// Total is the number of rows on all pages together according to the API, or UnknownTotal.
	Total int
	// Images are the rows of this page, in the API's order, also those that cannot be read: see [Image].Unreadable.
	Images []Image
}

// List returns one page of the list. It validates r first, and retries inside ctx's deadline what may pass by itself.
// An answer that is no list is an *Error, refused credentials are a *RefusedError.
func (c *Client) List(ctx context.Context, r ListRequest) (*ListResponse, error) {
	query, err := r.Query()
	if err != nil {
		return nil, err
	}
	total, rows, err := listPage(ctx, c, &call{path: pathImages, query: query}, fieldRows, c.readImage)
	if err != nil {
		return nil, err
	}
	return &ListResponse{Total: total, Images: rows}, nil
}

// All returns the rows of all pages. A row that changed while the list was read comes once in each state, else each row
// comes once. A list of which rows are missing is read again; if they still are, the error is an *IncompleteListError. Any
// error ends it: it never ends early without one.
func (c *Client) All(ctx context.Context, r ListRequest) iter.Seq2[Image, error] {
	query, err := r.Query()
	return allPages(ctx, c, pathImages, query, err, KeyOf, c.readImage)
}

const (
	pathImages         = "/image/registries/images"
	fieldRows          = "data_list"
	fieldMultiArch     = "is_multiple_arch"
	fieldArchitectures = "association_images"
	maxArchitectures   = 100
)

// imageOf reads a row. It leaves Architectures nil if not all digests can be read: then it is not known which images
// the row has.
func imageOf(o *object) Image {
	extra := o.optional()
	return Image{
		ID: extra.text("id"), Namespace: o.text("namespace"), Name: o.text("image_name"), Version: o.text("image_version"),
		ImageID: extra.text("image_id"), Digest: o.text("image_digest"), Type: ImageType(o.text("image_type")),
		RegistryID: extra.text("registry_id"), RegistryName: o.text("registry_name"), RegistryType: RegistryType(o.text("registry_type")),
		InstanceID: extra.text("instance_id"), InstanceName: extra.text("instance_name"), InstanceURL: extra.text("instance_url"),
		MultiArch: o.flag(fieldMultiArch), Architectures: architecturesOf(o),
		ScanStatus:     ScanStatus(o.text("scan_status")),
		ScanFailedCode: extra.prose("scan_failed_code"), ScanFailedDescription: extra.prose("scan_failed_desc"),
		LatestUpdateTime: o.time("latest_update_time"), LatestScanTime: o.time("latest_scan_time"), LatestSyncTime: extra.time("latest_sync_time"),
		Severity:        Severity(o.text("severity_level")),
		Vulnerabilities: o.count("vul_num"), UnsafeSettings: o.count("unsafe_setting_num"), MaliciousFiles: o.count("malicious_file_num"),
	}
}

func architecturesOf(o *object) (list []AssociatedImage) {
	elements := o.list(fieldArchitectures, maxArchitectures)
	whole := !o.failed(fieldArchitectures)
	for n, element := range elements {
		a := newObject(element, o.scrub, nil)
		digest := a.text("image_digest")
		whole = whole && len(a.problems) == 0
		list = append(list, AssociatedImage{
			ID: a.optional().text("id"), ImageID: a.optional().text("image_id"), Digest: digest, ScanStatus: ScanStatus(a.text("scan_status")),
			Vulnerabilities: a.count("vul_num"), UnsafeSettings: a.count("unsafe_setting_num"), MaliciousFiles: a.count("malicious_file_num"),
		})
		for _, p := range a.problems {
			o.fail(strings.TrimSuffix(fmt.Sprintf("%s[%d].%s", fieldArchitectures, n, p.field), "."), p.reason)
		}
	}
	if !whole {
		return nil
	}
	return list
}

// UnmarshalJSON reads a row as HSS sends it. A field that cannot be read is an error.
func (i *Image) UnmarshalJSON(data []byte) error { return unmarshal(data, i, imageOf) }

// readImage reads a row, or marks it unreadable if a field that verdicts need cannot be read.
func (c *Client) readImage(o *object) Image {
	i := imageOf(o)
	for _, name := range c.config.IdentifyingFields {
		_ = o.text(name)
	}
	if len(o.problems) == 0 {
		return i
	}
	naming := append([]string{"", "namespace", "image_name", "image_version", "image_digest", "image_type", "registry_name", "registry_type"},
		c.config.IdentifyingFields...)
	for _, p := range o.problems {
		if slices.Contains(naming, p.field) {
			i = Image{} // half a name may be that of another image
			break
		}
		i.MultiArch = i.MultiArch || p.field == fieldMultiArch || strings.HasPrefix(p.field, fieldArchitectures)
	}
	i.Unreadable, o.problems = clean(o.problems[0].String()), nil
	i.ScanStatus, i.Severity, i.Vulnerabilities, i.UnsafeSettings, i.MaliciousFiles = "", "", nil, nil, nil
	for n := range i.Architectures {
		i.Architectures[n] = AssociatedImage{Digest: i.Architectures[n].Digest}
	}
	i.MultiArch = i.MultiArch || len(i.Architectures) > 0
	return i
}
