package inventory_test

import (
	"context"
	"iter"

	"github.com/hssgate/hssgate/hss"
)

// echo answers every question with its one row.
type echo struct{ row hss.Image }

func (e *echo) All(context.Context, hss.ListRequest) iter.Seq2[hss.Image, error] {
	return func(yield func(hss.Image, error) bool) { yield(e.row, nil) }
}

// listWorld lists its rows quickly, in one order, and knows of no changes.
type listWorld struct {
	echo
	rows []hss.Image
}

func (w *listWorld) List(_ context.Context, r hss.ListRequest) (*hss.ListResponse, error) {
	page := &hss.ListResponse{Total: len(w.rows)}
	if r.StartLatestScanTime.IsZero() && r.StartLatestUpdateTime.IsZero() && r.StartLatestSyncTime.IsZero() {
		page.Images = w.rows[min(r.Offset, len(w.rows)):min(r.Offset+r.Limit, len(w.rows))]
	}
	return page, nil
}
