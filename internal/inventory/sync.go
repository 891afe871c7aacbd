package inventory

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/policy"
)

const (
	// fullInterval is how often everything is listed.
	fullInterval = time.Hour
	// overlap is how far back a list of changes reaches behind the one before: HSS's clock may be behind.
	overlap = 15 * time.Minute
	// pageTries is how often a page is tried, with waits that double: a list is worth half a minute.
	pageTries = 6
	firstWait = time.Second
)

// pager lists single pages; *hss.Client implements it.
type pager interface {
	List(ctx context.Context, r hss.ListRequest) (*hss.ListResponse, error)
}

// coverage is the time for which a synchronisation speaks: it began with a complete list, and every change until its
// end is known.
type coverage struct{ begun, until time.Time }

// syncer keeps the cache up to date by listing a whole project from time to time and what changed in between. From both
// follows for which images HSS need not be called: those that a whole list showed, or that were looked up since, as long
// as every change was seen. A row that a list missed costs a call, never a verdict.
type syncer struct {
	*project
	pager    pager
	interval time.Duration
	// first is closed by endFirst when the first list has ended, well or not.
	first    chan struct{}
	endFirst func()

	begun    time.Time // of the last complete list; zero: there is none
	since    time.Time // up to when changes were listed
	nextFull time.Time
	nextPoll time.Time
	failed   int // lists in a row
}

// synchronise prepares the synchronisation of the project.
func (p *project) synchronise(c *config.Project) error {
	list, ok := p.client.(pager)
	if !ok {
		return fmt.Errorf("project %q is to be synchronised, and its client %T cannot list pages", c.Name, p.client)
	}
	first := make(chan struct{})
	p.syncer = &syncer{
		project: p, pager: list, interval: time.Duration(c.SyncInterval), first: first, endFirst: sync.OnceFunc(func() { close(first) }),
	}
	return nil
}

// jitter spreads a time over a tenth more and less, so that replicas do not do the same at the same time.
func (i *Inventory) jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + i.random()/5))
}

func (s *syncer) now() time.Time { return s.inventory.clock.Now() }

// report passes on what came of a list that began at a time.
func (s *syncer) report(full bool, rows int, begun time.Time, err error) {
	s.inventory.observer.Synced(s.name, Synchronisation{Full: full, Rows: rows, Took: s.inventory.clock.Since(begun), Err: err})
}

// run synchronises until ctx ends.
func (s *syncer) run(ctx context.Context) {
	for ctx.Err() == nil {
		begun := s.now()
		if err := guarded(ctx, s.listWhatIsDue); err != nil {
			s.nextFull = s.now().Add(s.interval)
			s.report(false, 0, begun, err)
		}
		next := s.nextFull
		if !s.begun.IsZero() && s.nextPoll.Before(next) {
			next = s.nextPoll
		}
		sleep(ctx, max(next.Sub(s.now()), time.Second))
	}
}

func (s *syncer) listWhatIsDue(ctx context.Context) error {
	if s.now().Before(s.nextFull) {
		s.pollIfDue(ctx)
		return nil
	}
	defer s.endFirst()
	s.full(ctx)
	return nil
}

// full lists everything.
func (s *syncer) full(ctx context.Context) {
	begun := s.now()
	list := s.newList(begun, int(s.inventory.cfg.MaxBytes))
	err := s.pages(ctx, hss.ListRequest{}, func(page []hss.Image) {
		list.add(page)
		s.pollIfDue(ctx)
	})
	missing, incomplete := errors.AsType[*hss.IncompleteListError](err)
	switch {
	case err == nil, incomplete:
		err = list.confirm(missing)
		s.begun, s.since, s.failed = begun, begun, 0
		s.nextFull = begun.Add(s.inventory.jitter(fullInterval))
		s.report(true, list.rows, begun, err)
		s.poll(ctx)
	case ctx.Err() == nil:
		s.nextFull = s.now().Add(s.inventory.jitter(min(s.interval<<min(s.failed, 10), fullInterval)))
		s.failed++
		s.report(true, list.rows, begun, err)
	}
}

func (s *syncer) pollIfDue(ctx context.Context) {
	if !s.begun.IsZero() && !s.now().Before(s.nextPoll) {
		s.poll(ctx)
	}
}

