package inventoryfile

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/hssgate/hssgate/hss"
)

// Client answers from the images of a file as an [hss.Client] of one project answers from HSS.
type Client struct {
	project string
	images  []Image
	rows    []hss.Image // the images as HSS sends them
}

// Client returns a client of a project. It gives an ID to rows that have none, as HSS does, and ignores registries.
func (f *File) Client(projectID string) (*Client, error) {
	AssignIDs(f.Images)
	c := &Client{project: projectID, images: f.Images, rows: make([]hss.Image, len(f.Images))}
	for i := range f.Images {
		if err := convert(f.Images[i].Listed(), &c.rows[i]); err != nil {
			return nil, fmt.Errorf("images[%d]: %w", i, err)
		}
	}
	return c, nil
}

// convert goes through JSON, so that a row of a file and one of HSS are read by the same code.
func convert(row, into any) error {
	data, err := Marshal(row)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// All yields the images with the namespace, name, version and type of r. It ignores the other filters and the page.
func (c *Client) All(_ context.Context, r hss.ListRequest) iter.Seq2[hss.Image, error] {
	return func(yield func(hss.Image, error) bool) {
		for i := range c.rows {
			row := &c.rows[i]
			matches := row.Namespace == r.Namespace && row.Name == r.ImageName &&
				(r.ImageVersion == "" || row.Version == r.ImageVersion) && (r.ImageType == "" || row.Type == r.ImageType)
			if matches && c.images[i].VisibleTo(c.project, r.EnterpriseProjectID) && !yield(*row, nil) {
				return
			}
		}
	}
}

// Vulnerabilities yields those of the image, or of the architecture, with the image ID of r.
func (c *Client) Vulnerabilities(_ context.Context, r hss.VulnerabilityRequest) iter.Seq2[hss.Vulnerability, error] {
	of, err := c.part(hss.SecretRequest{
		ImageID: r.ImageID, ImageType: r.ImageType, Namespace: r.Namespace, ImageName: r.ImageName, Version: r.Tag, EnterpriseProjectID: r.EnterpriseProjectID,
	}, r.InstanceID)
	listed := slices.Clone(of.Vulnerabilities)
	for i := range listed {
		listed[i] = listed[i].Listed()
	}
	return converted[hss.Vulnerability](listed, err)
}

// Secrets yields those of the image, or of the architecture, with the image ID of r.
func (c *Client) Secrets(_ context.Context, r hss.SecretRequest) iter.Seq2[hss.ImageSecret, error] {
	of, err := c.part(r, "")
	return converted[hss.ImageSecret](of.Secrets, err)
}

// MaliciousFiles yields those of the image, or of the architecture, with the image ID of r.
func (c *Client) MaliciousFiles(_ context.Context, r hss.MaliciousFileRequest) iter.Seq2[hss.MaliciousFile, error] {
	of, err := c.part(hss.SecretRequest(r), "")
	return converted[hss.MaliciousFile](of.MaliciousFiles, err)
}

// CVEs yields those of the vulnerability of r, whatever image has it.
func (c *Client) CVEs(_ context.Context, r hss.CVERequest) iter.Seq2[hss.CVE, error] {
	return converted[hss.CVE](CVEsOf(c.images, r.VulnerabilityID), nil)
}

// converted yields rows of the file as the client of HSS reads them.
func converted[To, From any](rows []From, err error) iter.Seq2[To, error] {
	return func(yield func(To, error) bool) {
		if err != nil {
			yield(*new(To), err)
			return
		}
		for i := range rows {
			var row To
			if err := convert(rows[i], &row); !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// part returns the image, or the architecture, with the image ID and names of r, and if it is not empty of an instance.
func (c *Client) part(r hss.SecretRequest, instance string) (*Architecture, error) {
	for i := range c.images {
		image := &c.images[i]
		found := image.Part(r.ImageID, r.Namespace, r.ImageName, r.Version)
		if found != nil && image.VisibleTo(c.project, r.EnterpriseProjectID) && image.ImageType == string(r.ImageType) && (instance == "" || image.InstanceID == instance) {
			return found, nil
		}
	}
	return &Architecture{}, fmt.Errorf("the inventory file has no image with image_id %q", r.ImageID)
}
