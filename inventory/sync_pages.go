package inventory

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/hssgate/hssgate/hss"
)

// How often a page is asked for before a list is given up: a whole list is
// worth a minute's wait, while changes are asked for again soon anyway.
const (
	listTries = 6
	pollTries = 2
	firstWait = time.Second
)

// listing is how a list is asked for.
type listing struct {
	request hss.ListRequest
	urgency *urgency
	tries   int // for each page
	// each is called with every page.
	each func(*hss.ListResponse)
	// between is called after every page and before each further try.
	between func()
}

// pages asks for page after page of a list to its end. The error is an
// *hss.IncompleteListError if rows were missing. Rows that were
// scanned lately come first, since a row that is scanned meanwhile then moves
// to where it was seen already, and pushes others back, to be seen twice:
// nothing is missed.
func (s *syncer) pages(ctx context.Context, l listing) error {
	r := &l.request
	r.EnterpriseProjectID, r.Limit = s.p.enterpriseProject, hss.MaxLimit
	r.SortKey, r.SortDir = hss.SortByLatestScanTime, hss.SortDescending
	walk := hss.NewWalk[uint64](0, r.Limit)
	for more := true; more; {
		r.Offset = walk.Offset()
		page, err := s.page(ctx, &l)
		if err != nil {
			return fmt.Errorf("rows from %d on: %w", r.Offset, err)
		}
		if more, err = walk.Add(page.Total, s.keysOf(page)); err != nil {
			return fmt.Errorf("listing rows: %w", err)
		}
		if len(page.Images) > 0 {
			l.each(page)
			l.between()
		}
	}
	return walk.Err()
}

// keysOf returns a short form of the key of each row: there may be millions.
func (s *syncer) keysOf(page *hss.ListResponse) []uint64 {
	keys := make([]uint64, len(page.Images))
	for n := range page.Images {
		keys[n] = s.keyOf(&page.Images[n])
	}
	return keys
}

func (s *syncer) keyOf(row *hss.Image) uint64 {
	return maphash.Comparable(s.i.cache.seed, hss.KeyOf(row))
}

// page asks for one page, and again if what went wrong may pass.
func (s *syncer) page(ctx context.Context, l *listing) (page *hss.ListResponse, err error) {
	for try := range l.tries {
		if try > 0 {
			s.i.sleep(ctx, s.i.jitter(firstWait<<(try-1)))
			l.between()
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		q := question{project: s.p, urgency: l.urgency, calls: 1, deep: l.request.Offset > 0}
		err = s.i.call(ctx, q, func(ctx context.Context, _ int) (err error) {
			page, err = s.pager.List(ctx, l.request)
			return whyEnded(ctx, err)
		})
		if err == nil || isFinal(err) {
			return page, err
		}
	}
	return nil, err
}

// isFinal tells whether asking again gives the same: HSS, being well, refused.
func isFinal(err error) bool {
	var refused *hss.RefusedError
	return errors.As(err, &refused) || judge(err) == healthGood
}