// poll lists what changed: scanned, pushed, or only now known to HSS, which may learn of a push long after it. Changes
// that were seen before it failed are applied, but only a whole poll confirms anything.
func (s *syncer) poll(ctx context.Context) {
	begun := s.now()
	s.nextPoll = begun.Add(s.inventory.jitter(s.interval))
	// By this time of day and how long ago the last poll was: the clock may have been set meanwhile.
	from := begun.Add(-begun.Sub(s.since) - overlap)
	list := s.newList(begun, math.MaxInt)
	var err error
	for _, r := range []hss.ListRequest{{StartLatestScanTime: from}, {StartLatestUpdateTime: from}, {StartLatestSyncTime: from}} {
		if err = s.pages(ctx, r, list.add); err != nil {
			break
		}
	}
	list.change()
	if err == nil {
		err = list.anonymous
	}
	switch {
	case err == nil:
		s.since = begun
		// What no list has confirmed for long does not stay confirmed: there may be changes that no filter shows.
		until := begun
		if last := s.begun.Add(2 * fullInterval); last.Before(until) {
			until = last
		}
		s.coverage.Store(&coverage{s.begun, until})
	case ctx.Err() != nil:
		return
	}
	s.report(false, list.rows, begun, err)
}

// pages lists page after page to the end. The error is an *hss.IncompleteListError if rows were missing. Rows that were
// scanned lately come first: a row that is scanned meanwhile moves to where it was seen, and nothing is missed.
func (s *syncer) pages(ctx context.Context, r hss.ListRequest, each func([]hss.Image)) error {
	r.EnterpriseProjectID, r.Limit = s.enterpriseProject, hss.MaxLimit
	r.SortKey, r.SortDir = hss.SortByLatestScanTime, hss.SortDescending
	walk := hss.NewWalk[uint64](r.Limit)
	for more := true; more; {
		r.Offset = walk.Offset()
		page, err := s.page(ctx, r)
		if err != nil {
			return fmt.Errorf("rows from %d on: %w", r.Offset, err)
		}
		keys := make([]uint64, len(page.Images)) // short keys, as there may be millions
		for n := range page.Images {
			keys[n] = s.inventory.rowHash(&page.Images[n])
		}
		if more, err = walk.Add(page.Total, keys); err != nil {
			return fmt.Errorf("list rows: %w", err)
		}
		each(page.Images)
	}
	return walk.Err()
}

// page lists one page, and tries again unless HSS, being well, refused the call. The first list is more urgent than later
// ones. A page far down a list, which HSS may be slow to find though it is well, does not count for the breaker.
func (s *syncer) page(ctx context.Context, r hss.ListRequest) (page *hss.ListResponse, err error) {
	l, e := background, s.images
	if s.begun.IsZero() {
		l = warmUp
	}
	if r.Offset > 0 {
		e = nil
	}
	for try := range pageTries {
		if try > 0 {
			sleep(ctx, s.inventory.jitter(firstWait<<(try-1)))
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err = s.callIn(ctx, l, e, func(ctx context.Context) (err error) {
			page, err = s.pager.List(ctx, r)
			return err
		})
		_, refused := errors.AsType[*hss.RefusedError](err)
		if err == nil || refused || healthOf(err) == healthy {
			return page, err
		}
	}
	return nil, err
}

// rowHash returns a short name of a row.
func (i *Inventory) rowHash(row *hss.Image) uint64 { return maphash.Comparable(i.seed, hss.KeyOf(row)) }

// keyOf returns the key by which a reference with a tag finds a row, if the row is of this registry.
func (r *registry) keyOf(row *hss.Image) (key, bool) {
	spelling := ""
	switch slash, dollar := strings.Contains(row.Name, "/"), strings.Contains(row.Name, "$"); {
	case slash && dollar:
		return key{}, false
	case slash:
		spelling = config.NestedSlash
	case dollar:
		spelling = config.NestedDollar
	}
	if row.Version == "" || row.Name == "" || r.misfit(row) != "" || (spelling != "" && !slices.Contains(r.NestedNames, spelling)) ||
		(len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, row.Namespace)) {
		return key{}, false
	}
	return key{registry: r, namespace: row.Namespace, name: strings.ReplaceAll(row.Name, "$", "/"), version: row.Version}, true
}

// list gathers the rows of a list by their images: an image may have several, far apart.
type list struct {
	*project
	begun  time.Time
	room   int // in bytes
	images map[key]*listedImage
	// rows counts the rows, bytes about the memory that they take.
	rows, bytes int
	// dropped counts the rows for which there is no room, unreadable those that cannot be read; why is the reason of
	// one, anonymous that of one that may be of any image.
	dropped, unreadable int
	why, anonymous      error
}

// listedImage has the rows of one image.
type listedImage struct {
	rows    []uint64
	records []policy.Record
	// unclear says that a row cannot be read or came in two states, so that the list does not show what the image is.
	unclear bool
}

