package hss

import (
	"cmp"
	"context"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// VulnerabilityType is where a vulnerability is. Values that are not listed here are kept as sent.
type VulnerabilityType string

// The documented types of vulnerabilities of images.
const (
	// VulnerabilityTypeLinux is of a package of the operating system.
	VulnerabilityTypeLinux VulnerabilityType = "linux_vul"
	// VulnerabilityTypeApplication is of an application's library.
	VulnerabilityTypeApplication VulnerabilityType = "app_vul"
)

// CVERequest selects the CVEs of one vulnerability of HSS.
type CVERequest struct {
	// VulnerabilityID is vul_id of a row: 1–128 letters, digits and "-_.:~".
	VulnerabilityID string
	// EnterpriseProjectID is that of a ListRequest.
	EnterpriseProjectID string `query:"enterprise_project_id" chars:"-256"`
}

// CVE is one CVE of a vulnerability of HSS, whose ID may be that of a notice with many: ImageVulCveInfo of the API.
type CVE struct {
	// ID is such as CVE-2024-3094.
	ID string
	// CVSS is the score, above 0 and up to 10. nil: HSS has none, or one that is no score; then it is not known.
	CVSS *float64
	// PublishedAt is when the CVE was published. Zero: not reported.
	PublishedAt time.Time
	Description string
}

func readCVE(o *object) CVE {
	extra := o.optional()
	return CVE{ID: o.text("cve_id"), CVSS: o.score("cvss_score"), PublishedAt: extra.time("publish_time"), Description: extra.prose("description")}
}

// UnmarshalJSON reads a row as HSS sends it.
func (c *CVE) UnmarshalJSON(data []byte) error { return unmarshal(data, c, readCVE) }

// CVEs returns the CVEs of a vulnerability: ListVulnerabilityCve of the API. They are the same for every image. It ends as
// [Client.All] does: never early without an error. It is not documented what HSS answers for an ID that it does not know,
// so of a vulnerability without CVEs nothing is known.
func (c *Client) CVEs(ctx context.Context, r CVERequest) iter.Seq2[CVE, error] {
	query, err := r.Query()
	return allPages(ctx, c, "/image/vulnerability/"+r.VulnerabilityID+"/cve", query, err, contentOf, readCVE)
}

// Query returns the parameters that are set. The error is an *InvalidRequestError.
func (r CVERequest) Query() (url.Values, error) {
	return parameters("CVE", r, inPath("vul_id", r.VulnerabilityID)...)
}

// inPath returns the problem of an ID that is a part of a path: without it the path might be that of another call.
func inPath(name, id string) []string {
	if id == "" || len(id) > 128 || strings.Trim(id, idCharacters+".:~") != "" || strings.Trim(id, ".") == "" {
		return []string{name + " is " + excerpt(id) + ", allowed are 1 to 128 letters, digits and -_.:~"}
	}
	return nil
}

// ImageVulnerabilityRequest selects the vulnerabilities of all images of registries.
type ImageVulnerabilityRequest struct {
	// Type is required.
	Type VulnerabilityType `query:"type" chars:"1-32"`
	// Handled selects those that were handled in HSS, such as ignored ones. By default it is those that were not.
	Handled bool
	// CVE and VulnerabilityID are filters. It is not documented whether they match a part of an ID.
	CVE             string `query:"cve_id" chars:"-256"`
	VulnerabilityID string `query:"vul_id" chars:"-256"`
	// EnterpriseProjectID is that of a ListRequest.
	EnterpriseProjectID string `query:"enterprise_project_id" chars:"-256"`
}

// ImageVulnerability is a vulnerability that images have: GeneralImageVulsResponseInfo of the API.
type ImageVulnerability struct {
	ID   string
	Type VulnerabilityType
	// Severity is Critical, High, Medium or Low, which are not the classes of an image's severity.
	Severity Severity
	// CVEs have only IDs and scores.
	CVEs []CVE
	// MaxCVSS is as CVSS of a CVE.
	MaxCVSS *float64
	// Images is how many images have it; nil: not known.
	Images   *int
	Solution string
}

// maxCVEs is how many CVEs the API documents at most for one vulnerability.
const maxCVEs = 10_000

func readImageVulnerability(o *object) ImageVulnerability {
	v := ImageVulnerability{
		ID: o.text("vul_id"), Type: VulnerabilityType(o.text("type")), Severity: Severity(o.text("severity_level")),
		MaxCVSS: o.score("max_cvss_score"), Images: o.count("image_num"), Solution: o.optional().prose("solution_detail"),
	}
	for _, element := range o.list("cve_list", maxCVEs) {
		cve := newObject(element, o.scrub, nil)
		v.CVEs = append(v.CVEs, CVE{ID: cve.text("cve_id"), CVSS: cve.score("cvss")})
		for _, p := range cve.problems {
			o.fail("cve_list", "has a row of which "+p.String())
		}
	}
	return v
}

// UnmarshalJSON reads a row as HSS sends it.
func (v *ImageVulnerability) UnmarshalJSON(data []byte) error {
	return unmarshal(data, v, readImageVulnerability)
}

// ImageVulnerabilities returns the vulnerabilities that images of registries have: ListGeneralImageVuls of the API. Those of
// local, pipelines' and clusters' images are lists of their own. It ends as [Client.All] does: never early without an error.
func (c *Client) ImageVulnerabilities(ctx context.Context, r ImageVulnerabilityRequest) iter.Seq2[ImageVulnerability, error] {
	// A row counts images, and so may change while the list is read.
	id := func(v *ImageVulnerability) string { return cmp.Or(v.ID, contentOf(v)) }
	query, err := r.Query()
	return allPages(ctx, c, "/images/vulnerabilities", query, err, id, readImageVulnerability)
}

// Query returns the parameters that are set, and those that the API requires. The error is an *InvalidRequestError.
func (r ImageVulnerabilityRequest) Query() (url.Values, error) {
	query, err := parameters("image vulnerability", r)
	query.Set("image_type", "registry")
	query.Set("handle_status", "unhandled")
	if r.Handled {
		query.Set("handle_status", "handled")
	}
	return query, err
}

// AffectedImageRequest selects the images of registries that have one vulnerability.
type AffectedImageRequest struct {
	// VulnerabilityID and Type are required: those of an ImageVulnerability.
	VulnerabilityID string            `query:"vul_id" chars:"1-256"`
	Type            VulnerabilityType `query:"type" chars:"1-32"`
	// Handled selects the images for which the vulnerability was handled in HSS. By default it is the others.
	Handled bool
	// EnterpriseProjectID is that of a ListRequest.
	EnterpriseProjectID string `query:"enterprise_project_id" chars:"-256"`
}

// AffectedImage is an image that has a vulnerability: VulAffectImagesResponseInfo of the API.
type AffectedImage struct {
	ImageID string
	// Namespace is the organisation.
	Namespace    string
	Name         string
	Version      string
	Digest       string
	RegistryType RegistryType
	RegistryName string
	// Status is VulnerabilityIgnored if the vulnerability is ignored for the image. Other values are kept.
	Status string
	// ScannedAt is when the image was last scanned. Zero: not reported.
	ScannedAt time.Time
}

// VulnerabilityIgnored is the status of a vulnerability that was ignored in HSS.
const VulnerabilityIgnored = "vul_status_ignored"

func readAffectedImage(o *object) AffectedImage {
	extra := o.optional()
	return AffectedImage{
		ImageID: extra.text("image_id"), Namespace: o.text("organization"), Name: o.text("image_name"), Version: o.text("image_version"),
		Digest: o.text("image_digest"), RegistryType: RegistryType(o.text("registry_type")), RegistryName: o.text("registry_name"),
		Status: extra.text("status"), ScannedAt: extra.time("latest_scan_time"),
	}
}

// UnmarshalJSON reads a row as HSS sends it.
func (i *AffectedImage) UnmarshalJSON(data []byte) error {
	return unmarshal(data, i, readAffectedImage)
}

// AffectedImages returns the images of registries that have a vulnerability: ListVulAffectImages of the API. It ends as
// [Client.All] does: never early without an error.
func (c *Client) AffectedImages(ctx context.Context, r AffectedImageRequest) iter.Seq2[AffectedImage, error] {
	// A scan or a decision in HSS changes a row while the list is read.
	image := func(i *AffectedImage) AffectedImage {
		unchanging := *i
		unchanging.Status, unchanging.ScannedAt = "", time.Time{}
		return unchanging
	}
	query, err := r.Query()
	return allPages(ctx, c, "/vulnerability/images", query, err, image, readAffectedImage)
}

// Query returns the parameters that are set, and those that the API requires. The error is an *InvalidRequestError.
func (r AffectedImageRequest) Query() (url.Values, error) {
	query, err := parameters("affected image", r)
	query.Set("image_type", "registry")
	query.Set("is_handled", strconv.FormatBool(r.Handled))
	return query, err
}
