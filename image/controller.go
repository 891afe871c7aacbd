package image

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Controller is the one of an object's owners that manages it; empty if none
// does.
type Controller struct {
	Kind string
	Name string
}

// UnmarshalJSONFrom finds the controller among an object's ownerReferences.
func (c *Controller) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return readArray(dec, func() error {
		var owner struct {
			Kind       string `json:"kind"`
			Name       string `json:"name"`
			Controller bool   `json:"controller"`
		}
		if err := json.UnmarshalDecode(dec, &owner); err != nil {
			return err
		}
		if owner.Controller {
			*c = Controller{Kind: owner.Kind, Name: owner.Name}
		}
		return nil
	})
}