func (p *project) newList(begun time.Time, room int) *list {
	return &list{project: p, begun: begun, room: room, images: map[key]*listedImage{}}
}

// add notes each row for every registry that holds it.
func (l *list) add(rows []hss.Image) {
	l.rows += len(rows)
	for n := range rows {
		row := &rows[n]
		record, err := recordOf(row)
		if err != nil {
			l.unreadable++
			l.why = err
		}
		if row.Anonymous() {
			l.anonymous = err
		}
		for _, r := range l.registries {
			if k, ok := r.keyOf(row); ok {
				l.put(k, l.inventory.rowHash(row), &record, err != nil)
			}
		}
	}
}

func (l *list) put(k key, row uint64, record *policy.Record, unclear bool) {
	image := l.images[k]
	if image == nil {
		if l.bytes >= l.room {
			l.dropped++
			return
		}
		image = &listedImage{}
		l.images[k.clone()] = image
		l.bytes += entryBytes
	}
	if at := slices.Index(image.rows, row); at >= 0 {
		image.unclear = image.unclear || unclear || !isSame(&image.records[at], record)
		return
	}
	image.rows, image.records = append(image.rows, row), append(image.records, *record)
	image.unclear = image.unclear || unclear
	l.bytes += recordsBytes([]policy.Record{*record})
}

// confirm caches what a whole list says of every image that it shows whole. It fails if that is not all of them. A row
// that may be of any image leaves none that is known to be whole.
func (l *list) confirm(missing *hss.IncompleteListError) error {
	if l.anonymous != nil {
		return fmt.Errorf("the list confirms nothing: %w", l.anonymous)
	}
	for k, image := range l.images {
		if !image.unclear {
			l.store(k, image.records, missing == nil)
		}
		delete(l.images, k) // to free it now
	}
	switch {
	case l.dropped > 0:
		return fmt.Errorf("the cache has no room for %d images of the project (cache.maxBytes)", l.dropped)
	case missing != nil:
		return fmt.Errorf("only what was known before and has not changed is confirmed: %w", missing)
	case l.unreadable > 0:
		return fmt.Errorf("%d of the rows cannot be read, so that the list says nothing of their images; the last: %w", l.unreadable, l.why)
	default:
		return nil
	}
}

// store caches the answer for one image, unless a later one is known or a row may be missing: then a look-up decides.
func (l *list) store(k key, records []policy.Record, whole bool) {
	known := l.inventory.records.get(k)
	same := func(a, b *policy.Record) bool { return isSame(a, b) || isSameRow(a, b) }
	if known.isKnown() {
		later := !known.asOf.Before(l.begun)
		if later || !arePartOf(known.value, records, same) || !whole && !arePartOf(records, known.value, same) {
			return
		}
		keepCompleted(records, known.value)
	} else if !whole {
		return
	}
	l.inventory.records.replace(k, known, &answer[[]policy.Record]{value: slices.Clip(records), asOf: l.begun, stored: l.inventory.clock.Now()})
}

// change merges rows that changed into the answers that are known and older. If it is unclear in which state a row is,
// the answer is dropped.
func (l *list) change() {
	for k, image := range l.images {
		known := l.inventory.records.get(k)
		switch {
		case !known.isKnown(), !known.asOf.Before(l.begun):
		case image.unclear, len(known.value) == 0:
			l.inventory.records.drop(k)
		default:
			becomes := known
			for n := range image.records {
				becomes = changedBy(becomes, &image.records[n])
			}
			if becomes != known {
				l.inventory.records.replace(k, known, becomes)
			}
		}
	}
}

// changedBy returns an answer with a row as it is now, or the same answer if it says that already. If the row takes the
// place of none, it may stand beside the others or in the place of one: then all count, until a look-up tells.
func changedBy(known *answer[[]policy.Record], record *policy.Record) *answer[[]policy.Record] {
	changed := []policy.Record{*record}
	keepCompleted(changed, known.value)
	for i := range known.value {
		if isSame(&known.value[i], record) || isSame(&known.value[i], &changed[0]) {
			return known
		}
	}
	rest := slices.DeleteFunc(slices.Clone(known.value), func(o policy.Record) bool { return isSameRow(&o, record) })
	inPlace := len(rest) < len(known.value)
	return &answer[[]policy.Record]{
		value: append(rest[:min(len(rest), maxRecords-1)], changed[0]), asOf: known.asOf, stored: known.stored,
		incomplete: known.incomplete || !inPlace,
	}
}
