package hss

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"unicode/utf8"
)

// ScanScope says what a scan looks for: a bit mask.
type ScanScope int32

// The documented scopes.
const (
	ScanEverything         ScanScope = 0x7fffffff
	ScanVulnerabilities    ScanScope = 0x000f0000
	ScanBaseline           ScanScope = 0x0000f000
	ScanMaliciousFiles     ScanScope = 0x00000f00
	ScanSensitiveData      ScanScope = 0x000000f0
	ScanSoftwareCompliance ScanScope = 0x0000000f
)

const (
	// MaxScanImages bounds a ScanRequest. The API documents no bound, and each
	// image of a request costs money.
	MaxScanImages = 100
	// MaxScanRate is the largest RateLimit of a ScanRequest, in images an hour.
	MaxScanRate = 1000
)

// ScanImage names an image of a registry that is to be scanned, as its row in
// the list does; [Image.ToScan] makes it. What is empty is not sent.
type ScanImage struct {
	ID           string
	ImageID      string
	Digest       string
	RegistryID   string
	RegistryName string
	RegistryType RegistryType
	Namespace    string
	Name         string
	Version      string
	InstanceID   string
	InstanceURL  string
}

// ToScan names the image of a row for a [ScanRequest].
func (i Image) ToScan() ScanImage {
	return ScanImage{
		ID: i.ID, ImageID: i.ImageID, Digest: i.Digest, RegistryID: i.RegistryID, RegistryName: i.RegistryName,
		RegistryType: i.RegistryType, Namespace: i.Namespace, Name: i.Name, Version: i.Version,
		InstanceID: i.InstanceID, InstanceURL: i.InstanceURL,
	}
}

// ScanRequest asks to scan images of registries. Each image costs money.
type ScanRequest struct {
	// EnterpriseProjectID: 1–256 characters. Empty: the default one.
	EnterpriseProjectID string
	// Images has 1–100 images. There is no way to ask for all of a project.
	Images []ScanImage
	// Scope says what to look for; 0: everything.
	Scope ScanScope
	// RateLimit is how many images an hour HSS scans, 0–1000; 0: no limit.
	RateLimit int
}

// UnconfirmedError says that a request which must not be sent twice was sent,
// and that it is not known whether HSS acted on it: the connection broke, time
// ran out, or the answer was one of a server in trouble. The list of images, or
// of tasks, shows a little later what became of it.
type UnconfirmedError struct {
	// Err is what happened.
	Err error
}

// Error says that it is not known, and why.
func (e *UnconfirmedError) Error() string {
	return "not known whether HSS received the request: " + e.Err.Error()
}

// Unwrap returns what happened.
func (e *UnconfirmedError) Unwrap() error { return e.Err }

// StartScan asks HSS to scan images now. It returns once HSS has taken the
// request, long before the scans end: then the images' rows say so.
//
// A scan is metered. So the request is sent again only if HSS certainly has not
// acted on it: the gateway throttled it (429), or no connection could be made.
// After anything else that is no clear answer the error is an
// *UnconfirmedError. An *Error is HSS's refusal.
func (c *Client) StartScan(ctx context.Context, r ScanRequest) error {
	if err := r.Validate(); err != nil {
		return err
	}
	body, err := json.Marshal(r.wire())
	if err != nil {
		return fmt.Errorf("making the scan request: %w", err)
	}
	query := url.Values{paramGlobalImageType: {"registry"}}
	setText(query, paramEnterpriseProjectID, r.EnterpriseProjectID)
	return post(ctx, c, call[struct{}]{path: "/image/image-scan/tasks", query: query, body: body, once: true})
}

// Validate checks the request, and that each image can be told from others.
func (r ScanRequest) Validate() error {
	var p problems
	p.lengths([]textField{{paramEnterpriseProjectID, r.EnterpriseProjectID, 256}})
	p.between("the number of images", int64(len(r.Images)), 1, MaxScanImages)
	p.between("scan_scope", int64(r.Scope), 0, int64(ScanEverything))
	p.between("rate_limit", int64(r.RateLimit), 0, MaxScanRate)
	for n, image := range r.Images {
		image.validate(&p, fmt.Sprintf("image_info[%d]", n))
	}
	return p.err("scan")
}

func (i ScanImage) validate(p *problems, where string) {
	if i.ID == "" && (i.Name == "" || i.Version == "") {
		p.addf("%s has neither an id nor an image_name and image_version", where)
	}
	for _, value := range []string{i.ID, i.ImageID, i.Digest, i.RegistryID, i.RegistryName, string(i.RegistryType),
		i.Namespace, i.Name, i.Version, i.InstanceID, i.InstanceURL} {
		if !utf8.ValidString(value) {
			p.addf("%s is no valid UTF-8", where)
			return
		}
	}
}

// wireScanRequest is CreateManualImageScanTaskReqInfo of the API.
type wireScanRequest struct {
	Scope     ScanScope       `json:"scan_scope"`
	RateLimit int             `json:"rate_limit"`
	All       bool            `json:"is_all"`
	Images    []wireScanImage `json:"image_info"`
}

// wireScanImage is one image of wireScanRequest.
type wireScanImage struct {
	ID           identifier   `json:"id,omitempty"`
	ImageID      string       `json:"image_id,omitempty"`
	Digest       string       `json:"image_digest,omitempty"`
	RegistryID   string       `json:"registry_id,omitempty"`
	RegistryName string       `json:"registry_name,omitempty"`
	Name         string       `json:"image_name,omitempty"`
	Version      string       `json:"image_version,omitempty"`
	Namespace    string       `json:"namespace,omitempty"`
	InstanceID   string       `json:"instance_id,omitempty"`
	InstanceURL  string       `json:"instance_url,omitempty"`
	RegistryType RegistryType `json:"registry_type,omitempty"`
}

// wire converts the request.
func (r ScanRequest) wire() wireScanRequest {
	wire := wireScanRequest{Scope: r.Scope, RateLimit: r.RateLimit, Images: make([]wireScanImage, 0, len(r.Images))}
	if wire.Scope == 0 {
		wire.Scope = ScanEverything
	}
	for _, i := range r.Images {
		wire.Images = append(wire.Images, wireScanImage{
			ID: identifier(i.ID), ImageID: i.ImageID, Digest: i.Digest, RegistryID: i.RegistryID, RegistryName: i.RegistryName,
			Name: i.Name, Version: i.Version, Namespace: i.Namespace, InstanceID: i.InstanceID, InstanceURL: i.InstanceURL,
			RegistryType: i.RegistryType,
		})
	}
	return wire
}

// unconfirmed wraps an attempt's error after which it is not known what HSS did.
func unconfirmed(err error) error {
	if answer, ok := errors.AsType[*Error](err); ok {
		if answer.refusal() {
			return err
		}
		return &UnconfirmedError{Err: err}
	}
	if _, broken := errors.AsType[*brokenError](err); broken && !unreceived(err) {
		return &UnconfirmedError{Err: err}
	}
	return err
}

// refusal reports whether the answer says that nothing was done.
func (e *Error) refusal() bool {
	switch {
	case e.StatusCode == http.StatusRequestTimeout:
		return false
	case e.StatusCode >= 400 && e.StatusCode < 500:
		return true
	}
	return acknowledges(e.StatusCode) && e.Code != ""
}
