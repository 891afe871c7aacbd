package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// maxSamePages is how many pages in a row may be the same before a list is
// taken for one that doesn't end.
const maxSamePages = 3

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

// pages asks for page after page of a list, until one is empty. Rows that were
// scanned lately come first, since a row that is scanned meanwhile then moves
// to where it was seen already, and pushes others back, to be seen twice:
// nothing is missed.
func (s *syncer) pages(ctx context.Context, l listing) error {
	r := &l.request
	r.EnterpriseProjectID, r.Limit = s.p.enterpriseProject, hss.MaxLimit
	r.SortKey, r.SortDir = hss.SortByLatestScanTime, hss.SortDescending
	var before []string
	for same := 0; r.Offset <= hss.MaxOffset; {
		page, err := s.page(ctx, &l)
		if err != nil {
			return fmt.Errorf("rows from %d on: %w", r.Offset, err)
		}
		if len(page.Images) == 0 {
			return nil
		}
		ids := idsOf(page)
		if same++; !slices.Equal(ids, before) {
			same = 1
		}
		if same >= maxSamePages {
			return fmt.Errorf("the list repeats itself: %d pages up to offset %d are the same", same, r.Offset)
		}
		before = ids
		r.Offset += len(page.Images)
		l.each(page)
		l.between()
	}
	return fmt.Errorf("the list goes on past offset %d, which the API does not allow", hss.MaxOffset)
}

func idsOf(page *hss.ListResponse) []string {
	ids := make([]string, len(page.Images))
	for n := range page.Images {
		ids[n] = page.Images[n].ID
	}
	return ids
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
