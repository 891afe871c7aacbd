package inventory

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
)

// syncer keeps up with a whole project. It lists everything from time to time,
// and in between asks for what changed. From both follows for which answers of
// the cache HSS need not be asked: those that were whole when, or after, the
// list was begun, and into which every change since was worked. An answer that
// isn't vouched for ages as any other, and is asked for singly; so a row that
// a list missed, or that was deleted, costs a call and never a verdict.
type syncer struct {
	i        *Inventory
	p        *project
	cfg      config.Sync
	pager    Pager
	coverage atomic.Pointer[coverage]
	touched  touched
	// first is closed when the first list has ended, well or not.
	first     chan struct{}
	closeOnce sync.Once

	// What follows is the loop's own.
	begun    time.Time // of the last complete list; zero: there is none
	since    time.Time // up to when changes were asked for
	nextFull time.Time
	nextPoll time.Time
	failed   int // lists in a row
}

// coverage is the time for which a synchronisation speaks: it began with a
// complete list, and every change until its end is known. In nanoseconds since
// the epoch.
type coverage struct{ begun, until int64 }

func newSyncer(i *Inventory, p *project, c config.Sync, pager Pager) *syncer {
	return &syncer{i: i, p: p, cfg: c, pager: pager, first: make(chan struct{})}
}

// vouchedAt is when HSS last said what an answer says. The coverage counts
// only if it reaches past the moment at which the answer was stored: an answer
// that was under way while changes were asked for may miss one of them, which
// the next question for changes shows, as it reaches back that far.
func (s *syncer) vouchedAt(a *answer) int64 {
	c := s.coverage.Load()
	if c == nil || a.doubtful || a.asOf < c.begun || a.stored >= c.until {
		return a.asOf
	}
	if a.digest() != "" && s.touched.since(s.i.cache.nameHash(a.key()), a.asOf) {
		return a.asOf
	}
	if s.i.since(c.until) == noAge {
		return a.asOf // the clock was set back
	}
	return max(a.asOf, c.until)
}

// run synchronises until ctx ends.
func (s *syncer) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := guarded(func() error { return s.round(ctx) }); err != nil {
			s.report(Synchronisation{Err: err}, s.i.clock.Now())
			s.nextFull = s.i.clock.Now().Add(time.Duration(s.cfg.Interval))
		}
		s.i.sleep(ctx, s.wait())
	}
}

// wait is how long there is nothing to do.
func (s *syncer) wait() time.Duration {
	next := s.nextFull
	if !s.begun.IsZero() && s.nextPoll.Before(next) {
		next = s.nextPoll
	}
	return max(next.Sub(s.i.clock.Now()), time.Second)
}

// beginAnew forgets what was listed if the clock was set back: until then,
// changes were asked for by a time that may not have come for HSS.
func (s *syncer) beginAnew() {
	if s.since.IsZero() || s.i.since(s.since.UnixNano()) != noAge {
		return
	}
	s.coverage.Store(nil)
	s.begun, s.since, s.nextFull = time.Time{}, time.Time{}, s.i.clock.Now()
}

// round does what is due.
func (s *syncer) round(ctx context.Context) error {
	s.beginAnew()
	if !s.i.clock.Now().Before(s.nextFull) {
		defer s.closeOnce.Do(func() { close(s.first) })
		s.full(ctx)
		return nil
	}
	s.pollIfDue(ctx)
	return nil
}

// full lists everything.
func (s *syncer) full(ctx context.Context) {
	begun, all := s.i.clock.Now(), newStage(s)
	l := forBackground
	if s.begun.IsZero() {
		l = forWarmUp // nobody is served better by waiting longer
	}
	err := s.pages(ctx, listing{
		urgency: newUrgency(l), tries: listTries, each: all.addPage, between: func() { s.pollIfDue(ctx) },
	})
	var missing *hss.IncompleteListError
	if err == nil || errors.As(err, &missing) {
		err = all.apply(begun, missing)
		s.begun, s.since, s.failed = begun, begun, 0
		s.nextFull = begun.Add(s.i.jitter(time.Duration(s.cfg.FullInterval)))
		s.report(Synchronisation{Full: true, Rows: all.received, Err: err}, begun)
		s.poll(ctx)
		return
	}
	if ctx.Err() != nil {
		return
	}
	s.failed++
	pause := min(time.Duration(s.cfg.Interval)<<min(s.failed-1, 10), time.Duration(s.cfg.FullInterval))
	s.nextFull = s.i.clock.Now().Add(s.i.jitter(pause))
	s.report(Synchronisation{Full: true, Rows: all.received, Err: err}, begun)
}

func (s *syncer) pollIfDue(ctx context.Context) {
	if !s.begun.IsZero() && !s.i.clock.Now().Before(s.nextPoll) {
		s.poll(ctx)
	}
}

// poll asks for what changed: scanned, pushed, or only now known to HSS, which
// may learn of a push long after it. A list of one kind need not hold the
// others' rows. Changes that were seen before it broke off stay worked in, but
// only a whole one vouches for anything. A row that may be of any image leaves
// it open what changed.
func (s *syncer) poll(ctx context.Context) {
	begun := s.i.clock.Now()
	s.nextPoll = begun.Add(s.i.jitter(time.Duration(s.cfg.Interval)))
	from := s.since.Add(-time.Duration(s.cfg.Overlap))
	rows, seen, anonymous := 0, states{}, error(nil)
	for _, r := range []hss.ListRequest{
		{StartLatestScanTime: from}, {StartLatestUpdateTime: from}, {StartLatestSyncTime: from},
	} {
		err := s.pages(ctx, listing{
			request: r, urgency: newUrgency(forBackground), tries: pollTries, between: func() {},
			each: func(page *hss.ListResponse) {
				rows += len(page.Images)
				for n := range page.Images {
					if page.Images[n].Anonymous() {
						anonymous = unreadable(&page.Images[n])
					}
					s.change(&page.Images[n], begun, s.contradicts(seen, &page.Images[n]))
				}
			},
		})
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = anonymous
		}
		if err != nil {
			s.report(Synchronisation{Rows: rows, Err: err}, begun)
			return
		}
	}
	s.since = begun
	// What no list has confirmed for long is not vouched for: there may be
	// changes that no filter shows.
	longest := s.begun.Add(2 * time.Duration(s.cfg.FullInterval))
	s.coverage.Store(&coverage{begun: s.begun.UnixNano(), until: min(begun.UnixNano(), longest.UnixNano())})
	s.touched.forget(s.begun.UnixNano()) // older answers aren't vouched for any more
	s.report(Synchronisation{Rows: rows}, begun)
}

// report tells the observer what came of a synchronisation.
func (s *syncer) report(r Synchronisation, begun time.Time) {
	r.Took = s.i.clock.Since(begun)
	s.i.observer.Synced(s.p.name, r)
}
