package inventory

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
)

// keyOf is the key by which a reference with a tag finds a row, if the row is
// of this registry.
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
	if row.Version == "" || row.Name == "" || !r.holds(row) || (spelling != "" && !slices.Contains(r.NestedNames, spelling)) ||
		(len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, row.Namespace)) {
		return key{}, false
	}
	return key{registry: r, namespace: row.Namespace, name: canonical(row.Name), version: row.Version}, true
}

// states are the contents of the rows of a poll, by their keys.
type states map[uint64]uint64

// contradicts notes a row, and reports whether it came before in another state.
func (s *syncer) contradicts(seen states, row *hss.Image) bool {
	packed, _ := pack(row) // one that can't be read is in a state of its own
	key, content := s.keyOf(row), packed.content(s.i.cache.seed)
	before, again := seen[key]
	seen[key] = content
	return again && before != content
}

// change works a row that changed into the answers that are known. The row was
// read at or after the time at. If it is unclear in which state it is, the
// answers are forgotten.
func (s *syncer) change(row *hss.Image, at time.Time, unclear bool) {
	for _, r := range s.p.registries {
		k, ok := r.keyOf(row)
		if !ok {
			continue
		}
		s.touched.note(s.i.cache.nameHash(k), at.UnixNano())
		if changed := s.i.cache.change(k, row, at.UnixNano(), unclear, s.i.isAgeless); changed != nil && changed.doubtful && changed.used.Load() {
			s.p.refresher.add(changed, at.UnixNano())
		}
	}
}

// change works a row into the answer for a key, if it is known and older than
// the row. It returns the answer that takes its place, if any does. An answer
// whose age isn't known is forgotten: it may be older than the row.
func (c *cache) change(k key, row *hss.Image, at int64, unclear bool, ageless func(*answer) bool) (changed *answer) {
	h := c.hash(k)
	if a, ok := c.missing.GetIfPresent(h); ok && (a.asOf < at || ageless(a)) {
		c.missing.Invalidate(h)
	}
	packed, err := pack(row)
	c.images.ComputeIfPresent(h, func(old *answer) (*answer, otter.ComputeOp) {
		changed = nil
		if old.isOf(k) && ageless(old) {
			return nil, otter.InvalidateOp
		}
		if !old.isOf(k) || old.asOf >= at {
			return old, otter.CancelOp
		}
		if err != nil || unclear {
			return nil, otter.InvalidateOp
		}
		if changed = old.changedBy(&packed); changed == nil {
			return old, otter.CancelOp
		}
		return changed, otter.WriteOp
	})
	if changed != nil {
		c.changes.Add(1)
	}
	return changed
}

// changedBy returns the answer with a row as it is now, or nil if it is that
// already. A row that takes the place of none leaves doubt whether it stands
// beside the others or in the place of one: then they all count, and only
// until HSS can be asked.
func (a *answer) changedBy(r *record) *answer {
	records := a.records()
	changed := []record{*r}
	keepCompleted(changed, records)
	if slices.ContainsFunc(records, func(o record) bool { return o.isSame(r) || o.isSame(&changed[0]) }) {
		return nil
	}
	before := len(records)
	records = slices.DeleteFunc(records, func(o record) bool { return o.isSameRow(r) }) // more than one, if it was in two states
	inPlace := len(records) < before
	if len(records) >= maxRecords {
		records = records[:maxRecords-1]
	}
	becomes := a.with(append(records, changed[0]))
	becomes.doubtful = a.doubtful || !inPlace
	becomes.used.Store(a.used.Load() && becomes.doubtful)
	return becomes
}

// touched remembers which repositories changed lately. An image that is named
// by its digest alone may belong to any row of its repository, so a change to
// one of them makes its answer uncertain.
type touched struct {
	mu    sync.RWMutex
	names map[uint64]int64 // when each changed last
	all   int64            // when there were more than can be remembered
}

// maxTouched bounds the repositories that are remembered.
const maxTouched = 1 << 16

func (t *touched) note(name uint64, at int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.names) >= maxTouched {
		t.all, t.names = at, nil
	}
	if t.names == nil {
		t.names = map[uint64]int64{}
	}
	t.names[name] = max(t.names[name], at)
}

// since tells whether a repository changed at a time or after it.
func (t *touched) since(name uint64, at int64) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	last, ok := t.names[name]
	return t.all >= at || (ok && last >= at)
}

// forget drops what changed before a time.
func (t *touched) forget(before int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, at := range t.names {
		if at < before {
			delete(t.names, name)
		}
	}
}
