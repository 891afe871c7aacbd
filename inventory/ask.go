package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/tracing"
)

// ask returns what HSS says now. However many callers ask for a key at one
// time, HSS is asked once. A caller whose ctx ends leaves the question running for
// whoever asks next, unless it has not come to HSS yet. The known answer is what was not fresh any more, and
// digest what the caller wants to know of, if that is not all.
func (i *Inventory) ask(ctx context.Context, k key, known *answer, digest string, l level) (*answer, error) {
	if err := i.recentFailure(k); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, &busyError{"HSS was not asked, since the time was up"}
	}
	begun := i.clock.Now()
	under, isNew := i.flights.join(ctx, i.base, k, l)
	defer i.flights.leave(k, under)
	if isNew {
		go i.fly(k, known, under)
	} else {
		tracing.Link(ctx, under.span)
	}
	impatient, stop := i.patience(known, digest, l)
	defer stop()
	if under.await(ctx, impatient) {
		return under.answer, under.err
	}
	return nil, under.urgency.late(i.clock.Since(begun))
}

// patience bounds the wait if a scan's result is at hand, though not fresh:
// while HSS hangs, pods should start on what is known, not wait for it.
func (i *Inventory) patience(known *answer, digest string, l level) (expired <-chan time.Time, stop func()) {
	if l != forAdmission || known == nil || known.isPending(digest) || !known.hasResults(digest) || !i.isUsable(known) {
		return nil, func() {}
	}
	t := i.clock.NewTimer(time.Duration(i.cfg.WaitWhenStale))
	return t.C(), func() { t.Stop() }
}

// fly asks HSS, and lands whatever happens.
func (i *Inventory) fly(k key, known *answer, under *flight[*answer]) {
	var a *answer
	err := errors.New("internal error: a look-up ended without an answer")
	defer func() { i.flights.land(k, under, a, err) }()
	defer recovered(&err)
	a, err = i.load(under.ctx, k, known, under.urgency)
}

// recovered makes an error of a panic: one image's trouble must not be the end
// of the process.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = &panicError{value: r}
	}
}

// panicError is a panic that was stopped.
type panicError struct{ value any }

func (e *panicError) Error() string {
	return fmt.Sprintf("internal error while asking HSS: panic: %v", e.value)
}

// load asks HSS on behalf of every caller and stores the answer, or how long
// not to ask again.
func (i *Inventory) load(ctx context.Context, k key, known *answer, u *urgency) (*answer, error) {
	if !i.begin() {
		return nil, errClosed
	}
	defer i.underWay.Done()
	// Between a caller's look into the cache and here, another load of the
	// same key may have ended.
	if a := i.cache.get(k); a != nil && a != known && !a.doubtful && i.age(a) < i.shortest() {
		return a, nil
	}
	if err := i.recentFailure(k); err != nil {
		return nil, err
	}
	records, begun, err := i.list(ctx, k, u)
	if part, ok := errors.AsType[*partialError](err); ok {
		records = part.records
	}
	if known != nil {
		keepCompleted(records, known.records())
	}
	if err != nil {
		if ctx.Err() == nil {
			i.remember(k, err)
		}
		return nil, err
	}
	a := newAnswer(k, records, begun, i.clock.Now())
	i.cache.put(a)
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

// list asks for every spelling of the name, side by side if the turn allows
// it, and tells when it began. If one of them fails the answer is not whole,
// and an answer that is not whole is none.
func (i *Inventory) list(ctx context.Context, k key, u *urgency) (records []record, begun time.Time, err error) {
	p := k.registry.project
	names := k.spellings()
	found := make([][]record, len(names))
	err = i.call(ctx, question{project: p, urgency: u, calls: len(names)}, func(ctx context.Context, sideBySide int) error {
		begun = i.clock.Now()
		defer func() { i.observer.Asked(ctx, p.name, i.clock.Since(begun), err) }()
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(sideBySide)
		for n, name := range names {
			group.Go(func() (err error) {
				defer recovered(&err)
				found[n], err = k.registry.list(groupCtx, k, name)
				return err
			})
		}
		err = whyEnded(ctx, group.Wait())
		return err
	})
	if err != nil {
		return nil, begun, err
	}
	for _, f := range found {
		records = append(records, f...)
	}
	return records, begun, nil
}

// whyEnded says that time was up where the error says only that its context
// ended.
func whyEnded(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	_, unsent := errors.AsType[*unsentError](err)
	if err == nil || cause == nil || unsent || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, cause) {
		return err
	}
	if timeout, ok := errors.AsType[*timeoutError](cause); ok {
		return urgencyOf(ctx).timedOut(timeout.waited)
	}
	return cause
}

// list asks for one spelling and keeps the rows that fit.
func (r *registry) list(ctx context.Context, k key, name string) ([]record, error) {
	rows, err := r.rows(ctx, k, name)
	records, unreadable := packAll(rows)
	if err = cmp.Or(err, unreadable); err != nil && len(records) > 0 {
		return nil, &partialError{err, records}
	}
	return records, err
}

// partialError says that rows of an image are missing or can't be read. The
// others admit nothing, and can still show that the image violates a policy.
type partialError struct {
	err     error
	records []record
}

func (e *partialError) Error() string { return e.err.Error() }
func (e *partialError) Unwrap() error { return e.err }

// partial returns the records for a reference that an error comes with.
func (i *Inventory) partial(k key, ref *image.Reference, err error) []policy.Record {
	part, ok := errors.AsType[*partialError](err)
	if !ok {
		return nil
	}
	now := i.clock.Now()
	return newAnswer(k, part.records, now, now).unpack(ref.Digest)
}

// rows asks for one spelling and returns the rows that fit, as far as they were
// seen. A row that changed meanwhile stands there in both states, and the worse
// decides.
func (r *registry) rows(ctx context.Context, k key, name string) (rows []hss.Image, err error) {
	heard := r.project.heard.begin()
	defer func() { r.project.heard.listed(spelling{k, name}, heard, err) }()
	for row, err := range r.project.lister.All(ctx, k.request(name)) {
		if err != nil {
			return rows, err
		}
		heard.add(row)
		if !k.fits(&row, name) {
			continue
		}
		if rows = append(rows, row); len(rows) > maxRecords {
			return nil, &rowsError{fmt.Errorf("HSS lists more than %d rows for %s", maxRecords, k)}
		}
	}
	// A list that ends without an error because its time was up isn't whole.
	return rows, ctx.Err()
}

// packAll reduces rows to what verdicts need. With those that can be read, it
// returns why the first other one can't.
func packAll(rows []hss.Image) (records []record, err error) {
	records = make([]record, 0, len(rows))
	for n := range rows {
		packed, why := pack(&rows[n])
		switch {
		case why == nil:
			records = append(records, packed)
		case err == nil:
			err = &rowsError{why}
		}
	}
	return records, err
}

// rowsError says that rows can't be true, though HSS is well.
type rowsError struct{ err error }

func (e *rowsError) Error() string { return e.err.Error() }
func (e *rowsError) Unwrap() error { return e.err }

// hasID tells whether an ID tells rows apart: HSS may leave it out or send 0.
func hasID(id string) bool { return id != "" && id != "0" }
