package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
)

const (
	// fullInterval is how often everything is listed, until a whole list shows nothing that lists of changes have missed. Then the interval doubles,
	// up to maxFullInterval and half of cache.maxStaleness.
	fullInterval    = time.Hour
	maxFullInterval = 12 * time.Hour
	// overlap is how far back a list of changes reaches behind the one before: HSS's clock may be behind.
	overlap = 15 * time.Minute
)

// coverage is the time for which a synchronisation speaks: it began with a complete list, and every change until its end is known.
type coverage struct{ begun, until time.Time }

// confirms reports whether an answer is known to have been right until the end of the coverage. Only a call shows that HSS still does not know an
// image, or which rows hold a digest.
func (c *coverage) confirms(k key, a *lookup.Answer[[]policy.Record]) bool {
	return c != nil && len(a.Value) > 0 && k.digest == "" && !a.AsOf.Before(c.begun) && a.Stored.Before(c.until) && a.AsOf.Before(c.until)
}

// syncer keeps the cache up to date by listing a whole project from time to time and what changed in between. From both
// follows for which images HSS need not be called: those that a whole list showed, or that were looked up since, as long
// as every change was seen. A row that a list missed costs a call, never a verdict.
type syncer struct {
	*project

	begun              time.Time     // of the last complete list; zero: there is none
	interval           time.Duration // from that list to the next
	expires            time.Time     // when that list no longer confirms anything
	since              time.Time     // up to when changes were listed
	nextFull, nextPoll time.Time
	failed             int // lists in a row
}

// jitter spreads a time over a tenth more and less, so that replicas do not do the same at the same time.
func (i *Inventory) jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + i.random()/5))
}

func (s *syncer) now() time.Time { return s.inventory.clock.Now() }

// run synchronises until ctx ends.
func (s *syncer) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := lookup.Guarded(ctx, func(ctx context.Context) error {
			if s.now().Before(s.nextFull) {
				s.pollIfDue(ctx)
			} else {
				s.full(ctx)
			}
			return nil
		})
		if err != nil {
			s.nextFull = s.now().Add(s.SyncInterval)
			s.inventory.observer.Synced(s.Name, false, 0, err)
		}
		next := s.nextFull
		if !s.begun.IsZero() && s.nextPoll.Before(next) {
			next = s.nextPoll
		}
		sleep(ctx, max(next.Sub(s.now()), time.Second))
	}
}

// full lists everything. A list that is not whole says nothing.
func (s *syncer) full(ctx context.Context) {
	begun := s.now()
	since := cmp.Or(s.since, begun)
	all := &list{project: s.project, begun: begun, room: int(s.inventory.cfg.MaxBytes), images: map[uint64]*listedImage{}}
	var changes *list
	var failed error
	// Again all changes since those that were known when the list began: it may show a row as it was before one of them.
	readChanges := func() []uint64 {
		s.since = since
		if changes, failed = s.changes(ctx); failed != nil {
			return nil
		}
		return changes.keys
	}
	err := s.pages(ctx, hss.ListRequest{}, func(page []hss.Image) {
		all.add(page)
		s.pollIfDue(ctx)
	}, readChanges)
	if err = cmp.Or(err, all.anonymous); err != nil {
		s.interval = 0
		s.nextFull = s.now().Add(s.inventory.jitter(min(s.SyncInterval<<min(s.failed, 10), fullInterval)))
		s.failed++
		if ctx.Err() == nil {
			s.inventory.observer.Synced(s.Name, true, all.rows, err)
		}
		return
	}
	if changes == nil {
		readChanges()
	}
	if all.confirm(s.coverage.Load(), changes) || failed != nil || all.bytes >= all.room {
		s.interval = 0
	}
	s.interval = max(fullInterval, min(2*s.interval, maxFullInterval, s.inventory.cfg.MaxStaleness/2))
	s.begun, s.failed, s.nextFull = begun, 0, begun.Add(s.inventory.jitter(s.interval))
	s.expires = s.nextFull.Add(fullInterval)
	s.inventory.observer.Synced(s.Name, true, all.rows, all.lacks)
	s.apply(ctx, changes, failed)
}

func (s *syncer) pollIfDue(ctx context.Context) {
	if !s.begun.IsZero() && !s.now().Before(s.nextPoll) {
		changes, err := s.changes(ctx)
		s.apply(ctx, changes, err)
	}
}

