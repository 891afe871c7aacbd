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
var errNullRow = errors.New("null in place of a row")

// errNoList is what an answer without data_list is refused with.
var errNoList = errors.New("the answer has no data_list")

// errFault is what an error object is refused with.
var errFault = errors.New("the answer has an error_code")

// ListResponse is one page of the list.
type ListResponse struct {
	// Total is the number of rows that the API says there are on all pages
	// together, or UnknownTotal. Only All believes it, and only if all else
	// says the same.
	Total int
	// Images are the rows of this page, in the API's order, those that can't be
	// read among them: see [Image].Unreadable.
	Images []Image
}

// UnmarshalJSON reads a page. A page without data_list, or with a null one, is
// an error: it is not known to be empty. So is one with a row that can't be read.
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
		if image.Unreadable != "" {
			return nil, errUnreadable
		}
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
	total, images, err := decodePage(data, (*wireImage).image)
	if err != nil {
		return nil, err
	}
	return &ListResponse{Total: total, Images: images}, nil
}

// wirePage is a page of any of the API's lists.
type wirePage[W any] struct {
	Total count `json:"total_num"`
	List  []*W  `json:"data_list"`
	// Fault is there only if the answer is an error.
	Fault text `json:"error_code"`
}

// decodePage reads a page of any of the API's lists. It is never known to be
// empty unless it has an empty data_list.
func decodePage[W, T any](data []byte, convert func(*W) (T, error)) (total int, rows []T, err error) {
	var page wirePage[W]
	if err := json.Unmarshal(data, &page); err != nil {
		return 0, nil, fmt.Errorf("decoding the list: %w", err)
	}
	if page.Fault != "" {
		return 0, nil, errFault
	}
	if page.List == nil {
		return 0, nil, errNoList
	}
	rows = make([]T, 0, len(page.List))
	for i, wire := range page.List {
		row, err := convert(wire)
		if err != nil {
			return 0, nil, fmt.Errorf("data_list[%d]: %w", i, err)
		}
		rows = append(rows, row)
	}
	if page.Total.n == nil {
		return UnknownTotal, rows, nil
	}
	return *page.Total.n, rows, nil
}
