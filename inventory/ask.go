package inventory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/policy"
)

// ask returns what HSS says now. However many callers ask for a key at one
// time, HSS is asked once; a caller whose ctx ends leaves the question running
// for whoever asks next. The known answer is what was not fresh any more.
func (i *Inventory) ask(ctx context.Context, k key, known *answer) (*answer, error) {
	if err := i.recentFailure(k); err != nil {
		return nil, err
	}
	started := i.clock.Now()
	result := i.flights.DoChan(k.flight(), func() (any, error) { return i.load(k, known) })
	impatient, stop := i.patience(known)
	defer stop()
	select {
	case r := <-result:
		return outcome(r)
	case <-impatient:
	case <-ctx.Done():
	}
	select {
	case r := <-result: // both came at once
		return outcome(r)
	default:
		return nil, &timeoutError{waited: i.clock.Since(started)}
	}
}

// outcome gives a flight's result its type back.
func outcome(r singleflight.Result) (*answer, error) {
	a, ok := r.Val.(*answer)
	if r.Err == nil && !ok {
		return nil, fmt.Errorf("internal error: a look-up ended with %T", r.Val)
	}
	return a, r.Err
}

// patience bounds the wait if a scan's result is at hand, though not fresh:
// while HSS hangs, pods should start on what is known, not wait for it.
func (i *Inventory) patience(known *answer) (expired <-chan time.Time, stop func()) {
	if known == nil || len(known.records) == 0 || anyPending(known.records) ||
		i.clock.Since(known.asOf) > time.Duration(i.cache.MaxStaleness) {
		return nil, func() {}
	}
	t := i.clock.NewTimer(time.Duration(i.cache.WaitWhenStale))
	return t.C(), func() { t.Stop() }
}

// load asks HSS on behalf of every caller and stores the answer, or how long
// not to ask again.
func (i *Inventory) load(k key, known *answer) (*answer, error) {
	if !i.begin() {
		return nil, errClosed
	}
	defer i.underWay.Done()
	// Between a caller's look into the cache and here, another load of the
	// same key may have ended.
	if a, ok := i.answers.GetIfPresent(k); ok && a != known {
		return a, nil
	}
	if err := i.recentFailure(k); err != nil {
		return nil, err
	}
	started := i.clock.Now()
	records, err := i.list(k)
	i.observer.Asked(k.registry.project.name, i.clock.Since(started), err)
	if err != nil {
		i.remember(k, err)
		return nil, err
	}
	if known != nil {
		keepCompleted(records, known.records)
	}
	a := &answer{records: records, asOf: started}
	i.answers.Set(k, a)
	i.failures.Invalidate(k)
	return a, nil
}

// begin registers a load with Close. It reports whether loads may still begin.
func (i *Inventory) begin() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return false
	}
	i.underWay.Add(1)
	return true
}

// list asks for every spelling of the name at one time. If one of them fails
// the answer is not whole, and an answer that is not whole is none.
func (i *Inventory) list(k key) ([]policy.Record, error) {
	p := k.registry.project
	ctx, cancel := context.WithTimeoutCause(i.base, p.lookupTimeout, &timeoutError{waited: p.lookupTimeout})
	defer cancel()
	names := k.spellings()
	found := make([][]policy.Record, len(names))
	group, groupCtx := errgroup.WithContext(ctx)
	for n, name := range names {
		group.Go(func() (err error) {
			found[n], err = i.listName(groupCtx, k, name)
			return err
		})
	}
	err := group.Wait()
	if err != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	var records []policy.Record
	for _, f := range found {
		records = append(records, f...)
	}
	return records, nil
}

// listName asks for one spelling and keeps the rows that fit. A panic below it
// is an error of this image, not the end of the process.
func (i *Inventory) listName(ctx context.Context, k key, name string) (records []policy.Record, err error) {
	defer func() {
		if r := recover(); r != nil {
			records, err = nil, fmt.Errorf("internal error while asking HSS: panic: %v", r)
		}
	}()
	var rows []hss.Image
	for row, err := range k.registry.project.lister.All(ctx, k.request(name)) {
		if err != nil {
			return nil, err
		}
		if !k.fits(&row, name) {
			continue
		}
		if rows = addRow(rows, row); len(rows) > maxRecords {
			return nil, fmt.Errorf("HSS lists more than %d rows for %s", maxRecords, k)
		}
	}
	for r := range rows {
		records = append(records, recordOf(&rows[r]))
	}
	// A list that ends without an error because its time was up isn't whole.
	return records, ctx.Err()
}

// addRow adds a row, in the place of an earlier one with the same ID: the list
// may change between two pages, and then the later word counts.
func addRow(rows []hss.Image, row hss.Image) []hss.Image {
	for i := range rows {
		if row.ID != "" && rows[i].ID == row.ID && rows[i].Digest == row.Digest {
			rows[i] = row
			return rows
		}
	}
	return append(rows, row)
}