// changes lists what changed: scanned, pushed, or only now known to HSS, which may learn of a push long after it.
func (s *syncer) changes(ctx context.Context) (*list, error) {
	begun := s.now()
	s.nextPoll = begun.Add(s.inventory.jitter(s.SyncInterval))
	// By this time of day and how long ago the last poll was: the clock may have been set meanwhile.
	from := begun.Add(-begun.Sub(s.since) - overlap)
	changes := &list{project: s.project, begun: begun, room: math.MaxInt, images: map[uint64]*listedImage{}}
	each := func(page []hss.Image) {
		changes.add(page)
		changes.keys = append(changes.keys, s.keys(page)...)
	}
	for _, r := range []hss.ListRequest{{StartLatestScanTime: from}, {StartLatestUpdateTime: from}, {StartLatestSyncTime: from}} {
		if err := s.pages(ctx, r, each, nil); err != nil {
			return changes, err
		}
	}
	return changes, changes.anonymous
}

// apply puts changes into the cache, also those that were seen before their list failed, but only a whole one confirms anything.
func (s *syncer) apply(ctx context.Context, changes *list, err error) {
	changes.change()
	switch {
	case err == nil:
		s.since = changes.begun
		// What no whole list has confirmed for long does not stay confirmed: there may be changes that no filter shows.
		until := changes.begun
		if s.expires.Before(until) {
			until = s.expires
		}
		s.coverage.Store(&coverage{s.begun, until})
	case ctx.Err() != nil:
		return
	}
	s.inventory.observer.Synced(s.Name, false, changes.rows, err)
}

// pages lists page after page to the end. The error is an *hss.IncompleteListError if rows were missing. Rows that were
// scanned lately come first. One that is scanned meanwhile moves to where the list has been read: atEnd, which is optional, returns the keys of such rows.
func (s *syncer) pages(ctx context.Context, r hss.ListRequest, each func([]hss.Image), atEnd func() []uint64) error {
	r.EnterpriseProjectID, r.Limit = s.EnterpriseProjectID, hss.MaxLimit
	r.SortKey, r.SortDir = hss.SortByLatestScanTime, hss.SortDescending
	return hss.ReadPages(r.Limit, hss.MaxOffset/hss.MaxLimit+1, func(offset int) (int, []uint64, error) {
		r.Offset = offset
		page, err := s.page(ctx, r)
		if err != nil {
			return 0, nil, err
		}
		keys := s.keys(page.Images)
		each(page.Images)
		if len(keys) == 0 && atEnd != nil {
			keys, atEnd = atEnd(), nil
		}
		return page.Total, keys, nil
	})
}

// keys returns short keys of rows, as there may be millions.
func (s *syncer) keys(rows []hss.Image) []uint64 {
	keys := make([]uint64, len(rows))
	for n := range rows {
		keys[n] = maphash.Comparable(s.inventory.seed, hss.KeyOf(&rows[n]))
	}
	return keys
}

// page lists one page. The first list is more urgent than later ones. A page far down a list, which HSS may be slow to find
// though it is well, does not count for the breaker.
func (s *syncer) page(ctx context.Context, r hss.ListRequest) (page *hss.ListResponse, err error) {
	l, e := lookup.Background, s.calls.Images
	if s.begun.IsZero() {
		l = lookup.WarmUp
	}
	if r.Offset > 0 {
		e = nil
	}
	_, err = s.calls.Call(ctx, l, e, func(ctx context.Context) (err error) {
		page, err = s.hss.List(ctx, r)
		return err
	})
	return page, err
}

// keyOf returns the key by which a reference with a tag finds a row, if the row is of this registry.
func (r *registry) keyOf(row *hss.Image) (key, bool) {
	k := r.key(row.Namespace, row.Name, row.Version)
	return k, row.Version != "" && row.Name != "" && r.misfit(row) == "" && r.holds(row.Namespace) && slices.Contains(k.spellings(), row.Name)
}

// key returns the key of a tag that HSS lists under a name.
func (r *registry) key(namespace, name, version string) key {
	return key{registry: r, namespace: namespace, name: strings.ReplaceAll(name, "$", "/"), version: version}
}

// short returns a hash of a key, as there may be millions.
func (l *list) short(k key) uint64 { return maphash.Comparable(l.inventory.seed, k) }

// list gathers the rows of a list by their images: an image may have several, far apart.
type list struct {
	*project
	begun  time.Time
	room   int                     // in bytes
	images map[uint64]*listedImage // by short keys
	// rows counts the rows, bytes about the memory that they take. keys are those of the rows of a list of changes.
	rows, bytes int
	keys        []uint64
	// lacks is why the list says nothing of some images, anonymous why it says nothing at all: a row may be of any image.
	lacks, anonymous error
}

// listedImage has the rows of one image, at least one.
type listedImage struct {
	registry *registry
	records  []policy.Record
	// shared says that the records are those of an answer, which must not change: most of a million rows are as they were.
	shared bool
	// unclear says that a row cannot be read or came in two states, so that the list does not show what the image is.
	unclear bool
}

func (i *listedImage) key() key {
	return i.registry.key(i.records[0].Namespace, i.records[0].Name, i.records[0].Version)
}

