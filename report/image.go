package report

import "github.com/hssgate/hssgate/image"

// Image is one place of an object that names an image, and what HSS knows.
type Image struct {
	// Place is the kind of place; Name is that of the container or volume.
	Place image.Place `json:"place"`
	Name  string      `json:"name"`
	// Reference is the normalised reference, or the written one if it is invalid.
	Reference string `json:"reference"`
	// Known is what HSS knows of it, in a few words.
	Known string `json:"known"`
}
