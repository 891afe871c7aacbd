package hss

import (
	"context"
	"iter"
	"net/url"
)

// SecretRequest selects the secrets in one image, or in one architecture of it. The image's ID, type, name and version are
// required: those of its row. The API documents no images of JFrog here.
type SecretRequest struct {
	// ImageID is that of a VulnerabilityRequest.
	ImageID   string
	ImageType ImageType `query:"image_type" chars:"1-32"`
	Namespace string    `query:"namespace" chars:"0-65535"`
	ImageName string    `query:"image_name" chars:"1-65535"`
	Version   string    `query:"image_version" chars:"0-65535"`
	// EnterpriseProjectID is that of a ListRequest.
	EnterpriseProjectID string `query:"enterprise_project_id" chars:"-256"`
}

// ImageSecret is where HSS found a secret in an image, such as a private key or a password: ImageSensitiveInfo of the API.
// The secret itself (content) is never read.
type ImageSecret struct {
	ID       string
	Severity SecretSeverity
	// Name is that of the rule which found it.
	Name string
	// FilePath is the file, Position its layer.
	FilePath string
	Position string
	// HandleStatus is handled or unhandled, and OperateAccept ignore if somebody decided so in HSS.
	HandleStatus  string
	OperateAccept string
}

// SecretSeverity is the severity of a secret. Values that are not listed here are kept as sent.
type SecretSeverity string

// The documented severities of secrets, the mildest first.
const (
	SecretLow      SecretSeverity = "low"
	SecretMedium   SecretSeverity = "medium"
	SecretHigh     SecretSeverity = "high"
	SecretCritical SecretSeverity = "critical"
)

// readSecret reads a row, but for its content.
func readSecret(o *object) ImageSecret {
	extra := o.optional()
	return ImageSecret{
		ID: extra.text("sensitive_info_id"), Severity: SecretSeverity(o.text("severity")), Name: o.prose("name"), FilePath: o.prose("file_path"),
		Position: extra.prose("position"), HandleStatus: o.text("handle_status"), OperateAccept: extra.text("operate_accept"),
	}
}

// UnmarshalJSON reads a row as HSS sends it.
func (s *ImageSecret) UnmarshalJSON(data []byte) error { return unmarshal(data, s, readSecret) }

// Secrets returns the secrets in one image: ListImageSensitive of the API. It ends as [Client.All] does: never early without
// an error.
func (c *Client) Secrets(ctx context.Context, r SecretRequest) iter.Seq2[ImageSecret, error] {
	query, err := r.Query()
	return allPages(ctx, c, "/image/"+r.ImageID+"/sensitive", query, err, whole, readSecret)
}

// Query returns the parameters that the API requires. The error is an *InvalidRequestError.
func (r SecretRequest) Query() (url.Values, error) {
	return parameters("secret", r, inPath("image_id", r.ImageID)...)
}

// MaliciousFileRequest selects the malicious files in one image. It has the fields of a SecretRequest.
type MaliciousFileRequest struct {
	ImageID             string
	ImageType           ImageType `query:"image_type" chars:"1-32"`
	Namespace           string    `query:"namespace" chars:"0-65535"`
	ImageName           string    `query:"image_name" chars:"1-65535"`
	Version             string    `query:"tag_name" chars:"0-65535"`
	EnterpriseProjectID string    `query:"enterprise_project_id" chars:"-256"`
}

// MaliciousFile is a malicious file in an image: ImageMalwareInfo of the API.
type MaliciousFile struct {
	Name string
	Path string
	// Size is in a unit that is not documented. -1: not reported.
	Size        int
	Description string
}

func readMaliciousFile(o *object) MaliciousFile {
	f := MaliciousFile{Name: o.prose("file_name"), Path: o.prose("file_path"), Size: -1, Description: o.optional().prose("description")}
	if size := o.count("size"); size != nil {
		f.Size = *size
	}
	return f
}

// UnmarshalJSON reads a row as HSS sends it.
func (f *MaliciousFile) UnmarshalJSON(data []byte) error {
	return unmarshal(data, f, readMaliciousFile)
}

// MaliciousFiles returns the malicious files in one image: ListImageMalware of the API. It ends as [Client.All] does: never
// early without an error.
func (c *Client) MaliciousFiles(ctx context.Context, r MaliciousFileRequest) iter.Seq2[MaliciousFile, error] {
	query, err := r.Query()
	return allPages(ctx, c, "/image/"+r.ImageID+"/malwares", query, err, whole, readMaliciousFile)
}

// Query returns the parameters that the API requires. The error is an *InvalidRequestError.
func (r MaliciousFileRequest) Query() (url.Values, error) {
	return parameters("malicious file", r, inPath("image_id", r.ImageID)...)
}