// add notes each row for every registry that holds it.
func (l *list) add(rows []hss.Image) {
	l.rows += len(rows)
	for n := range rows {
		row := &rows[n]
		record, err := recordOf(row)
		if err != nil {
			l.lacks = fmt.Errorf("rows that cannot be read say nothing of their images, such as this: %w", err)
		}
		if row.Anonymous() {
			l.anonymous = fmt.Errorf("the list confirms nothing: %w", err)
		}
		for _, r := range l.registries {
			if k, ok := r.keyOf(row); ok {
				l.put(k, &record, err != nil)
			}
		}
	}
}

func (l *list) put(k key, record *policy.Record, unclear bool) {
	short := l.short(k)
	image := l.images[short]
	if image == nil {
		if l.bytes >= l.room {
			l.lacks = errors.New("the cache has no room for all images of the project (cache.maxBytes)")
			return
		}
		image = &listedImage{registry: k.registry}
		if known := l.inventory.records.Get(k).Value; len(known) == 1 && isSame(&known[0], record) {
			image.records, image.shared, record = known, true, &known[0]
			l.bytes += recordsBytes(known)
		}
		l.images[short] = image
		l.bytes += lookup.EntryBytes
	}
	image.unclear = image.unclear || unclear || len(image.records) > 0 && image.key() != k // two images may have one short key
	for n := range image.records {
		if before := &image.records[n]; isSameEntry(before, record) || !hasID(record.ID) && isSame(before, record) {
			image.unclear = image.unclear || !isSame(before, record)
			return
		}
	}
	image.records, image.shared = append(slices.Clip(image.records), *record), false
	l.bytes += recordsBytes([]policy.Record{*record})
}

// confirm caches what a whole list says of every image, with the changes while it was read, unless a later answer is known, or one with a row that the
// list does not have: then a look-up decides. It reports whether an answer that was confirmed until now has turned out to be wrong though the changes do
// not show the image: by a change that has none of the times, or a row that was deleted.
func (l *list) confirm(confirmed *coverage, changes *list) (missed bool) {
	for short, image := range changes.images {
		if l.images[short] == nil {
			l.images[short] = &listedImage{registry: image.registry, records: slices.Clone(image.records), unclear: image.unclear}
		}
	}
	missed = l.lacksConfirmed(confirmed)
	for short, image := range l.images {
		delete(l.images, short) // to free it now
		k := image.key()
		known := l.inventory.records.Get(k)
		if image.unclear || known.IsKnown() && !known.AsOf.Before(l.begun) {
			continue
		}
		if image.shared && !areIdentical(image.records, known.Value) { // it has changed since
			image.records, image.shared = slices.Clone(image.records), false
		}
		if !image.shared {
			keepCompleted(image.records, known.Value)
			missed = missed || changes.images[short] == nil && confirmed.confirms(k, known) && !areSame(known.Value, image.records)
		}
		if whole := image.shared || !known.IsKnown() || arePartOf(known.Value, image.records, isSameOrRow); whole {
			l.inventory.records.Set(k, known, &lookup.Answer[[]policy.Record]{
				Value: slices.Clip(image.records), AsOf: l.begun, Stored: l.inventory.clock.Now(),
			})
		}
	}
	return missed
}

// lacksConfirmed reports whether the list lacks an image that was confirmed until now.
func (l *list) lacksConfirmed(confirmed *coverage) bool {
	for k, known := range l.inventory.records.All() {
		if confirmed.confirms(k, known) && known.AsOf.Before(l.begun) && k.project() == l.project && l.images[l.short(k)] == nil {
			return true
		}
	}
	return false
}

// isSameOrRow reports whether two records say the same, or are of one row.
func isSameOrRow(a, b *policy.Record) bool { return isSame(a, b) || isSameRow(a, b) }

// change puts rows that changed into the answers that are known and older. An answer is outdated if it is unclear in
// which state a row is, or a row is new: it may stand beside the others or in the place of one.
func (l *list) change() {
	for _, image := range l.images {
		k := image.key()
		known := l.inventory.records.Get(k)
		if !known.IsKnown() || !known.AsOf.Before(l.begun) || !image.unclear && arePartOf(image.records, known.Value, isSame) {
			continue
		}
		becomes := &lookup.Answer[[]policy.Record]{Value: known.Value}
		if !image.unclear {
			if arePartOf(image.records, known.Value, isSameRow) {
				becomes.AsOf, becomes.Stored = known.AsOf, known.Stored
			}
			keepCompleted(image.records, known.Value)
			becomes.Value = slices.DeleteFunc(slices.Clone(known.Value), func(o policy.Record) bool {
				return slices.ContainsFunc(image.records, func(r policy.Record) bool { return isSameRow(&o, &r) })
			})
			becomes.Value = append(becomes.Value, image.records...)
		}
		l.inventory.records.Set(k, known, becomes)
	}
}
