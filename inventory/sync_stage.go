package inventory

import (
	"fmt"
	"slices"
	"time"

	"github.com/hssgate/hssgate/hss"
)

// stage gathers the rows of a whole list until it is complete: an image may
// have several, far apart, and an answer that lacks one of them is none. Of a
// row that the cache holds already, only its hashes are kept.
type stage struct {
	s        *syncer
	images   map[uint64]*stagedRow
	received int
	bytes    int
	dropped  int // images that found no room
	// unreadable counts the rows that can't be read, and why says of one why.
	// anonymous is the first of those that may be of any image.
	unreadable     int
	why, anonymous error
}

// stagedRow is one row of an image.
type stagedRow struct {
	registry *registry
	// record is nil if the cache's answer holds it.
	record       *record
	key, content uint64
	// unclear says that the row can't be read or kept, or came in two states, so
	// that the list does not tell what the image is.
	unclear bool
	next    *stagedRow
}

func newStage(s *syncer) *stage {
	return &stage{s: s, images: map[uint64]*stagedRow{}}
}

func (g *stage) addPage(page *hss.ListResponse) {
	g.received += len(page.Images)
	for n := range page.Images {
		g.add(&page.Images[n])
	}
}

// add notes a row for every registry that holds it.
func (g *stage) add(row *hss.Image) {
	if row.Unreadable != "" {
		g.unreadable++
		g.why = unreadable(row)
	}
	if row.Anonymous() {
		g.anonymous = g.why
	}
	for _, r := range g.s.p.registries {
		k, ok := r.keyOf(row)
		if !ok {
			continue
		}
		packed, err := pack(row)
		staged := &stagedRow{registry: r, record: &packed, key: g.s.keyOf(row), content: packed.content(g.s.i.cache.seed), unclear: err != nil}
		g.put(k, staged)
	}
}

func (g *stage) put(k key, staged *stagedRow) {
	h := g.s.i.cache.hash(k)
	known, _ := g.s.i.cache.images.GetIfPresent(h)
	if known != nil && !staged.unclear && known.has(staged.record.isSame) {
		staged.record = nil
	}
	first, ok := g.images[h]
	if !ok && known == nil && g.isFull() {
		g.dropped++
		return
	}
	if staged.record != nil {
		g.bytes += recordBytes + staged.record.bytes()
	}
	for at := first; at != nil; at = at.next {
		if at.key == staged.key {
			at.unclear = at.unclear || staged.unclear || at.content != staged.content
			return
		}
	}
	staged.next = first
	g.images[h] = staged
}

// isFull tells whether no further image finds room, as the cache would not
// hold it either.
func (g *stage) isFull() bool {
	return len(g.images) >= g.s.i.cfg.MaxImages || g.bytes >= int(g.s.i.cfg.MaxBytes)
}

// apply stores what a list says that was read to its end, for every image that it
// shows whole. It fails if that is not all of them: missing says why, if rows
// were. A row that may be of any image leaves none that is known to be whole.
func (g *stage) apply(begun time.Time, missing *hss.IncompleteListError) error {
	if g.anonymous != nil {
		return fmt.Errorf("the list confirms nothing: %w", g.anonymous)
	}
	now := g.s.i.clock.Now()
	for h, first := range g.images {
		g.settle(h, first, missing == nil, begun, now)
		delete(g.images, h) // to free it now
	}
	switch {
	case g.dropped > 0:
		return fmt.Errorf("the cache has no room for %d images of the project (cache.maxImages, cache.maxBytes)", g.dropped)
	case missing != nil:
		return fmt.Errorf("only what was known before and has not changed is confirmed: %w", missing)
	case g.unreadable > 0:
		return fmt.Errorf("%d of the rows can't be read, so that the list says nothing of their images; the last: %w", g.unreadable, g.why)
	default:
		return nil
	}
}

// settle stores the answer for one image, unless a later one is known or the
// list does not show all of it. A row that is missing may have been deleted or
// missed: asking for the image alone will tell.
func (g *stage) settle(h uint64, first *stagedRow, whole bool, begun, now time.Time) {
	c := g.s.i.cache
	known, _ := c.images.GetIfPresent(h)
	missing, _ := c.missing.GetIfPresent(h)
	if g.isLater(known, begun) || g.isLater(missing, begun) {
		return
	}
	records, ok := g.recordsOf(first, known)
	if !ok || (!whole && known == nil) {
		return
	}
	k := records[0].key(first.registry)
	if slices.ContainsFunc(records, func(r record) bool { return r.key(first.registry) != k }) {
		return // two images have one hash
	}
	if known != nil {
		before := known.records()
		if !known.isOf(k) || !isPartOf(before, records) || (!whole && !isPartOf(records, before)) {
			return
		}
		keepCompleted(records, before)
	}
	if c.swap(h, known, newAnswer(k, records, begun, now)) {
		c.missing.Invalidate(h)
	}
}

// isLater tells whether an answer is newer than the list.
func (g *stage) isLater(a *answer, begun time.Time) bool {
	return a != nil && a.asOf >= begun.UnixNano() && !g.s.i.isAgeless(a)
}

// recordsOf gathers the records of an image.
func (g *stage) recordsOf(first *stagedRow, known *answer) (records []record, ok bool) {
	for at := first; at != nil; at = at.next {
		switch {
		case at.unclear, at.registry != first.registry:
			return nil, false
		case at.record != nil:
			records = append(records, *at.record)
			continue
		case known == nil:
			return nil, false
		}
		n := len(records)
		known.each(func(r *record) bool {
			if r.content(g.s.i.cache.seed) == at.content {
				records = append(records, *r)
			}
			return len(records) == n
		})
		if len(records) == n {
			return nil, false
		}
	}
	return records, true
}

// isPartOf tells whether every one of the records is also a row of others.
func isPartOf(records, others []record) bool {
	return !slices.ContainsFunc(records, func(r record) bool {
		return !slices.ContainsFunc(others, func(o record) bool { return o.isSame(&r) || o.isSameRow(&r) })
	})
}
