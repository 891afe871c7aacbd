package certificate

import (
	"maps"
	"sync"
	"time"
)

// Trust remembers since when a webhook configuration has vouched for which
// authorities. The zero value knows of none.
type Trust struct {
	mu sync.Mutex
	// byAll is since when all webhooks have held an authority, byAny since when
	// any has, both by fingerprint.
	byAll, byAny map[string]time.Time
	strangers    map[string]time.Time
}

// Observe notes what the bundles of the configuration's webhooks hold now.
func (t *Trust) Observe(now time.Time, bundles ...[]byte) {
	count := map[string]int{}
	for _, bundle := range bundles {
		for one := range fingerprints(bundle) {
			count[one]++
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byAny = stillSince(t.byAny, now, count, 1)
	t.byAll = stillSince(t.byAll, now, count, len(bundles))
}

// stillSince returns since when what counts at least so often has done so.
func stillSince(before map[string]time.Time, now time.Time, count map[string]int, atLeast int) map[string]time.Time {
	since := map[string]time.Time{}
	for one, n := range count {
		if n < atLeast {
			continue
		}
		since[one] = now
		if start, known := before[one]; known {
			since[one] = start
		}
	}
	return since
}

// Since returns since when every webhook has trusted root, if they do.
func (t *Trust) Since(root *Root) (time.Time, bool) {
	if root == nil {
		return time.Time{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	since, ok := t.byAll[root.Fingerprint()]
	return since, ok
}

// Strangers returns the fingerprints of all that any webhook trusts but the
// given authorities, with since when each is that.
func (t *Trust) Strangers(now time.Time, known [][]byte) map[string]time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := map[string]int{}
	for one := range t.byAny {
		count[one] = 1
	}
	for _, bundle := range known {
		for one := range fingerprints(bundle) {
			delete(count, one)
		}
	}
	t.strangers = stillSince(t.strangers, now, count, 1)
	return maps.Clone(t.strangers)
}
