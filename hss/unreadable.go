package hss

import "fmt"

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

// Anonymous reports whether the row can't be read and doesn't tell of which
// image it is: it may be of any.
func (i *Image) Anonymous() bool { return i.Unreadable != "" && i.Name == "" }
