package hss

import (
	"encoding/json"
	"errors"
	"fmt"
)

// UnknownTotal is the Total of a page whose total_num was not sent, is
// negative, or is no number.
const UnknownTotal = -1

// errNullRow is what a null in place of a row is refused with.
var errNullRow = errors.New("null in place of an image")

// errNoList is what an answer without data_list is refused with.
var errNoList = errors.New("the answer has no data_list")

// errFault is what an error object is refused with.
var errFault = errors.New("the answer has an error_code")

// ListResponse is one page of the list.
type ListResponse struct {
	// Total is the number of rows that the API says there are on all pages
	// together, or UnknownTotal. Nothing here relies on it.
	Total int
	// Images are the rows of this page, in the API's order.
	Images []Image
}

// wireList is the list as it is read.
type wireList struct {
	Total count        `json:"total_num"`
	List  []*wireImage `json:"data_list"`
	// Fault is there only if the answer is an error.
	Fault text `json:"error_code"`
}

// UnmarshalJSON reads a page. A page without data_list, or with a null one, is
// an error: it is not known to be empty.
func (r *ListResponse) UnmarshalJSON(data []byte) error {
	decoded, err := decodeList(data)
	if err != nil {
		return err
	}
	*r = *decoded
	return nil
}

// MarshalJSON writes the page as the API does; data_list is never null.
func (r ListResponse) MarshalJSON() ([]byte, error) {
	list := make([]*wireImage, 0, len(r.Images))
	for _, image := range r.Images {
		list = append(list, image.wire())
	}
	total := &r.Total
	if r.Total < 0 {
		total = nil
	}
	return json.Marshal(struct {
		Total *int         `json:"total_num,omitempty"`
		List  []*wireImage `json:"data_list"`
	}{total, list})
}

// decodeList reads a page.
func decodeList(data []byte) (*ListResponse, error) {
	var wire wireList
	if err := json.Unmarshal(data, &wire); err != nil {
		return nil, fmt.Errorf("decoding the list: %w", err)
	}
	if wire.Fault != "" {
		return nil, errFault
	}
	if wire.List == nil {
		return nil, errNoList
	}
	r := &ListResponse{Total: UnknownTotal, Images: make([]Image, 0, len(wire.List))}
	if wire.Total.n != nil {
		r.Total = *wire.Total.n
	}
	for i, row := range wire.List {
		image, err := row.image()
		if err != nil {
			return nil, fmt.Errorf("data_list[%d]: %w", i, err)
		}
		r.Images = append(r.Images, image)
	}
	return r, nil
}
