package inventoryfile

import (
	"context"
	"fmt"
	"iter"

	"github.com/go-json-experiment/json"

	"github.com/hssgate/hssgate/hss"
)

// Client answers from the images of a file as an [hss.Client] of one project answers from HSS.
type Client struct {
	project string
	rows    []row
}

// row is an image of the file as HSS sends it, and where it belongs.
type row struct {
	hss.Image

	file *Image
}

// Client returns a client of a project. It gives an ID to rows that have none, as HSS does, and ignores registries.
func (f *File) Client(projectID string) (*Client, error) {
	AssignIDs(f.Images)
	c := &Client{project: projectID, rows: make([]row, len(f.Images))}
	for i := range f.Images {
		c.rows[i].file = &f.Images[i]
		if err := convert(f.Images[i].Listed(), &c.rows[i].Image); err != nil {
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
			if row.file.VisibleTo(c.project, r.EnterpriseProjectID) && matches(row, &r) && !yield(row.Image, nil) {
				return
			}
		}
	}
}

func matches(row *row, r *hss.ListRequest) bool {
	return row.Namespace == r.Namespace && row.Name == r.ImageName &&
		(r.ImageVersion == "" || row.Version == r.ImageVersion) && (r.ImageType == "" || row.Type == r.ImageType)
}

// Vulnerabilities yields those of the image, or of the architecture, with the image ID of r.
func (c *Client) Vulnerabilities(_ context.Context, r hss.VulnerabilityRequest) iter.Seq2[hss.Vulnerability, error] {
	return func(yield func(hss.Vulnerability, error) bool) {
		listed, err := c.vulnerabilities(&r)
		if err != nil {
			yield(hss.Vulnerability{}, err)
			return
		}
		for i := range listed {
			var v hss.Vulnerability
			if err := convert(listed[i], &v); !yield(v, err) || err != nil {
				return
			}
		}
	}
}

func (c *Client) vulnerabilities(r *hss.VulnerabilityRequest) ([]Vulnerability, error) {
	for i := range c.rows {
		image := c.rows[i].file
		if !image.VisibleTo(c.project, r.EnterpriseProjectID) || image.ImageType != string(r.ImageType) || image.InstanceID != r.InstanceID {
			continue
		}
		if found, ok := image.VulnerabilitiesOf(r.ImageID, r.Namespace, r.ImageName, r.Tag); ok {
			return found, nil
		}
	}
	return nil, fmt.Errorf("the inventory file has no image with image_id %q", r.ImageID)
}
