package hss

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// RowError says that a row of a list can't be read, though the list is one:
// HSS answers, and other rows may well be read. The list of images has no such
// error: it marks the row, see [Image].Unreadable.
type RowError struct {
	// Row is the row's place on its page, from 0 on.
	Row int
	// Reason names the field, and quotes the beginning of what it holds.
	Reason string
}

// Error says which row it is and why.
func (e *RowError) Error() string { return fmt.Sprintf("data_list[%d]: %s", e.Row, e.Reason) }

// errUnreadable is what writing an image is refused with that could not be read:
// the mark would be lost, and the rest be taken for all that HSS said.
var errUnreadable = errors.New("a row that could not be read can't be written")

// Anonymous reports whether the row can't be read and doesn't tell of which
// image it is: it may be of any.
func (i *Image) Anonymous() bool { return i.Unreadable != "" && i.Name == "" }

// readList reads a page, and marks the rows of it that can't be read.
func readList(data []byte) (*ListResponse, error) {
	list, err := decodeList(data)
	if err == nil {
		return list, nil
	}
	total, images, unlisted := decodePage(data, readImage)
	if unlisted != nil {
		return nil, err
	}
	return &ListResponse{Total: total, Images: images}, nil
}

// readImage reads a row, or marks it.
func readImage(raw *json.RawMessage) (Image, error) {
	if raw == nil {
		return Image{Unreadable: errNullRow.Error()}, nil
	}
	why := whyUnreadable(*raw, (*wireImage).image)
	if why != "" {
		marked := namesOf(*raw)
		marked.Unreadable = why
		return marked, nil
	}
	var image Image
	return image, image.UnmarshalJSON(*raw)
}

// wireNames is what names the image of a row.
type wireNames struct {
	ID           identifier `json:"id"`
	Namespace    text       `json:"namespace"`
	Name         text       `json:"image_name"`
	ImageID      text       `json:"image_id"`
	Digest       text       `json:"image_digest"`
	Version      text       `json:"image_version"`
	Type         text       `json:"image_type"`
	RegistryID   text       `json:"registry_id"`
	RegistryName text       `json:"registry_name"`
	RegistryType text       `json:"registry_type"`
	InstanceName text       `json:"instance_name"`
	InstanceID   text       `json:"instance_id"`
}

// namesOf reads of which image a row is that can't be read in full. What it
// says of scans is left out. If any of the names can't be read all are left
// out: half a name may be that of another image.
func namesOf(raw json.RawMessage) Image {
	var w *wireNames
	if err := json.Unmarshal(raw, &w); err != nil || w == nil {
		return Image{}
	}
	image := Image{
		ID: string(w.ID), Namespace: string(w.Namespace), Name: string(w.Name), ImageID: string(w.ImageID),
		Digest: string(w.Digest), Version: string(w.Version), Type: ImageType(w.Type),
		RegistryID: string(w.RegistryID), RegistryName: string(w.RegistryName), RegistryType: RegistryType(w.RegistryType),
		InstanceName: string(w.InstanceName), InstanceID: string(w.InstanceID),
	}
	image.Architectures, image.MultiArch = digestsOf(raw)
	return image
}

// digestsOf reads the digests of a row's architectures. If they can't be read
// the image has architectures, and it is not known which.
func digestsOf(raw json.RawMessage) (architectures []AssociatedImage, multiArch bool) {
	var w struct {
		Architectures []*struct {
			Digest text `json:"image_digest"`
		} `json:"association_images"`
	}
	if err := json.Unmarshal(raw, &w); err != nil || slices.Contains(w.Architectures, nil) {
		return nil, true
	}
	for _, a := range w.Architectures {
		architectures = append(architectures, AssociatedImage{Digest: string(a.Digest)})
	}
	return architectures, len(architectures) > 0
}

// decodeRows reads a page of a list of which each row counts. It fails with a
// *RowError if it is the row that can't be read.
func decodeRows[W, T any](data []byte, convert func(*W) (T, error)) ([]T, error) {
	_, rows, err := decodePage(data, convert)
	if err == nil {
		return rows, nil
	}
	_, reasons, unlisted := decodePage(data, func(raw *json.RawMessage) (string, error) {
		if raw == nil {
			return errNullRow.Error(), nil
		}
		return whyUnreadable(*raw, convert), nil
	})
	n := slices.IndexFunc(reasons, func(reason string) bool { return reason != "" })
	if unlisted != nil || n < 0 {
		return nil, err
	}
	return nil, &RowError{Row: n, Reason: reasons[n]}
}

// whyUnreadable says in one line which field of a row can't be read and what it
// holds; empty: the row can be read.
func whyUnreadable[W, T any](raw json.RawMessage, convert func(*W) (T, error)) string {
	err := convertible(raw, convert)
	if err == nil {
		return ""
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return clean("the row is " + beginning(raw))
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		one, failed := json.Marshal(map[string]json.RawMessage{name: fields[name]})
		if failed != nil {
			continue
		}
		if convertible(one, convert) != nil {
			return clean(name + " is " + beginning(fields[name]))
		}
	}
	return clean(err.Error())
}

// beginning bounds what is shown of a field.
func beginning(raw json.RawMessage) string {
	if len(raw) <= excerptBytes {
		return string(raw)
	}
	return strings.ToValidUTF8(string(raw[:excerptBytes]), "") + "…"
}

// convertible returns why a row can't be read.
func convertible[W, T any](raw json.RawMessage, convert func(*W) (T, error)) error {
	var wire *W
	if err := json.Unmarshal(raw, &wire); err != nil {
		return err
	}
	_, err := convert(wire)
	return err
}
